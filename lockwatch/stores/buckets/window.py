"""sliding-window: exact. No window of any position holds more than the quota."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from typing import Final

from lockwatch.stores.buckets.bucket import MOST, NEVER, Bucket, Verdict

_DEPTH: Final = 4096
_NOTHING: Final = array("q")
"""Of a bucket that is made and not yet charged; never written to."""


class Window(Bucket):
    """When each admission was, and the running total after it.

    16 bytes per admission that counts. Expired ones are cut off once they are half of the log, so that both reading and
    writing cost the same however large the quota is. Once a charge may be given back, each has a stamp of its own.
    """

    __slots__ = ("base", "head", "loose", "span", "stamps", "totals")
    stamps: array[int]
    totals: array[int]
    span: int
    head: int
    base: int
    loose: bool

    def __init__(self) -> None:
        self._clear()

    @property
    def until(self) -> int:
        return self.stamps[-1] + self.span

    @property
    def empty(self) -> bool:
        return self.head == len(self.stamps)

    def take(self, now: int, quota: int, span: int, burst: int, cost: int) -> Verdict:
        """`judge` and `charge` in one, with the common case first: it fits, and nothing has expired."""
        stamps, totals = self.stamps, self.totals
        upcoming = stamps[self.head] + span - now
        if upcoming > 0 and now >= stamps[-1] and span == self.span and cost and not self.loose:
            total = totals[-1] + cost
            left = quota - total + self.base
            if left >= 0:
                stamps.append(now)
                totals.append(total)
                return (1, left, 0, span, upcoming, 0)
        verdict = self.judge(now, quota, span, burst, cost)
        return self.charge(now, quota, span, burst, cost, False) if verdict[0] == 1 and cost else verdict

    def judge(self, now: int, quota: int, span: int, burst: int, cost: int) -> Verdict:
        """What `cost` would get now."""
        asked, now = now, self._steady(now, span)
        if not self.stamps or self._expired(now, span):
            return (1, quota, 0, 0, 0, 0) if cost <= quota else (0, quota, NEVER, 0, 0, 0)
        stamps = self.stamps
        head, base = self._live(now - span)
        left = quota - self.totals[-1] + base
        reset, upcoming = stamps[-1] + span - asked, stamps[head] + span - asked
        if cost <= left or not cost:
            return (1, max(0, left), 0, reset, upcoming, 0)
        if cost > quota:
            return (0, max(0, left), NEVER, reset, upcoming, 0)
        released = stamps[bisect_left(self.totals, base + cost - left, head)]
        return (2 if self.loose else 0, max(0, left), released + span - asked, reset, upcoming, 0)

    def charge(self, now: int, quota: int, span: int, burst: int, cost: int, loose: bool) -> Verdict:
        """Record an admission."""
        if not self.stamps:
            self.loose = loose
            self._restart(now, span, cost)
            return (1, max(0, quota - cost), 0, span, span, now if loose else 0)
        asked, now = now, self._steady(now, span)
        last, expired = self.stamps[-1], self._expired(now, span)
        self.loose = loose or (self.loose and not expired)
        stamp = max(now, last + 1) if self.loose else now
        oldest = stamp
        if expired:
            self._restart(stamp, span, cost)
        else:
            oldest = self._append(now, stamp, span, cost)
        left = quota - self.totals[-1] + self.base
        return (1, max(0, left), 0, stamp + span - asked, oldest + span - asked, stamp if loose else 0)

    def settle(self, now: int, quota: int, span: int, burst: int, receipt: int, charged: int, actual: int, held: bool) -> int:
        """Lower or remove the admission that the receipt names; what is more is admitted now."""
        now = self._steady(now, span)
        if self._expired(now, span) or receipt <= now - span:
            return 0
        head, base = self._live(now - span)
        at = bisect_left(self.stamps, receipt, head)
        if at == len(self.stamps) or self.stamps[at] != receipt or len(self.stamps) - at > _DEPTH:
            return 0
        if self.totals[at] - (self.totals[at - 1] if at > head else base) != charged:
            return 0
        self.head, self.base = head, base
        # What is left of it differs from what was charged, so that whoever settles it again finds it settled.
        kept = min(actual, charged - 1)
        self._lower(at, charged - kept, kept == 0)
        if actual > kept:
            self.charge(now, quota, span, burst, actual - kept, True)
        return actual - charged

    def _append(self, now: int, stamp: int, span: int, cost: int) -> int:
        """One more admission. Returns when the oldest was."""
        self.span = span
        self.head, self.base = self._live(now - span)
        oldest = self.stamps[self.head]
        self.stamps.append(stamp)
        self.totals.append(min(self.totals[-1] + cost, self.base + MOST))
        if self.head * 2 >= len(self.stamps):
            del self.stamps[: self.head], self.totals[: self.head]
            self.head = 0
        return oldest

    def _lower(self, at: int, less: int, gone: bool) -> None:
        for i in range(at, len(self.totals)):
            self.totals[i] -= less
        if gone:
            del self.stamps[at], self.totals[at]
        if self.empty:
            self._clear()

    def _expired(self, now: int, span: int) -> bool:
        return not self.stamps or self.stamps[-1] + min(span, self.span) <= now

    def _live(self, horizon: int) -> tuple[int, int]:
        """Where the admissions after `horizon` begin, and the total before them."""
        if self.stamps[self.head] > horizon:
            return self.head, self.base
        head = bisect_right(self.stamps, horizon, self.head)
        return head, self.totals[head - 1]

    def _steady(self, now: int, span: int) -> int:
        """A clock that stepped back stands still until it has caught up, for at most a window: then what counts, counts as now."""
        if not self.stamps:
            return now
        last = self.stamps[-1]
        if now >= last:
            return now
        if last - now <= span:
            return last
        self._restart(now, span, self.totals[-1] - self.base)
        return now

    def _clear(self) -> None:
        self.stamps = self.totals = _NOTHING
        self.span = self.head = self.base = 0
        self.loose = False

    def _restart(self, now: int, span: int, cost: int) -> None:
        self.stamps, self.totals = array("q", (now,)), array("q", (cost,))
        self.span, self.head, self.base = span, 0, 0
