"""The recorder: what happened becomes rows, rows go into the spool and to every sink, and a loss becomes a row too."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import secrets
import time
from functools import partial
from operator import attrgetter
from typing import Final

from lockwatch import native
from lockwatch.audit.backlog import ORDINARY, Backlog
from lockwatch.audit.checkpoint import Head
from lockwatch.audit.floods import Floods
from lockwatch.audit.gaps import Losses, gap
from lockwatch.audit.health import AuditHealth
from lockwatch.audit.orphans import NAME, Orphanage
from lockwatch.audit.pack import Told
from lockwatch.audit.sealing import Sealer
from lockwatch.audit.sender import Sender
from lockwatch.audit.settings import AuditSettings
from lockwatch.audit.writer import Writer
from lockwatch.event import HTTP, SYSTEM, Event
from lockwatch.spool.database import Database
from lockwatch.spool.directory import Directory
from lockwatch.spool.journal import Journal
from lockwatch.stream import Late, Stream
from lockwatch.worker import shared

logger = logging.getLogger("lockwatch")
LATE: Final = 0.04
"""Seconds that sinks have to take a row before it goes into the spool: what they take at once is written once."""
TELLING: Final = 1.0
"""Seconds between two gaps."""
PATIENCE: Final = 9.5
"""Seconds that `finish` waits for sinks."""
REMEMBERED: Final = 60.0
"""Seconds for which a loss makes the health degraded."""
NO_ROOM: Final = "no room"
DAMAGED: Final = "damaged in the spool"
_kind: Final = attrgetter("kind")


class Recorder:
    """The audit log of one application, on the worker's loop.

    Args:
        settings: of the application.
        stream: whose events it gets.
    """

    def __init__(self, settings: AuditSettings, stream: Stream) -> None:
        self._settings = settings
        self._stream = stream
        self._late = 0.0 if settings.spools_first else LATE
        self._inherited: list[object] = []
        stream.leaves_out = partial(_leaves_out, settings.exempt)
        self._begin()
        native.tell_of_forks(self)

    def forked(self) -> None:
        """Begin anew in a child: another process, another chain, another spool, connections of its own."""
        self._inherited.append((self._senders, self._backlog.let_go()))
        self._begin()

    async def consume(self, events: list[Event]) -> None:
        """Make rows of events."""
        native.at_home(self)
        exempt = self._settings.exempt
        merged = self._floods.merge(events)
        self._record([event for event in merged if not _leaves_out(exempt, event)] if exempt else merged)

    async def settle(self) -> None:
        """Spool what is new, have it delivered, tell of losses."""
        self._tell(force=False)
        self._backlog.store(0.0 if any(sender.fault for sender in self._senders) else self._late)
        self._backlog.settle()
        self._send()
        self._seal()
        self._block()

    async def finish(self) -> None:
        """Wait until every sink that works has everything, `PATIENCE` seconds at most."""
        self._tell(force=True)
        ends = time.monotonic() + PATIENCE
        self._send()
        while not all(sender.rests for sender in self._senders) and time.monotonic() < ends:
            await asyncio.sleep(0.001)
            for sender in self._senders:
                if not sender.busy and not sender.rests:
                    self._start(sender)
        self._backlog.store()
        self._backlog.settle()

    async def close(self) -> None:
        """Let go of spool and sinks. What has not arrived stays in the spool."""
        if running := [task for task in self._running.values() if not task.done()]:
            await asyncio.wait(running, timeout=PATIENCE)
        self._orphanage.close()
        self._sealer.note(self._backlog.head)
        await self._sealer.finish()
        if left := self._backlog.close():
            logger.error("lockwatch: %d audit rows are in memory alone, because there is no spool and no sink takes them", left)
        for sender in self._senders:
            await shared().attempt(f"closing {sender.name}", sender.sink.aclose)

    def health(self) -> AuditHealth:
        """How it does."""
        backlog, directory = self._backlog, self._settings.directory
        return AuditHealth(
            self._problems(),
            self._writer.seq,
            self._stream.pending + backlog.rows,
            backlog.oldest,
            self._stream.pending + backlog.in_memory,
            self._losses.total,
            "" if directory is None else str(directory.path),
            backlog.spooled_bytes,
            {sender.name: sender.fault for sender in self._senders},
            self._orphanage.adopted,
            () if directory is None else directory.foreign(),
        )

    def _begin(self) -> None:
        settings = self._settings
        self.pid = os.getpid()
        self._losses, self._floods = Losses(), Floods()
        self._told = self._lost_at = 0.0
        self._sealed: Head | None = None
        bits = random.Random(secrets.randbits(128)).getrandbits  # noqa: S311 - unique, not secret
        self._running: dict[str, asyncio.Task[None]] = {}
        sinks = settings.sinks()
        keeps = not all(getattr(sink, "takes_bodies", False) for sink in sinks)
        self._writer = Writer(secrets.token_hex(8), settings.redactor, bits, settings.headers, keeps)
        names = _unique([sink.name for sink in sinks])
        directory = settings.directory
        self._backlog = Backlog(names, None if directory is None else partial(self._open, directory), self._damaged)
        self._sealer = Sealer(settings.seals)
        self._orphanage = Orphanage(directory, names, self._damaged, self._sealer.note)
        self._senders = [Sender(name, sink, self._backlog, self._orphanage) for name, sink in zip(names, sinks, strict=True)]

    def _open(self, directory: Directory) -> Journal:
        """Raises: SpoolError."""
        claim = directory.claim(NAME)
        return Journal(Database(claim, self._settings.spool_bytes, self._settings.synchronous))

    def _record(self, events: list[Event]) -> None:
        """Make rows of events; those there is no room for are lost before they have a number."""
        kept = events
        if not self._backlog.room_for(len(events)):
            kept = [event for event in events if self._backlog.room(event.kind)]
            for event in events:
                if not self._backlog.room(event.kind):
                    self._lose(event.kind, NO_ROOM, event.count)
        if kept:
            self._backlog.add(self._writer.rows(kept), not ORDINARY.issuperset(map(_kind, kept)))

    def _tell(self, force: bool) -> None:
        before = self._losses.total
        self._losses.follow(self._stream.dropped)
        now = time.monotonic()
        if self._losses.total != before:
            self._lost_at = now
        if self._losses and self._backlog.room(SYSTEM) and (force or now >= self._told + TELLING):
            self._told = now
            self._record(self._losses.tell(time.time_ns() // 1000))

    def _lose(self, kind: str, reason: str, count: int) -> None:
        self._losses.add(kind, reason, count)
        self._lost_at = time.monotonic()

    def _damaged(self, told: Told) -> None:
        """Rows that had a number are lost."""
        count = max(told.count, 1)
        logger.error("lockwatch: %d audit rows are lost, because their place in the spool is damaged", count)
        self._losses.total += count
        self._lost_at = time.monotonic()
        self._record([gap(time.time_ns() // 1000, DAMAGED, {"unknown": count}, told)])

    def _send(self) -> None:
        for sender in self._senders:
            if not sender.busy:
                self._start(sender)

    def _start(self, sender: Sender) -> None:
        sender.busy = True
        self._running[sender.name] = shared().run(shared().attempt(f"audit rows to {sender.name}", sender.run))

    def _seal(self) -> None:
        """A checkpoint, when it is time for one."""
        if self._backlog.head is not self._sealed:
            self._sealed = self._backlog.head
            self._sealer.note(self._sealed)
        if self._sealer.due:
            shared().run(shared().attempt("a checkpoint of the audit log", self._sealer.seal))

    def _block(self) -> None:
        """Say whether events can be kept."""
        backlog = self._backlog
        unsafe = bool(backlog.fault) and any(sender.fault for sender in self._senders)
        self._stream.blocked = (backlog.fault or NO_ROOM) if self._settings.denies and (unsafe or not backlog.room(HTTP)) else ""

    def _problems(self) -> tuple[str, ...]:
        found = [f"the audit spool does not work: {self._backlog.fault}"] if self._backlog.fault else []
        found += [f"audit rows wait: {sender.fault}" for sender in self._senders if sender.fault]
        if self._lost_at and time.monotonic() - self._lost_at < REMEMBERED:
            found.append(f"{self._losses.total} events left no audit row; gaps tell when")
        found += [f"no checkpoint can be made: {self._sealer.fault}"] if self._sealer.fault else []
        if self._stream.blocked:
            found.append("requests are refused, because events cannot be kept")
        return tuple(found)


def _leaves_out(exempt: tuple[str, ...], item: Event | Late) -> bool:
    """Whether it is a request for one of these paths, or prefixes that end in ``*``."""
    path = getattr(item, "path", None)
    if not exempt or item.kind != HTTP or not isinstance(path, str):
        return False
    return any(path.startswith(p[:-1]) if p.endswith("*") else path == p for p in exempt)


def _unique(names: list[str]) -> list[str]:
    """Names of sinks, with a number where two are the same."""
    return [name if name not in names[:i] else f"{name} ({i + 1})" for i, name in enumerate(names)]
