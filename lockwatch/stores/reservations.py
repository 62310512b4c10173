"""Open reservations of the memory store: charges with a lease, given back when it lapses."""

from __future__ import annotations

from typing import Final, NamedTuple

LEASE: Final = 10_000_000
_AT_ONCE: Final = 100
_MARKS: Final = 1000


class Reservation(NamedTuple):
    """One charge; `key` tells those apart that share a place."""

    key: str
    receipt: int
    cost: int


class Reservations:
    """The open ones by when they lapse, and marks of those that lapsed, by when a late settle no longer counts."""

    __slots__ = ("_marks", "_open", "_soonest", "until")

    def __init__(self) -> None:
        self._open: dict[Reservation, int] = {}
        self._marks: dict[Reservation, int] = {}
        self._soonest = self.until = 0

    @property
    def empty(self) -> bool:
        """Whether there is nothing to settle."""
        return not self._open and not self._marks

    def add(self, reservation: Reservation, now: int, span: int) -> None:
        """Open one with a lease of 10 seconds."""
        self._open[reservation] = now + LEASE
        self._soonest = min(self._soonest, now + LEASE)
        self.until = max(self.until, now + LEASE + span)

    def lapsed(self, key: str, now: int) -> list[Reservation]:
        """At most 100 whose lease has lapsed, the oldest first."""
        if now < self._soonest:
            return []
        self._soonest = min(self._open.values(), default=0)
        found = [(lapses, r) for r, lapses in self._open.items() if lapses <= now and r.key == key]
        return [r for _, r in sorted(found, key=lambda pair: (pair[0], f"{pair[1].receipt} {pair[1].cost}"))[:_AT_ONCE]]

    def lapse(self, reservation: Reservation, now: int, span: int) -> None:
        """Leave a mark of one that was given back, for a settle that comes late."""
        del self._open[reservation]
        self._marks = {known: until for known, until in self._marks.items() if until > now}
        if reservation.receipt + span > now:
            self._marks[reservation] = reservation.receipt + span
        if len(self._marks) > _MARKS:
            del self._marks[min(self._marks, key=lambda known: self._marks[known])]
        self.until = max(self.until, now + LEASE + span)

    def close(self, reservation: Reservation) -> str:
        """End one. What it was: ``"open"``, ``"lapsed"``, or ``""`` when it had ended before."""
        if self._open.pop(reservation, None) is not None:
            return "open"
        return "lapsed" if self._marks.pop(reservation, None) is not None else ""

    def renew(self, reservation: Reservation, now: int, lapses: int) -> bool:
        """Extend the lease of one that is still there."""
        if self._open.get(reservation, 0) <= now:
            return False
        self._open[reservation] = max(self._open[reservation], lapses)
        self.until = max(self.until, lapses)
        return True
