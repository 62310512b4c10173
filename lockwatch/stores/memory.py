"""The store in this process's memory: every script of `lua/` as a method under the same name.

Exact, thread-safe and bounded. A full table never forgets a bucket that still counts: a subject without a bucket of its own
then shares one of 1,024 overflow buckets (which can only refuse earlier), until the shared one has run empty.
"""

from __future__ import annotations

import threading
import time
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from lockwatch.flow import Call, Reply

NEVER: Final = -1
_OVERFLOW: Final = 1024
_SWEEP: Final = 3


def monotonic_us() -> int:
    """Microseconds of a clock that never steps back."""
    return time.monotonic_ns() // 1000


class Window:
    """The exact sliding window of one bucket: when each admission was, and the running total after it.

    16 bytes per admission that counts. Expired ones are cut off once they are half of the log, so that both reading and
    writing cost the same however large the quota is. Never empty: a bucket is made by its first admission.
    """

    __slots__ = ("base", "head", "span", "stamps", "totals")
    stamps: array[int]
    totals: array[int]
    span: int
    head: int
    base: int

    def __init__(self, now: int, span: int, cost: int) -> None:
        self._restart(now, span, cost)

    def take(self, now: int, quota: int, span: int, cost: int) -> tuple[int, int, int, int, int]:
        """`judge` and `add` in one, with the common case first: it fits, and nothing has expired."""
        stamps, totals = self.stamps, self.totals
        upcoming = stamps[self.head] + span - now
        if upcoming > 0 and now >= stamps[-1] and span == self.span and cost:
            total = totals[-1] + cost
            left = quota - total + self.base
            if left >= 0:
                stamps.append(now)
                totals.append(total)
                return (1, left, 0, span, upcoming)
        verdict = self.judge(now, quota, span, cost)
        if verdict[0] and cost:
            self.add(now, span, cost)
            return self.judge(now, quota, span, 0)
        return verdict

    def judge(self, now: int, quota: int, span: int, cost: int) -> tuple[int, int, int, int, int]:
        """What `cost` would get now: verdict, remaining before it, retry, reset, next (microseconds)."""
        now = self._steady(now, span)
        stamps = self.stamps
        if stamps[-1] + min(span, self.span) <= now:
            return judge_empty(quota, cost)
        head, base = self._live(now - span)
        left = quota - self.totals[-1] + base
        reset, upcoming = stamps[-1] + span - now, stamps[head] + span - now
        if cost <= left or not cost:
            return (1, max(0, left), 0, reset, upcoming)
        if cost > quota:
            return (0, max(0, left), NEVER, reset, upcoming)
        released = stamps[bisect_left(self.totals, base + cost - left, head)]
        return (0, max(0, left), released + span - now, reset, upcoming)

    def add(self, now: int, span: int, cost: int) -> None:
        """Record an admission that `judge` just allowed."""
        now = self._steady(now, span)
        if self.stamps[-1] + min(span, self.span) <= now:
            self._restart(now, span, cost)
            return
        self.span = span
        self.head, self.base = self._live(now - span)
        self.stamps.append(now)
        self.totals.append(self.totals[-1] + cost)
        if self.head * 2 >= len(self.stamps):
            del self.stamps[: self.head], self.totals[: self.head]
            self.head = 0

    def _live(self, horizon: int) -> tuple[int, int]:
        """Where the admissions after `horizon` begin, and the total before them."""
        if self.stamps[self.head] > horizon:
            return self.head, self.base
        head = bisect_right(self.stamps, horizon, self.head)
        return head, self.totals[head - 1]

    def _steady(self, now: int, span: int) -> int:
        """A clock that stepped back stands still until it has caught up, for at most a window: then what counts, counts as now."""
        last = self.stamps[-1]
        if now >= last:
            return now
        if last - now <= span:
            return last
        self._restart(now, span, self.totals[-1] - self.base)
        return now

    def _restart(self, now: int, span: int, cost: int) -> None:
        self.stamps, self.totals = array("q", (now,)), array("q", (cost,))
        self.span, self.head, self.base = span, 0, 0


def judge_empty(quota: int, cost: int) -> tuple[int, int, int, int, int]:
    """`Window.judge` for a bucket in which nothing counts."""
    return (1, quota, 0, 0, 0) if cost <= quota else (0, quota, NEVER, 0, 0)


