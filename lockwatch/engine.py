"""Wires settings, stores and names together, for every edge. Opens lazily, closes once."""

from __future__ import annotations

import logging
import os
import secrets
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from inspect import isawaitable
from itertools import count
from typing import Any, Final, TypeVar

from lockwatch.client import Clients, trust
from lockwatch.config import LockWatchConfig
from lockwatch.errors import ConfigurationError, StoreError
from lockwatch.flow import AsyncStore, Call, Flow, Store, run, run_async
from lockwatch.keys import Visit
from lockwatch.limits import flows
from lockwatch.limits.buckets import SCHEMA, Buckets
from lockwatch.limits.decision import Decision
from lockwatch.limits.declaration import Declaration, Plan, charges, fixed_charges, read_limits
from lockwatch.limits.grammar import Limit
from lockwatch.limits.policy import Charge
from lockwatch.stores.memory import MemoryStore

T = TypeVar("T")
logger = logging.getLogger("lockwatch")
_SECRET_LIFETIME_MS: Final = 400 * 86_400_000


@dataclass(frozen=True, slots=True)
class Health:
    """The state of lockwatch in this process, as last seen.

    Attributes:
        status: ``ok`` or ``degraded``.
        mode: ``enforce``, ``observe`` or ``off``.
        store: ``memory``, or host and port.
        store_ok: whether the last call to the store was answered.
        store_error: what the last failure was, empty when there is none.
        buckets: buckets held in this process's memory.
        overflowed: how often a full memory store had to share a bucket.
        warnings: what is wrong with the set-up.
    """

    status: str
    mode: str
    store: str
    store_ok: bool
    store_error: str
    buckets: int
    overflowed: int
    warnings: tuple[str, ...]


class Engine:
    """One application's protections, whatever the framework.

    Args:
        config: validated settings.
    """

    def __init__(self, config: LockWatchConfig) -> None:
        self.config = config
        self.mode = config.mode
        self.clients = Clients(trust(config.trusted_proxies), config.forwarded_header, config.ipv6_prefix)
        self.memory = MemoryStore(config.max_buckets)
        self.application, self.defaults = _application_limits(config), _declared(config.default_limits, "default")
        self.warnings: list[str] = []
        self._address = None if config.in_memory else _address(config)
        self._local = Immediate(self.memory)
        self._workers = config.processes
        self._store: AsyncStore | None = None
        self._buckets = _buckets(config)
        # Names for this process only, while the shared secret is out of reach.
        self._stray = Buckets(config.namespace, secrets.token_bytes(32))
        self._error = ""
        self._ids = Ids()
        self._lock = threading.Lock()
        if config.in_memory and config.processes > 1:
            self.warn(
                f"the memory store counts per process, and there are {config.processes}: "
                "set redis_url, or every limit is multiplied by that"
            )

    @property
    def store_name(self) -> str:
        """Where buckets live, without credentials."""
        return "memory" if self._address is None else str(self._address)

    def warn(self, message: str) -> None:
        """Report a set-up problem: once in the log, always in `health()`."""
        if message not in self.warnings and len(self.warnings) < 100:
            self.warnings.append(message)
            logger.warning(message)

    def health(self) -> Health:
        """A report on what was seen so far; it asks nobody."""
        healthy = not self._error and not self.warnings and not self.memory.overflowed
        return Health(
            "ok" if healthy else "degraded",
            self.mode,
            self.store_name,
            not self._error,
            self._error,
            len(self.memory),
            self.memory.overflowed,
            tuple(self.warnings),
        )

    async def buckets(self) -> Buckets:
        """Names store keys. Raises: StoreError, when the namespace's secret has to be fetched and cannot be."""
        return self._buckets or self._keep_secret(await self._driven(_shared_secret(self.config.namespace)))

    async def decide(self, plan: Plan, visit: Visit) -> tuple[Decision, ...]:
        """Everything `plan` says about one request, in one store call. Calls `on_breach` of the policies that refuse."""
        buckets, store = self._buckets, self._store
        if buckets is None or store is None:
            buckets, store = await self._ready()
        if plan.fixed is not None:
            charged = fixed_charges(plan.fixed, visit.client.subject, buckets)
        else:
            charged = await drive(charges(plan, visit.request, visit, buckets))
        if not charged:
            return ()
        flow = flows.admit(charged, self._ids.next(), self._workers, self.mode == "observe")
        decisions = run(flow, self.memory, self.memory) if store is self._local else await run_async(flow, store, self.memory)
        for decision in decisions:
            if not decision.allowed:
                await _tell(charged, decisions, visit)
                break
        return decisions

    async def take(self, charged: Sequence[Charge]) -> tuple[Decision, ...]:
        """Charge, or refuse without charging; a store failure is decided by each policy. Mode `off` charges nothing."""
        if self.mode == "off":
            return tuple([flows.untouched(charge) for charge in charged])
        return await self._driven(flows.admit(charged, self._ids.next(), self._workers, self.mode == "observe"))

    async def peek(self, charges: Sequence[Charge]) -> tuple[Decision, ...]:
        """What `admit` would decide. Raises: StoreError."""
        return await self._driven(flows.peek(charges, self._ids.next()))

    async def reset(self, charges: Sequence[Charge]) -> int:
        """Forget buckets, return how many there were. Raises: StoreError."""
        return await self._driven(flows.reset(charges))

    async def open(self) -> None:
        """Fetch and connect what the first request would have to; an outage here is reported, not raised."""
        origins = ", ".join(f"{name} from {source}" for name, source in sorted(self.config.sources.items()))
        logger.info("lockwatch: store %s, mode %s%s", self.store_name, self.mode, f"; {origins}" if origins else "")
        with suppress(StoreError):
            await self.buckets()
            await self._driven(flows.peek((), ""))  # loads the script

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        close = getattr(self._store, "aclose", None)
        if close is not None:
            await close()

    async def _driven(self, flow: Flow[T]) -> T:
        return await run_async(flow, self._open_store(), self.memory)

    async def _ready(self) -> tuple[Buckets, AsyncStore]:
        store = self._open_store()
        try:
            return await self.buckets(), store
        except StoreError as error:
            return self._stray, Failing(error)

    def _open_store(self) -> AsyncStore:
        if self._store is None:
            if self._address is None:
                self._store = self._local
            else:
                from lockwatch.stores.redis_async import AsyncRedisStore

                with self._lock:
                    self._store = self._store or AsyncRedisStore(
                        self._address, self.config.store_timeout, lanes=min(4, self.config.store_connections), report=self._noted
                    )
        return self._store

    def _noted(self, failure: StoreError | None) -> None:
        """Note how the store does: one log line per transition."""
        if failure is not None:
            if not self._error:
                logger.error("lockwatch: the store at %s fails: %s", self.store_name, failure)
            self._error = str(failure)
        elif self._error:
            logger.warning("lockwatch: the store at %s answers again", self.store_name)
            self._error = ""

    def _keep_secret(self, numbers: Sequence[int]) -> Buckets:
        self._buckets = Buckets(self.config.namespace, b"".join(n.to_bytes(4, "big") for n in numbers))
        self.warn(
            "no secret_key is set: subjects in the store are hashed with a key kept in the same store, "
            "which hides them from nobody who reads it"
        )
        return self._buckets


