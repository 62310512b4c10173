"""sliding-counter: approximate, two counters aligned to the clock."""

from __future__ import annotations

from math import ceil, floor
from typing import NamedTuple

from lockwatch.stores.buckets.bucket import MOST, Bucket, Settled, Verdict, verdict_of


class Counts(NamedTuple):
    """Two windows: the number of this one and how old it is, what it admitted, what the one before did.

    What the one before admitted counts by the part of it that a sliding window would still cover, rounded up. In doubles,
    as in Redis, so that both stores answer alike.
    """

    span: int
    number: int
    elapsed: int
    current: int
    previous: int

    @property
    def waiting(self) -> int:
        """What counts of the window before."""
        return self._weighed(self.previous, self.elapsed)

    def tell(self, quota: int, ahead: int) -> tuple[int, int, int]:
        """What is left, when all of it is free again, when more than that is; on a clock that is this far behind."""
        rest, reset, upcoming, waiting = self.span - self.elapsed, 0, 0, self.waiting
        if self.current:
            reset, upcoming = rest + self.span, rest + self._drained(self.current, self.current - 1, 0)
        if waiting:
            reset = max(reset, rest)
            upcoming = self._drained(self.previous, waiting - 1, self.elapsed) - self.elapsed
        return quota - self.current - waiting, reset and reset + ahead, upcoming and upcoming + ahead

    def wait(self, room: int) -> int:
        """How long until no more than `room` counts."""
        if room >= self.current:
            return self._drained(self.previous, room - self.current, self.elapsed) - self.elapsed
        return self.span - self.elapsed + self._drained(self.current, room, 0)

    def _weighed(self, previous: int, elapsed: int) -> int:
        return ceil(float(previous) * float(self.span - elapsed) / float(self.span))

    def _drained(self, previous: int, room: int, elapsed: int) -> int:
        """How old a window is when no more than `room` of the one before counts."""
        if self._weighed(previous, elapsed) <= room:
            return elapsed
        at = max(elapsed, min(self.span, self.span - floor(float(room) * float(self.span) / float(previous))))
        while self._weighed(previous, at) > room:
            at += 1
        return at


class SlidingCounter(Bucket):
    """The counts of the last two windows in which something was admitted."""

    __slots__ = ("_counts", "_last", "_settled")

    def __init__(self) -> None:
        self._counts, self._last, self._settled = Counts(0, -2, 0, 0, 0), 0, Settled()

    @property
    def until(self) -> int:
        return (self._counts.number + 2) * self._counts.span

    @property
    def empty(self) -> bool:
        return not self._counts.current + self._counts.previous

    def judge(self, now: int, quota: int, span: int, burst: int, cost: int) -> Verdict:
        """What `cost` would get now."""
        asked, now = now, self._steady(now, span)
        counts = self._rolled(now, span)
        left, reset, upcoming = counts.tell(quota, now - asked)
        known = verdict_of(left, quota, cost, False, reset, upcoming)
        return known or (2, max(0, left), counts.wait(quota - cost) + now - asked, reset, upcoming, 0)

    def charge(self, now: int, quota: int, span: int, burst: int, cost: int, loose: bool) -> Verdict:
        """Add to the counter of this window."""
        asked, now = now, self._steady(now, span)
        self._last = max(now, self._last + 1) if loose else now
        counts = self._rolled(self._last, span)
        self._counts = counts._replace(current=min(counts.current + cost, MOST))
        left, reset, upcoming = self._counts.tell(quota, self._last - asked)
        return (1, max(0, left), 0, reset, upcoming, self._last if loose else 0)

    def settle(self, now: int, quota: int, span: int, burst: int, receipt: int, charged: int, actual: int, held: bool) -> int:
        """Change the counter that holds the charge; what is more is added to the newer one."""
        now = self._steady(now, span)
        counts = self._rolled(now, span)
        behind = counts.number - receipt // span
        if receipt > self._last or behind > 1 or not counts.current + counts.previous:
            return 0
        if not held and not self._settled.add(receipt):
            return 0
        field = "current" if actual > charged or behind < 1 else "previous"
        held_back: int = getattr(counts, field)
        change = max(actual - charged, -held_back)
        # The counts are of this moment now: a clock that steps back from here must not find them in its future.
        self._counts, self._last = counts._replace(**{field: min(held_back + change, MOST)}), max(now, self._last)
        return change

    def _steady(self, now: int, span: int) -> int:
        """The time, which never steps back. After a changed window or a clock set back by more: what counts, counts as now."""
        if now < self._last <= now + span:
            now = self._last
        if not self.empty and (self._counts.span != span or self._last > now):
            counts = self._rolled(max(now, self._last), self._counts.span)
            kept = counts.current + counts.waiting
            number, elapsed = divmod(now, span)
            self._counts, self._last = Counts(span, number, elapsed, kept, 0), now if kept else 0
            self._settled = self._settled if kept else Settled()
        return now

    def _rolled(self, now: int, span: int) -> Counts:
        _, before, _, current, previous = self._counts
        number, elapsed = divmod(now, span)
        if number == before:
            return Counts(span, number, elapsed, current, previous)
        return Counts(span, number, elapsed, 0, current if number == before + 1 else 0)