class MemoryStore:
    """Buckets of one process.

    Args:
        max_buckets: how many buckets are kept apart.
        clock: microseconds; monotonic.
    """

    def __init__(self, max_buckets: int = 200_000, clock: Callable[[], int] = monotonic_us) -> None:
        self._max = max_buckets
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, Window] = OrderedDict()
        self._overflow: dict[tuple[int, int], Window] = {}
        self._secrets: dict[str, Reply] = {}
        self._scripts = {"admit": self._admit, "peek": self._peek, "reset": self._reset, "secret": self._secret}
        self.overflowed = 0
        """How many calls found no room for a bucket of their own."""

    def __len__(self) -> int:
        return len(self._buckets) + len(self._overflow)

    def call(self, call: Call) -> Reply:
        """Run one script. Atomic over all threads."""
        with self._lock:
            return self._scripts[call.script](call.keys, call.args)

    def _admit(self, keys: tuple[str, ...], args: tuple[int, ...]) -> Reply:
        now = args[0] or self._clock()
        if len(keys) == 1:
            window = self._buckets.get(keys[0])
            if window is not None:
                return window.take(now, args[1], args[2], args[3])
            return self._admit_new(keys[0], now, *args[1:])
        verdicts = [self._judge(key, now, *args[i * 4 + 1 : i * 4 + 4]) for i, key in enumerate(keys)]
        if all(verdict[0] or args[i * 4 + 4] for i, verdict in enumerate(verdicts)):
            for i, key in enumerate(keys):
                quota, span, cost = args[i * 4 + 1 : i * 4 + 4]
                if cost and verdicts[i][0]:
                    self._add(key, now, span, cost)
                    verdicts[i] = self._judge(key, now, quota, span, 0)
        return [number for verdict in verdicts for number in verdict]

    def _admit_new(self, key: str, now: int, quota: int, span: int, cost: int, _shadow: int) -> Reply:
        window = self._overflow and self._shared(key, now, span)
        if window:
            return window.take(now, quota, span, cost)
        verdict = judge_empty(quota, cost)
        if not verdict[0] or not cost:
            return verdict
        self._make(key, now, span, cost)
        return (1, quota - cost, 0, span, span)

    def _peek(self, keys: tuple[str, ...], args: tuple[int, ...]) -> Reply:
        now = args[0] or self._clock()
        return [number for i, key in enumerate(keys) for number in self._judge(key, now, *args[i * 4 + 1 : i * 4 + 4])]

    def _reset(self, keys: tuple[str, ...], args: tuple[int, ...]) -> Reply:
        # A shared bucket stays: emptying it would admit subjects nobody meant.
        return [sum(self._buckets.pop(key, None) is not None for key in keys)]

    def _secret(self, keys: tuple[str, ...], args: tuple[int, ...]) -> Reply:
        return self._secrets.setdefault(keys[0], args[1:])

    def _judge(self, key: str, now: int, quota: int, span: int, cost: int) -> tuple[int, int, int, int, int]:
        window = self._buckets.get(key) or (self._overflow and self._shared(key, now, span))
        return window.judge(now, quota, span, cost) if window else judge_empty(quota, cost)

    def _add(self, key: str, now: int, span: int, cost: int) -> None:
        window = self._buckets.get(key) or (self._overflow and self._shared(key, now, span))
        if window:
            window.add(now, span, cost)
        else:
            self._make(key, now, span, cost)

    def _make(self, key: str, now: int, span: int, cost: int) -> None:
        """Give `key` a bucket of its own, or a shared one when the table is full."""
        self._sweep(now, _SWEEP if len(self._buckets) < self._max else 8 * _SWEEP)
        if len(self._buckets) < self._max:
            self._buckets[key] = Window(now, span, cost)
        else:
            self.overflowed += 1
            self._overflow[_slot(key, span)] = Window(now, span, cost)

    def _shared(self, key: str, now: int, span: int) -> Window | None:
        """The overflow bucket of `key`, while something in it counts. Windows of different length never share one."""
        slot = _slot(key, span)
        window = self._overflow.get(slot)
        if window is not None and window.stamps[-1] + window.span <= now:
            del self._overflow[slot]
            return None
        return window

    def _sweep(self, now: int, steps: int) -> None:
        """Look at the longest unseen buckets; drop those in which nothing counts."""
        for _ in range(min(steps, len(self._buckets))):
            key, window = next(iter(self._buckets.items()))
            if window.stamps[-1] + window.span <= now:
                del self._buckets[key]
            else:
                self._buckets.move_to_end(key)


def _slot(key: str, span: int) -> tuple[int, int]:
    return zlib.crc32(key.encode("utf-8", "surrogatepass")) % _OVERFLOW, span
