"""sorted-set: exact. The stamp of each unit of cost, so that admissions can be listed; every charge has a stamp of its own."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right

from lockwatch.stores.buckets.bucket import Bucket, Verdict, verdict_of


class SortedSet(Bucket):
    """8 bytes per unit of cost that counts."""

    __slots__ = ("_span", "_stamps")

    def __init__(self) -> None:
        self._stamps = array("q")
        self._span = 0

    @property
    def until(self) -> int:
        return self._stamps[-1] + self._span if self._stamps else 0

    @property
    def empty(self) -> bool:
        return not self._stamps

    def judge(self, now: int, quota: int, span: int, burst: int, cost: int) -> Verdict:
        """What `cost` would get now."""
        asked, (_, oldest) = now, self._look(now, span)
        stamps = self._stamps
        left, reset, upcoming = quota, 0, 0
        if oldest < len(stamps):
            left = quota - len(stamps) + oldest
            reset, upcoming = stamps[-1] + span - asked, stamps[oldest] + span - asked
        known = verdict_of(left, quota, cost, False, reset, upcoming)
        return known or (2, max(0, left), stamps[oldest + cost - left - 1] + span - asked, reset, upcoming, 0)

    def charge(self, now: int, quota: int, span: int, burst: int, cost: int, loose: bool) -> Verdict:
        """Add a stamp for each unit."""
        asked, (now, oldest) = now, self._look(now, span)
        stamp = max(now, self._stamps[-1] + 1) if self._stamps else now
        upcoming = (self._stamps[oldest] if oldest < len(self._stamps) else stamp) + span - asked
        del self._stamps[:oldest]
        self._stamps.extend([stamp] * min(cost, max(quota, 1)))
        self._span = span
        return (1, max(0, quota - len(self._stamps)), 0, stamp + span - asked, upcoming, stamp if loose else 0)

    def settle(self, now: int, quota: int, span: int, burst: int, receipt: int, charged: int, actual: int, held: bool) -> int:
        """Remove stamps of the charge; what is more is admitted now."""
        now, _ = self._look(now, span)
        start, end = bisect_left(self._stamps, receipt), bisect_right(self._stamps, receipt)
        if receipt <= now - span or end - start < charged:
            return 0
        # One unit less than was charged stays at most, so that whoever settles it again finds it settled.
        kept = min(actual, charged - 1)
        if actual > kept:
            self.charge(now, quota, span, burst, actual - kept, True)
            start = bisect_left(self._stamps, receipt)
        del self._stamps[start + kept : start + charged]
        return actual - charged

    def entries(self, now: int, span: int, most: int) -> list[int]:
        """The newest stamps that count, newest first."""
        oldest = bisect_right(self._stamps, now - span)
        return list(reversed(self._stamps[max(oldest, len(self._stamps) - most) :]))

    def _look(self, now: int, span: int) -> tuple[int, int]:
        """The time, and where what counts begins. A clock set back by more than a window: what counted, counts as now."""
        last = self._stamps[-1] if self._stamps else 0
        if last - now > span:
            used = len(self._stamps) - bisect_right(self._stamps, last - span)
            self._stamps = array("q", [now] * used)
            last = now
        now = max(now, last)
        return now, bisect_right(self._stamps, now - span)
