"""Where alerts are kept: in a file while it can be written, in memory otherwise."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

from lockwatch import native
from lockwatch.alerts.digest import Held
from lockwatch.alerts.outbox import FULL, KEPT, WAITING, Outbox

Open: TypeAlias = "Callable[[], Outbox]"
logger = logging.getLogger("lockwatch")


@dataclass(frozen=True, slots=True)
class Place:
    """Where an alert is kept, and whether it is new there."""

    box: Outbox
    new: bool


class Keeper:
    """The outboxes of a process: the one on disk first, then the one in memory, which is used when the first fails.

    Args:
        opens: opens the one on disk, and raises OSError or sqlite3.Error when it cannot; None for memory only.
        missing: why there is none on disk, when `opens` is None.

    Attributes:
        problem: why something is in memory only; empty when nothing is.
        dropped: alerts that found no place anywhere.
    """

    def __init__(self, opens: Open | None, missing: str = "") -> None:
        self._lock = native.lock()
        self._opens = opens
        self._opened: list[Outbox] | None = None
        self.problem = missing
        self.dropped = 0

    @property
    def boxes(self) -> Sequence[Outbox]:
        """The outboxes, opened when they are needed first."""
        with self._lock:
            if self._opened is None:
                self._opened = [*self._on_disk(), Outbox.in_memory()]
            return self._opened

    @property
    def opened(self) -> bool:
        """Whether anything was kept or looked for."""
        return self._opened is not None

    def add(
        self, name: str, kind: str, body: bytes, receivers: Mapping[str, str], now: float, state: str = WAITING
    ) -> Place | None:
        """Keep an alert; where it is, None when there is no room for it."""
        for box in self.boxes:
            try:
                how = box.add(name, kind, body, receivers, now, state)
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

    def fails(self, error: sqlite3.Error) -> None:
        """Note that a file cannot be written."""
        self._trouble(f"the outbox fails: {error}")

    def close(self) -> None:
        """Close what is open."""
        with self._lock:
            opened, self._opened = self._opened or [], None
        for box in opened:
            with suppress(sqlite3.Error):
                box.close()

    def _on_disk(self) -> list[Outbox]:
        if self._opens is None:
            return []
        try:
            return [self._opens()]
        except (OSError, sqlite3.Error) as error:
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
