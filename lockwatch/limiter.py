"""`RateLimiter`: a limit to check by hand, wherever there is a key and a Redis. The names are those of lockwatch 0.1."""

from __future__ import annotations

from collections.abc import Generator
from inspect import isawaitable, iscoroutine
from math import inf
from typing import Any

from lockwatch.admission import Ids, drive
from lockwatch.config import LockWatchConfig
from lockwatch.engine import Engine
from lockwatch.errors import ConfigurationError
from lockwatch.flow import Flow, run, run_async
from lockwatch.keys import is_prefixed, subject_of
from lockwatch.limits import flows
from lockwatch.limits.buckets import Buckets
from lockwatch.limits.by_hand import RateLimitConfig, RateLimitState, state_of
from lockwatch.limits.decision import Decision, tightest
from lockwatch.limits.plan import make_plan
from lockwatch.limits.policy import Charge
from lockwatch.limits.survey import forget
from lockwatch.passerby import visit_to
from lockwatch.subjects import named

__all__ = ["RateLimitConfig", "RateLimitState", "RateLimiter"]


class RateLimiter:
    """Checks one limit for any key, on the Redis of a client that stays yours: lockwatch opens connections of its own.

    Args:
        redis_client: a `redis.asyncio.Redis`, a `redis.Redis` or a fakeredis client, a function that returns one, or a URL.
            Of either colour: both halves of this class work with both, because only its address is used. None counts in
            this process's memory.
        config: the limit; 100 requests in 60 seconds by address, by default.
        engine: where to count, instead of `redis_client`: the limits are then the application limits of the engine.

    Coroutines are for event loops, the methods that end in `_sync` for blocking code.
    """

    def __init__(self, redis_client: Any = None, config: RateLimitConfig | None = None, *, engine: Engine | None = None) -> None:
        self.config = config or RateLimitConfig()
        self.engine = engine or Engine(_settings(redis_client, self.config))
        general = (
            [d for d in engine.application if d.role == "limit" and not all(limit.concurrent for limit in d.limits)]
            if engine
            else []
        )
        declared = general or [self.config.declaration("limiter")]
        plan = make_plan(declared, "GET", "limiter", self.engine.config.on_redis_failure)
        policies = [policy for step in plan.steps for policy in step.policies]
        self._policies = tuple([policy for policy in policies if not policy.limit.concurrent])  # nothing here ends
        self._ids = Ids()

    async def check(self, key: Any, cost: int = 1) -> tuple[bool, RateLimitState]:
        """Charge the limit for a key, or refuse and charge nothing.

        Args:
            key: whom to count: text, or a request, of which `key_func` then says whom.
            cost: how much to charge; 0 only looks.

        Raises: TypeError, ValueError, for a key or a cost that is none; ConfigurationError, for text where tenants are apart.
        """
        subject, link = await drive(self._subject(key)), self.engine.link
        buckets, store = await link.ready()
        return self._judged(await run_async(self._admit(self._of_tenant(buckets, key), subject, cost), store, link.memory))

    async def is_allowed(self, key: Any, cost: int = 1) -> tuple[bool, RateLimitState]:
        """The same as `check`."""
        return await self.check(key, cost)

    async def reset(self, key: Any) -> bool:
        """Forget what was charged for a key; whether there was anything. Raises: StoreError."""
        subject, buckets = await drive(self._subject(key)), self._of_tenant(await self.engine.link.buckets(), key)
        return await self.engine.link.drive(self.engine.admission.resetting(self._charges(buckets, subject, 0))) > 0

    def check_sync(self, key: Any, cost: int = 1) -> tuple[bool, RateLimitState]:
        """`check` for blocking code. A `key_func` that is async is a TypeError here."""
        subject, link = _at_once(self._subject(key)), self.engine.link
        buckets, store = link.ready_sync()
        return self._judged(run(self._admit(self._of_tenant(buckets, key), subject, cost), store, link.memory))

    def is_allowed_sync(self, key: Any, cost: int = 1) -> tuple[bool, RateLimitState]:
        """The same as `check_sync`."""
        return self.check_sync(key, cost)

    def reset_sync(self, key: Any) -> bool:
        """`reset` for blocking code. Raises: StoreError."""
        subject, link = _at_once(self._subject(key)), self.engine.link
        charged = self._charges(self._of_tenant(link.buckets_sync(), key), subject, 0)
        flow = forget(charged, self.engine.config.namespace, link.split)
        found = run(flow, link.sync_store(), link.memory)
        self.engine.admission.denied.known.clear()
        return found > 0

    async def aclose(self) -> None:
        """Close the connections of the running event loop, and those of blocking code that are idle."""
        await self.engine.aclose()

    def close(self) -> None:
        """Close the connections of blocking code that are idle."""
        self.engine.link.close()

    def __repr__(self) -> str:
        return f"RateLimiter({'; '.join(str(policy.limit) for policy in self._policies)}, {self.engine.store_name})"

    def _subject(self, key: Any) -> Generator[Any, Any, str]:
        """Whom `key` means. A generator that yields only what has to be awaited, and is sent the result."""
        if isinstance(key, str):
            return named(key, self.engine.config.ipv6_prefix)
        function, visit = self.config.key_func, visit_to(key, self.engine.clients, self.engine.warn)
        value = function(visit if is_prefixed(function) else key)
        return subject_of(function, (yield value) if isawaitable(value) else value, visit.client)

    def _of_tenant(self, buckets: Buckets, key: Any) -> Buckets:
        """`buckets`, of the tenant of a request where the engine counts tenants apart. Raises: ConfigurationError."""
        tenant = self.engine.config.tenant
        if tenant is None:
            return buckets
        if isinstance(key, str):
            raise ConfigurationError(
                "this application counts its tenants apart: give the limiter a request, which says whose it is"
            )
        return buckets.under(str(tenant(key)))

    def _admit(self, buckets: Buckets, subject: str, cost: int) -> Flow[tuple[Decision, ...]]:
        if type(cost) is not int or cost < 0:
            raise ValueError(f"cost={cost!r} is not a whole number of at least 0")
        charged, link, mode = self._charges(buckets, subject, cost), self.engine.link, self.engine.mode
        if mode == "off":
            return tuple([flows.untouched(charge) for charge in charged])
        terms = flows.Terms(self._ids.next(), link.workers, mode == "observe", split=link.split)
        decisions = (yield from flows.admit(charged, terms)).decisions
        link.meter.decided(decisions)
        return decisions

    def _charges(self, buckets: Buckets, subject: str, cost: int) -> list[Charge]:
        return [Charge(policy, buckets.key(policy, subject), cost) for policy in self._policies]

    def _judged(self, decisions: tuple[Decision, ...]) -> tuple[bool, RateLimitState]:
        refusing = [decision for decision in decisions if decision.refuses]
        longest = max(refusing, key=lambda d: inf if d.retry_after is None else d.retry_after, default=None)
        state = state_of(longest or tightest(decisions), self.engine.clock.time())
        return state.allowed, state


def _settings(client: Any, config: RateLimitConfig) -> LockWatchConfig:
    where = {"redis_url": client} if isinstance(client, str) else {"redis": client}
    return LockWatchConfig(
        **where,
        namespace=config.key_prefix.strip(":"),
        secret_key=config.secret_key,
        trusted_proxies=config.trusted_proxies,
        store_timeout=config.store_timeout,
    )


def _at_once(subject: Generator[Any, Any, str]) -> str:
    """The subject, where nothing can be awaited. Raises: TypeError."""
    try:
        awaited = next(subject)
    except StopIteration as stop:
        found: str = stop.value
        return found
    if iscoroutine(awaited):
        awaited.close()
    raise TypeError("key_func is async, and a method ending in _sync cannot wait for it; use the coroutine of the same name")
