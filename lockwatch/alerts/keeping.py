"""Where alerts are kept: in a file while it can be written, in memory otherwise."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from lockwatch import native
from lockwatch.alerts.digest import Held
from lockwatch.alerts.outbox import FULL, KEPT, Outbox
from lockwatch.spool.directory import SpoolError

logger = logging.getLogger("lockwatch")
_NO_ROOM: Final = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


class Shelf(Protocol):
    """Where the outboxes of an application's processes stand. Every method raises SpoolError or sqlite3.Error."""

    def open(self) -> Outbox:
        """The one of this process."""

    def adopt(self, ours: Outbox) -> int:
        """Take over what dead processes left; how many alerts that are."""

    def outboxes(self) -> Iterator[Outbox]:
        """Those of all processes, one after the other, to look at."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an alert is kept, and whether it is new there."""

    box: Outbox
    new: bool


class Keeper:
    """The outboxes of a process: the one on disk first, then the one in memory, which is used when the first fails.

    Args:
        shelf: where the one on disk is; None for memory only.
        missing: why there is none on disk, when `shelf` is None.
        receivers: names of all that are configured, by their hashes.
        clock: seconds since 1970.

    Attributes:
        problem: why something is in memory only; empty when nothing is.
        dropped: alerts that found no place anywhere.
    """

    def __init__(self, shelf: Shelf | None, missing: str, receivers: Mapping[str, str], clock: Callable[[], float]) -> None:
        self._lock = native.lock()
        self._shelf = shelf
        self._receivers = receivers
        self._clock = clock
        self._opened: list[Outbox] | None = None
        self.problem = missing
        self.dropped = 0

    @property
    def boxes(self) -> Sequence[Outbox]:
        """The outboxes, opened when they are needed first."""
        with self._lock:
            if self._opened is None:
                self._opened = [*self._on_disk(), Outbox()]
            return self._opened

    @property
    def opened(self) -> bool:
        """Whether anything was kept or looked for."""
        return self._opened is not None

    def add(self, name: str, kind: str, body: bytes, receivers: Mapping[str, str], now: float) -> Place | None:
        """Keep an alert; where it is, None when there is no room for it."""
        for box in self.boxes:
            try:
                how = box.add(name, kind, body, receivers, now)
                if how != FULL:
                    self._works(box)
                    return Place(box, how == KEPT)
            except sqlite3.Error as error:
                self.fails(error)
        self.dropped += 1
        return None

    def hold(self, held: Sequence[Held]) -> None:
        """Add to what is told in a digest."""
        for box in self.boxes:
            try:
                return box.hold(held)
            except sqlite3.Error as error:
                self.fails(error)
        return None

    def adopt(self) -> None:
        """Take over what dead processes left, and send what waits for receivers that are gone to those that are there."""
        box = self.boxes[0]
        if self._shelf is None or len(self.boxes) == 1:
            return
        try:
            if self._shelf.adopt(box):
                logger.warning("lockwatch: alerts that another process did not deliver are delivered by this one")
            box.readdress(self._receivers, self._clock())
        except (SpoolError, sqlite3.Error) as error:
            self.fails(error)

    def fails(self, error: SpoolError | sqlite3.Error) -> None:
        """Note that a file cannot be written."""
        self._trouble(f"the outbox fails: {error}")
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _NO_ROOM:
            for box in self._opened or ():
                box.make_room()

    def close(self) -> None:
        """Close what is open."""
        with self._lock:
            opened, self._opened = self._opened or [], None
        for box in opened:
            with suppress(sqlite3.Error):
                box.close()

    def abandon(self) -> None:
        """Leave what is open to the parent, in a forked child."""
        for box in self._opened or ():
            box.abandon()

    def _on_disk(self) -> list[Outbox]:
        if self._shelf is None:
            return []
        try:
            return [self._shelf.open()]
        except (SpoolError, sqlite3.Error) as error:
            self._trouble(f"there is no outbox on disk: {error}")
            return []

    def _works(self, box: Outbox) -> None:
        if self.problem and box is not self.boxes[-1]:
            self.problem = ""
            logger.warning("lockwatch: alerts are kept on disk again")

    def _trouble(self, problem: str) -> None:
        if not self.problem:
            logger.error("lockwatch: alerts are kept in memory only, and lost with the process: %s", problem)
        self.problem = problem
