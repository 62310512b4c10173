"""Wires settings, limits and the link to the store together, for every edge. Opens lazily, closes once."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from inspect import isawaitable
from itertools import count
from typing import Any

from lockwatch.client import Clients, trust
from lockwatch.config import LockWatchConfig
from lockwatch.errors import StoreError
from lockwatch.flow import run, run_async
from lockwatch.keys import Visit
from lockwatch.limits import flows
from lockwatch.limits.buckets import Buckets
from lockwatch.limits.decision import Decision
from lockwatch.limits.declaration import Declaration, Plan, charges, fixed_charges, read_limits
from lockwatch.limits.grammar import Limit
from lockwatch.limits.policy import Charge
from lockwatch.link import Link

logger = logging.getLogger("lockwatch")


@dataclass(frozen=True, slots=True)
class Health:
    """The state of lockwatch in this process, as last seen.

    Attributes:
        status: ``ok`` or ``degraded``.
        mode: ``enforce``, ``observe`` or ``off``.
        store: ``memory``, or host and port.
        store_ok: whether the store has answered everything for a second.
        store_error: what the last failure was, empty when there is none.
        buckets: buckets held in this process's memory.
        overflowed: how often a full memory store had to share a bucket.
        warnings: what is wrong with the set-up, and calls the store failed one by one.
        breaker: ``closed``, ``open`` (the store is not asked) or ``probing``.
        workers: how many processes share a quota when the store is down.
        worker: what the thread in the background does: ``idle``, ``running``, or why it cannot run.
    """

    status: str
    mode: str
    store: str
    store_ok: bool
    store_error: str
    buckets: int
    overflowed: int
    warnings: tuple[str, ...]
    breaker: str = "closed"
    workers: int = 1
    worker: str = "idle"


class Engine:
    """One application's protections, whatever the framework.

    Args:
        config: validated settings.
    """

    def __init__(self, config: LockWatchConfig) -> None:
        self.config = config
        self.mode = config.mode
        self.clients = Clients(trust(config.trusted_proxies), config.forwarded_header, config.ipv6_prefix)
        self.application, self.defaults = _application_limits(config), _declared(config.default_limits, "default")
        self.warnings: list[str] = []
        self.link = Link(config, self.warn)
        self._ids = Ids()
        if config.in_memory and config.processes > 1:
            self.warn(
                f"the memory store counts per process, and there are {config.processes}: "
                "set redis_url, or every limit is multiplied by that"
            )

    @property
    def store_name(self) -> str:
        """Where buckets live, without credentials."""
        return self.link.name

    def warn(self, message: str) -> None:
        """Report a set-up problem: once in the log, always in `health()`."""
        if message not in self.warnings and len(self.warnings) < 100:
            self.warnings.append(message)
            logger.warning(message)

    def health(self) -> Health:
        """A report on what was seen so far; it asks nobody."""
        link = self.link
        error, warnings = link.notes.error, (*self.warnings, *link.notes.complaints)
        healthy = not error and not warnings and not link.memory.overflowed
        return Health(
            "ok" if healthy else "degraded",
            self.mode,
            link.name,
            not error,
            error,
            len(link.memory),
            link.memory.overflowed,
            warnings,
            link.breaker.state,
            link.workers,
            link.worker,
        )

    async def buckets(self) -> Buckets:
        """Names store keys. Raises: StoreError, when the namespace's secret has to be fetched and cannot be."""
        return await self.link.buckets()

    async def decide(self, plan: Plan, visit: Visit) -> tuple[Decision, ...]:
        """Everything `plan` says about one request, in one store call. Calls `on_breach` of the policies that refuse."""
        link = self.link
        buckets, store = link.named, link.store
        if buckets is None or store is None:
            buckets, store = await link.ready()
        if plan.fixed is not None:
            charged = fixed_charges(plan.fixed, visit.client.subject, buckets)
        else:
            charged = await drive(charges(plan, visit.request, visit, buckets))
        if not charged:
            return ()
        flow = flows.admit(charged, self._ids.next(), link.workers, self.mode == "observe")
        memory = link.memory
        decisions = run(flow, memory, memory) if store is link.at_hand else await run_async(flow, store, memory)
        for decision in decisions:
            if not decision.allowed:
                await _tell(charged, decisions, visit)
                break
        return decisions

    async def take(self, charged: Sequence[Charge]) -> tuple[Decision, ...]:
        """Charge, or refuse without charging; a store failure is decided by each policy. Mode `off` charges nothing."""
        if self.mode == "off":
            return tuple([flows.untouched(charge) for charge in charged])
        return await self.link.drive(flows.admit(charged, self._ids.next(), self.link.workers, self.mode == "observe"))

    async def peek(self, charges: Sequence[Charge]) -> tuple[Decision, ...]:
        """What `admit` would decide. Raises: StoreError."""
        return await self.link.drive(flows.peek(charges, self._ids.next()))

    async def reset(self, charges: Sequence[Charge]) -> int:
        """Forget buckets, return how many there were. Raises: StoreError."""
        return await self.link.drive(flows.reset(charges))

    async def open(self) -> None:
        """Fetch and connect what the first request would have to; an outage here is reported, not raised."""
        origins = ", ".join(f"{name} from {source}" for name, source in sorted(self.config.sources.items()))
        logger.info("lockwatch: store %s, mode %s%s", self.store_name, self.mode, f"; {origins}" if origins else "")
        with suppress(StoreError):
            await self.buckets()
            await self.link.drive(flows.peek((), ""))  # loads the script

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        await self.link.aclose()


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


def _declared(limits: Any, name: str) -> tuple[Declaration, ...]:
    return () if limits is None else (Declaration(limits, name=None),) if name == "default" else (Declaration(limits, shared=name),)


def _application_limits(config: LockWatchConfig) -> tuple[Declaration, ...]:
    limits = () if config.application_limits is None else read_limits(config.application_limits)
    if config.rate_limit_requests is not None:
        limits += (Limit(config.rate_limit_requests, config.rate_limit_window_seconds),)
    return _declared(limits or None, "application")


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