class Ids:
    """Decision ids: unique over processes, cheap to make. A forked child starts a series of its own."""

    def __init__(self) -> None:
        self._count = count(1)
        self._restart()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._restart)

    def _restart(self) -> None:
        self._prefix = secrets.token_hex(6)

    def next(self) -> str:
        """A new id."""
        return f"{self._prefix}-{next(self._count):x}"


def _shared_secret(namespace: str) -> Flow[Sequence[int]]:
    offered = tuple([secrets.randbits(32) for _ in range(8)])
    return (yield Call("secret", (f"{namespace}:{SCHEMA}:secret",), (_SECRET_LIFETIME_MS, *offered)))


def _buckets(config: LockWatchConfig) -> Buckets | None:
    if config.secrets:
        return Buckets(config.namespace, config.secrets[0].encode())
    return Buckets(config.namespace, secrets.token_bytes(32)) if config.in_memory else None


def _address(config: LockWatchConfig) -> Any:
    from lockwatch.stores.connect import address_of

    if config.redis is not None and config.redis_url:
        raise ConfigurationError("both redis and redis_url are set; keep one")
    return address_of(config.redis or config.redis_url)


def _declared(limits: Any, name: str) -> tuple[Declaration, ...]:
    return () if limits is None else (Declaration(limits, name=None),) if name == "default" else (Declaration(limits, shared=name),)


def _application_limits(config: LockWatchConfig) -> tuple[Declaration, ...]:
    limits = () if config.application_limits is None else read_limits(config.application_limits)
    if config.rate_limit_requests is not None:
        limits += (Limit(config.rate_limit_requests, config.rate_limit_window_seconds),)
    return _declared(limits or None, "application")


class Immediate:
    """A blocking store that does not block, on an event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def call(self, call: Call) -> Sequence[int]:
        """Run one script at once."""
        return self._store.call(call)


class Failing:
    """A store that fails as the real one just did."""

    def __init__(self, error: StoreError) -> None:
        self._error = error

    async def call(self, call: Call) -> Sequence[int]:
        """Raises: StoreError, always."""
        raise self._error


async def _tell(charged: Sequence[Charge], decisions: Sequence[Decision], visit: Visit) -> None:
    """Call `on_breach` of the policies that refuse."""
    for charge, decision in zip(charged, decisions, strict=True):
        if not decision.allowed and charge.policy.on_breach is not None:
            told = charge.policy.on_breach(visit.request, decision)
            if isawaitable(told):
                await told


async def drive(generator: Any) -> Any:
    """Run a generator that yields awaitables, and return its result."""
    try:
        value = generator.send(None)
        while True:
            value = generator.send(await value)
    except StopIteration as stop:
        return stop.value
