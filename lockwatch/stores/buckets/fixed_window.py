"""fixed-window: a window starts with its first admission. Across its end, twice the quota may pass."""

from __future__ import annotations

from lockwatch.stores.buckets.bucket import MOST, Bucket, Settled, Verdict, verdict_of


class FixedWindow(Bucket):
    """When the window began, and what was admitted in it."""

    __slots__ = ("_last", "_loose", "_settled", "_span", "_start", "_used")

    def __init__(self) -> None:
        self._start = self._used = self._last = self._span = 0
        self._loose = False
        self._settled = Settled()

    @property
    def until(self) -> int:
        return self._start + self._span

    @property
    def empty(self) -> bool:
        return not self._used

    def judge(self, now: int, quota: int, span: int, burst: int, cost: int) -> Verdict:
        """What `cost` would get now."""
        asked, (_, used) = now, self._look(now, span)
        left, reset = quota - used, self._start + span - asked if used else 0
        known = verdict_of(left, quota, cost, False, reset, reset)
        return known or (2 if self._loose else 0, max(0, left), reset, reset, reset, 0)

    def charge(self, now: int, quota: int, span: int, burst: int, cost: int, loose: bool) -> Verdict:
        """Count it, in a window of its own if none has begun."""
        asked, (now, used) = now, self._look(now, span)
        stamp = max(now, self._last + 1) if loose or (used and self._loose) else now
        if not used or stamp >= self._start + span:
            self._start, self._used, self._loose, self._settled = stamp, 0, False, Settled()
        self._used, self._last, self._span, self._loose = min(self._used + cost, MOST), stamp, span, loose or self._loose
        reset = self._start + span - asked
        return (1, max(0, quota - self._used), 0, reset, reset, stamp if loose else 0)

    def settle(self, now: int, quota: int, span: int, burst: int, receipt: int, charged: int, actual: int, held: bool) -> int:
        """Change the count while the window of the charge lasts."""
        now, used = self._look(now, span)
        if not used or not self._start <= receipt <= self._last or not (held or self._settled.add(receipt)):
            return 0
        change = max(actual - charged, -used)
        self._used = min(self._used + change, MOST)
        return change

    def _look(self, now: int, span: int) -> tuple[int, int]:
        """The time, which never steps back, and what counts then. Set back by more than a window: what counts, began now."""
        if self._last - now > span:
            self._start = self._last = now
        now = max(now, self._last)
        return now, self._used if now < self._start + span else 0
