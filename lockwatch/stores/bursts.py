"""Bursts in this process's memory: the scripts of `lua/burst.lua` as methods under the same names.

Bounded: the client unseen for longest is forgotten first, which at worst misses a burst of it.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from lockwatch.flow import Call, Reply

_SWEEP: Final = 3


@dataclass(slots=True)
class _Ring:
    """The times of a client's newest requests, and how many there were in this window and in the one before."""

    stamps: array[int] = field(default_factory=lambda: array("q"))
    total: int = 0
    index: int = 0
    current: int = 0
    before: int = 0
    last: int = 0
    until: int = 0


class Bursts:
    """The clients of one process. Its caller sees to it that one thread at a time is in here.

    Args:
        clock: microseconds; monotonic.
        most: how many clients are remembered.

    Attributes:
        evicted: how many were forgotten while their requests still counted.
    """

    def __init__(self, clock: Callable[[], int], most: int = 100_000) -> None:
        self.evicted = 0
        self._clock = clock
        self._most = most
        self._rings: OrderedDict[str, _Ring] = OrderedDict()
        self._told: OrderedDict[str, int] = OrderedDict()
        self.scripts: dict[str, Callable[[Call], Reply]] = {"burst": self._burst, "told": self._tell}

    def __len__(self) -> int:
        return len(self._rings)

    def _burst(self, call: Call) -> Reply:
        now, threshold, window, more, claim = call.args
        now = now or self._clock()
        ring = self._ring(call.keys[0], now)
        if ring.last > now + window:
            ring = self._rings[call.keys[0]] = _Ring()
        now = max(now, ring.last)
        reached = _reached(ring, now, threshold, window, more)
        estimate = _count(ring, now, window, more)
        _keep(ring, now, threshold - 1, more)
        ring.last, ring.until = now, now + window
        tell = reached and claim > 0 and self._claimed(call.keys[1], now, claim)
        return (int(reached), max(threshold, estimate) if reached else min(threshold - 1, estimate), int(tell))

    def _tell(self, call: Call) -> Reply:
        if len(self._told) >= self._most and call.keys[0] not in self._told:
            self._told.popitem(last=False)
        self._told[call.keys[0]] = (call.args[0] or self._clock()) + call.args[1]
        return (1,)

    def _ring(self, key: str, now: int) -> _Ring:
        ring = self._rings.get(key)
        if ring is None or ring.until <= now:
            for _ in range(min(_SWEEP, len(self._rings))):
                self._forget_oldest(now)
            ring = self._rings[key] = _Ring()
        self._rings.move_to_end(key)
        return ring

    def _forget_oldest(self, now: int) -> None:
        oldest, full = next(iter(self._rings)), len(self._rings) >= self._most
        counts = self._rings[oldest].until > now
        if full or not counts:
            del self._rings[oldest]
            self.evicted += counts

    def _claimed(self, key: str, now: int, claim: int) -> bool:
        if self._told.get(key, 0) > now:
            return False
        for told in [told for told, _ in zip(self._told, range(_SWEEP), strict=False)]:
            if self._told[told] <= now or len(self._told) >= self._most:
                del self._told[told]
        self._told[key] = now + claim
        return True


def _reached(ring: _Ring, now: int, threshold: int, window: int, more: int) -> bool:
    oldest = ring.total + more - threshold
    if more >= threshold or oldest < 0:
        return more >= threshold
    return ring.stamps[oldest % (threshold - 1)] > now - window


def _count(ring: _Ring, now: int, window: int, more: int) -> int:
    """About how many requests there are in the window: all of this one, and of the one before what still overlaps."""
    here = now // window
    if here != ring.index:
        ring.before, ring.current, ring.index = ring.current if here == ring.index + 1 else 0, 0, here
    ring.current += more
    return int(ring.before * (1 - now % window / window)) + ring.current


def _keep(ring: _Ring, now: int, slots: int, more: int) -> None:
    fresh = min(more, slots)
    for number in range(ring.total + more - fresh, ring.total + more):
        place = number % slots
        if place < len(ring.stamps):
            ring.stamps[place] = now
        else:
            ring.stamps.extend([now] * (place + 1 - len(ring.stamps)))
    ring.total += more
