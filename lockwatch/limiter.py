"""`RateLimiter`: a limit to check by hand, wherever there is a key and a Redis. The names are those of lockwatch 0.1."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, field
from inspect import isawaitable, iscoroutine
from math import ceil, inf
from typing import Any

from lockwatch.admission import Ids, drive
from lockwatch.config import LockWatchConfig
from lockwatch.engine import Engine
from lockwatch.errors import ConfigurationError
from lockwatch.flow import Flow, run, run_async
from lockwatch.keys import Key, by_ip, is_prefixed, subject_of
from lockwatch.limits import flows
from lockwatch.limits.buckets import Buckets
from lockwatch.limits.decision import Decision, tightest
from lockwatch.limits.declaration import Declaration
from lockwatch.limits.grammar import MAX_AMOUNT, MAX_WINDOW, Limit
from lockwatch.limits.plan import make_plan
from lockwatch.limits.policy import Charge, Policy
from lockwatch.limits.survey import forget
from lockwatch.passerby import visit_to
from lockwatch.subjects import named


@dataclass(frozen=True, slots=True)
class RateLimitConfig:
    """The settings of a `RateLimiter`.

    Attributes:
        requests_per_window: the quota, >= 0 (0 refuses everything).
        window_seconds: over how many seconds.
        key_func: whom to count, when `check` is given a request instead of a key.
        key_prefix: the namespace of the keys; limiters with the same prefix and window share their buckets.
        algorithm: how it is counted.
        on_store_error: ``allow``, ``deny`` or ``local`` when the store fails.
        secret_key: subjects in the store are hashed with it; without one, with a key that is kept in the store.
        trusted_proxies: which peers may say whom they forward for, as for `LockWatch`.
        store_timeout: seconds a check waits for the store at most.

    Raises: ConfigurationError.
    """

    requests_per_window: int = 100
    window_seconds: float = 60
    key_func: Key = by_ip
    key_prefix: str = "lockwatch"
    algorithm: str = "sliding-window"
    on_store_error: str = "allow"
    secret_key: str | tuple[str, ...] | None = field(default=None, repr=False)
    trusted_proxies: str | int | tuple[str, ...] = "none"
    store_timeout: float = 0.05

    def __post_init__(self) -> None:
        quota, window = self.requests_per_window, self.window_seconds
        if type(quota) is not int or not 0 <= quota <= MAX_AMOUNT:
            raise ConfigurationError(f"requests_per_window={quota!r} is not a whole number from 0 to {MAX_AMOUNT}, like 100")
        if type(window) not in (int, float) or not 0.001 <= window <= MAX_WINDOW:
            raise ConfigurationError(f"window_seconds={window!r} is not between 0.001 and {MAX_WINDOW} seconds, like 60")
        if not callable(self.key_func):
            raise ConfigurationError(f"key_func={self.key_func!r} is not callable; it takes the request, e.g. key_func=key_by_ip")
        prefix = self.key_prefix
        if not isinstance(prefix, str) or not prefix.strip(":") or any(c in prefix for c in "{} \n"):
            raise ConfigurationError(f"key_prefix={prefix!r} is not text without '{{', '}}' and space; a correct one is 'shop:api'")
        self.declaration("limiter")

    def declaration(self, shared: str) -> Declaration:
        """The limit as it is declared elsewhere, with `shared` for its bucket. Raises: ConfigurationError."""
        limit = Limit(self.requests_per_window, self.window_seconds)
        return Declaration(limit, key=self.key_func, shared=shared, algorithm=self.algorithm, on_store_error=self.on_store_error)


@dataclass(frozen=True, slots=True)
class RateLimitState:
    """What a check found.

    Attributes:
        allowed: whether to go on.
        limit: the quota.
        remaining: what is left of it after this check.
        reset_at: when the whole quota is free again, or when a refused one may come back; seconds since the epoch.
        retry_after: seconds to wait, at least 1; 0 when allowed, None when waiting does not help.
        degraded: the store did not answer, and `on_store_error` decided.
    """

    allowed: bool
    limit: int
    remaining: int
    reset_at: int
    retry_after: int | None
    degraded: bool = False

    @property
    def headers(self) -> dict[str, str]:
        """The quota headers of lockwatch 0.1; nothing is said about a quota nobody could look at."""
        found = (
            {}
            if self.degraded
            else {
                "X-RateLimit-Limit": str(self.limit),
                "X-RateLimit-Remaining": str(self.remaining),
                "X-RateLimit-Reset": str(self.reset_at),
            }
        )
        return found | ({"Retry-After": str(self.retry_after)} if self.retry_after else {})


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
        general = [d for d in engine.application if d.role == "limit"] if engine else []
        declared = general or [self.config.declaration("limiter")]
        plan = make_plan(declared, "GET", "limiter", self.engine.config.on_redis_failure)
        self._policies: tuple[Policy, ...] = tuple([policy for step in plan.steps for policy in step.policies])
        self._ids = Ids()

    async def check(self, key: Any, cost: int = 1) -> tuple[bool, RateLimitState]:
        """Charge the limit for a key, or refuse and charge nothing.

        Args:
            key: whom to count: text, or a request, of which `key_func` then says whom.
            cost: how much to charge; 0 only looks.

        Raises: TypeError, ValueError, for a key or a cost that is none.
        """
        subject, link = await drive(self._subject(key)), self.engine.link
        buckets, store = await link.ready()
        return self._judged(await run_async(self._admit(buckets, subject, cost), store, link.memory))

    async def is_allowed(self, key: Any, cost: int = 1) -> tuple[bool, RateLimitState]:
        """The same as `check`."""
        return await self.check(key, cost)

    async def reset(self, key: Any) -> bool:
        """Forget what was charged for a key; whether there was anything. Raises: StoreError."""
        subject = await drive(self._subject(key))
        return await self.engine.admission.reset(self._charges(await self.engine.link.buckets(), subject, 0)) > 0

    def check_sync(self, key: Any, cost: int = 1) -> tuple[bool, RateLimitState]:
        """`check` for blocking code. A `key_func` that is async is a TypeError here."""
        subject, link = _at_once(self._subject(key)), self.engine.link
        buckets, store = link.ready_sync()
        return self._judged(run(self._admit(buckets, subject, cost), store, link.memory))

    def is_allowed_sync(self, key: Any, cost: int = 1) -> tuple[bool, RateLimitState]:
        """The same as `check_sync`."""
        return self.check_sync(key, cost)

    def reset_sync(self, key: Any) -> bool:
        """`reset` for blocking code. Raises: StoreError."""
        subject, link = _at_once(self._subject(key)), self.engine.link
        flow = forget(self._charges(link.buckets_sync(), subject, 0), self.engine.config.namespace, link.split)
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

    @staticmethod
    def _judged(decisions: tuple[Decision, ...]) -> tuple[bool, RateLimitState]:
        refusing = [decision for decision in decisions if decision.refuses]
        longest = max(refusing, key=lambda d: inf if d.retry_after is None else d.retry_after, default=None)
        state = state_of(longest or tightest(decisions), time.time())
        return state.allowed, state


def state_of(decision: Decision, now: float) -> RateLimitState:
    """A decision in the words of lockwatch 0.1; `now` is the epoch time."""
    wait = None if decision.retry_after is None else max(1, ceil(decision.retry_after))
    after = decision.retry_after if decision.refuses and decision.retry_after else decision.reset_after
    return RateLimitState(
        not decision.refuses,
        decision.limit.amount,
        decision.remaining,
        ceil(now + after),
        wait if decision.refuses else 0,
        decision.degraded,
    )


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
