"""`Bans`: who is refused for a while. Looked up without I/O; changes reach every process within a second through the store."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final, TypeAlias, TypeVar

from lockwatch import native
from lockwatch.anomaly.ban import Ban, Table, spared, subject_of, wider
from lockwatch.anomaly.ban_flows import LIFT, RULE, SET, Ledger, Told
from lockwatch.anomaly.config import AnomalyConfig
from lockwatch.client import Address, Client, Network, Trust, read_networks
from lockwatch.config import LockWatchConfig
from lockwatch.errors import StoreError
from lockwatch.event import ADMIN, SYSTEM, Event
from lockwatch.flow import Flow, run
from lockwatch.limits.buckets import Buckets
from lockwatch.link import Link

T = TypeVar("T")
Changes: TypeAlias = list[Ban]
logger = logging.getLogger("lockwatch")
POLL: Final = 0.4
"""Seconds between two questions what changed."""
ROLLED_UP: Final = 4
"""Banned networks of one /48 after which a rule bans all of it."""


class Bans:
    """The bans of one engine.

    Args:
        config: settings of the application.
        settings: settings of bans.
        link: where they are kept, so that all processes hear of them.
        trusted: the proxies that may speak for others; they are never banned.
        exempt: networks that nothing is decided for.
        clock: seconds; never steps back.

    Attributes:
        table: those this process knows of.
        report: told of every change made here, as an `Event`.
    """

    def __init__(
        self,
        config: LockWatchConfig,
        settings: AnomalyConfig,
        link: Link,
        trusted: Trust,
        exempt: Sequence[Network] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.table = Table(settings.max_bans, config.ipv6_prefix)
        self.report: Callable[[Event], None] = _unheard
        self.settings = settings
        self._config = config
        self._link = link
        self._trusted = trusted
        self._clock = clock
        self._never = (
            *read_networks("private", "never_ban"),
            *trusted.networks,
            *exempt,
            *read_networks(settings.never_ban, "never_ban"),
        )
        self._mine: dict[str, None] = {}
        self._mark = self._version = 0
        self._meanwhile: set[str] = set()  # changed here while the store was asked what changed
        self._lock = native.lock()
        link.every(POLL, self.hear, "bans")

    def banned(self, client: Client, user: str | None = None) -> Ban | None:
        """The ban that holds for a request: of its user, its address, or a network it is in. Asks nobody."""
        table = self.table
        if not len(table):
            return None
        if user is not None and (ban := self.user_ban(user)) is not None:
            return ban
        ban = table.banned(client.subject, client.address, self._clock)
        return None if ban is None or self._spares(client.address) else ban

    def _spares(self, address: Address | None) -> bool:
        return address is None or any(address in net for net in self._never)

    def user_ban(self, user: str) -> Ban | None:
        """The ban of a user."""
        return self.table.get(f"user:{user}", self._clock()) if self.table.has_users else None

    async def add(self, subject: str, *, seconds: float | None = None, reason: str = "", by: str = "") -> Ban:
        """Ban somebody, or change how long a ban lasts.

        Args:
            subject: an address, a network, or ``user:`` and a name.
            seconds: how long; `ban_seconds` of the settings by default.
            reason: why, for the audit log.
            by: who decided.

        Raises: ValueError, for a subject that is none or must not be banned; StoreError.
        """
        ban, since = self._new(subject, seconds, reason, by), self._version
        ledger, told = await self._change(ban, SET)
        return self._note(ledger, ban, told, ADMIN, since)

    def add_sync(self, subject: str, *, seconds: float | None = None, reason: str = "", by: str = "") -> Ban:
        """`add` for blocking code."""
        ban, since = self._new(subject, seconds, reason, by), self._version
        ledger = self._ledger(self._link.buckets_sync())
        told = self._run(ledger.change(ban, SET, *_random()))
        return self._note(ledger, ban, told, ADMIN, since)

    async def lift(self, subject: str, *, by: str = "") -> bool:
        """End a ban, and forget it was there; whether there was one. Raises: ValueError; StoreError."""
        ban, since = Ban(subject_of(subject, self._config.ipv6_prefix), 0, by=by), self._version
        _, told = await self._change(ban, LIFT)
        return self._lifted(ban, told, since)

    def lift_sync(self, subject: str, *, by: str = "") -> bool:
        """`lift` for blocking code."""
        ban, since = Ban(subject_of(subject, self._config.ipv6_prefix), 0, by=by), self._version
        ledger = self._ledger(self._link.buckets_sync())
        return self._lifted(ban, self._run(ledger.change(ban, LIFT, *_random())), since)

    async def list(self) -> tuple[Ban, ...]:
        """The bans that hold, those that end first at the beginning. Raises: StoreError."""
        ledger = self._ledger(await self._link.buckets())
        found: Changes = []
        mark, version, more = 0, 0, True
        while more:
            mark, version, more, part = await self._link.drive(ledger.changes(mark, version))
            found += part
        return _holding(found)

    def list_sync(self) -> tuple[Ban, ...]:
        """`list` for blocking code."""
        ledger = self._ledger(self._link.buckets_sync())
        found: Changes = []
        mark, version, more = 0, 0, True
        while more:
            mark, version, more, part = self._run(ledger.changes(mark, version))
            found += part
        return _holding(found)

    async def propose(self, subject: str, *, reason: str, by: str, seconds: float | None = None) -> Ban | None:
        """Ban somebody because a rule says so; None when a ban would hit who is never banned, or changes nothing.

        While the store is away, the ban holds in this process.
        """
        ban, since = self._proposed(subject, seconds, reason, by), self._version
        if ban is None:
            return None
        try:
            ledger, told = await self._change(ban, RULE)
        except StoreError:
            self._learn([ban])
            self._tell("ban.added", ban, SYSTEM)
            return ban
        if not told.changed:
            return None
        made = self._note(ledger, ban, told, SYSTEM, since)
        await self._roll_up(made)
        return made

    async def hear(self) -> None:
        """Learn what changed anywhere. While the store is away, what is known holds until it ends."""
        self._learn(())
        with suppress(StoreError):
            ledger, more = self._ledger(await self._link.buckets()), True
            while more:
                self._meanwhile = set()
                mark, version, more, changed = await self._link.drive(ledger.changes(self._mark, self._version))
                more = self._heard(mark, version, changed) and more

    def _heard(self, mark: int, version: int, changed: Sequence[Ban]) -> bool:
        """Take up what the store told; whether that is all of it. What was changed here since it was asked is newer than its
        answer, or will be told again: next time it is asked from where it was asked this time.
        """
        with self._lock:
            newer = self._meanwhile
            if not newer:
                self._mark, self._version = mark, version
        self._learn(changed, newer)
        return not newer

    def _changed(self, ban: Ban, since: int) -> None:
        """Take up a change of ours, for which the store was asked when all up to `since` was known. Another process may have
        changed it again before its answer got here, so what came after `since` is asked for once more.
        """
        with self._lock:
            self._meanwhile.add(ban.subject)
            self._version = min(self._version, since)
        self._learn([ban])

    def _learn(self, changed: Sequence[Ban], newer: Collection[str] = ()) -> None:
        now = self._clock()
        with self._lock:
            for ban in [ban for ban in changed if ban.subject not in newer]:
                self.table.put(ban, now)
                if ban.seconds <= 0:
                    self._mine.pop(ban.subject, None)
            over = [ban for ban in self.table.sweep(now) if ban.subject in self._mine]
        for ban in over:
            del self._mine[ban.subject]
            self._tell("ban.expired", replace(ban, seconds=0.0), SYSTEM)

    def _new(self, subject: str, seconds: float | None, reason: str, by: str) -> Ban:
        name = subject_of(subject, self._config.ipv6_prefix)
        if (net := spared(name, self._never)) is not None:
            raise ValueError(f"{name} is never banned, because {net} is private, exempt, a trusted proxy or in never_ban")
        length = self.settings.ban_seconds if seconds is None else seconds
        if not 0 < length <= self.settings.ban_max_seconds * 100:
            raise ValueError(f"seconds={length!r} is no duration of a ban; a correct one is 3600")
        return Ban(name, length, reason=reason, by=by)

    def _proposed(self, subject: str, seconds: float | None, reason: str, by: str) -> Ban | None:
        try:
            return self._new(subject, seconds, reason, by)
        except ValueError:
            logger.info("lockwatch: a rule (%s) would ban somebody who is never banned", by)
            return None

    async def _roll_up(self, ban: Ban) -> None:
        network = wider(ban.subject)
        if network is not None and len(self.table.within(network, self._config.ipv6_prefix, self._clock())) >= ROLLED_UP:
            await self.propose(str(network), reason=f"{ROLLED_UP} of its networks are banned", by="roll-up")

    async def _change(self, ban: Ban, how: int) -> tuple[Ledger, Told]:
        ledger = self._ledger(await self._link.buckets())
        return ledger, await self._link.drive(ledger.change(ban, how, *_random()))

    def _note(self, ledger: Ledger, ban: Ban, told: Told, kind: str, since: int) -> Ban:
        made = replace(ban, seconds=told.seconds, times=told.times, id=ledger.id(ban.subject))
        if len(self._mine) >= self.settings.max_bans:
            self._mine.pop(next(iter(self._mine)))
        self._mine[made.subject] = None
        self._changed(made, since)
        self._tell("ban.added", made, kind)
        return made

    def _lifted(self, ban: Ban, told: Told, since: int) -> bool:
        self._mine.pop(ban.subject, None)
        self._changed(ban, since)
        if told.changed:
            self._tell("ban.lifted", ban, ADMIN)
        return told.changed

    def _tell(self, action: str, ban: Ban, kind: str) -> None:
        event = Event(time_us=time.time_ns() // 1000, kind=kind, action=action, actor=ban.by or None, target=ban.subject)
        if ban.seconds:
            event.details = {"seconds": round(ban.seconds), "times": ban.times, "id": ban.id}
        if ban.reason:
            event.reasons = (ban.reason,)
        self.report(event)

    def _ledger(self, buckets: Buckets) -> Ledger:
        return Ledger(buckets, self._config.namespace, self.settings)

    def _run(self, flow: Flow[T]) -> T:
        return run(flow, self._link.sync_store(), self._link.memory)


def _random() -> tuple[bytes, int]:
    return secrets.token_bytes(12), secrets.randbits(52) + 1


def _holding(found: Sequence[Ban]) -> tuple[Ban, ...]:
    newest = {ban.subject: ban for ban in found}
    return tuple(sorted((ban for ban in newest.values() if ban.seconds > 0), key=lambda ban: ban.seconds))


def _unheard(event: Event) -> None:
    """Where nobody listens."""
