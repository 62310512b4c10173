"""What an hour of the week usually brings, how much that varies, and whether it has changed.

A `Channel` counts one thing for the whole site. Its `Cells` learn a mean and a dispersion per hour, its `Cusum` adds up the
evidence that the rate has risen (Page 1954). Counts of people vary more than Poisson counts, so the evidence is divided by the
measured dispersion (variance over mean), per hour and over whole days, whichever is larger: bad days come in one piece.
"""

from __future__ import annotations

from math import log, sqrt
from typing import Any, Final

HOUR_US: Final = 3_600_000_000
WEEK: Final = 168
_POOLED: Final = 48
_MONDAY: Final = 72
"""1970 began on a Thursday: so many hours after a Monday."""
_WEEKS: Final = 8
RISES: Final = (2.5, 5.0, 15.0)
"""The rises a `Cusum` looks for, as factors of the usual rate."""
_PHI: Final = (0.5, 20.0)
_PRIOR: Final = 5.0
_STEEPEST: Final = 20.0
"""How many times the level an hour is taken for, at most."""
READY: Final = 24
"""Hours that have to be seen before a channel may speak."""
_LEVEL: Final = (2.0, 14.0)
"""Days, at least and at most, over which a level is averaged."""
_DOUBT: Final = 0.5
"""Deviations of what was estimated that are allowed for."""
_PRIOR_DAYS: Final = 7.0
_CLIP: Final = 2.5
_LIKELY: Final = 2.0
"""Variance over mean of whole days, of a site of which nothing is known yet."""
_OVER: Final = 5.0
"""Nats of evidence that things are as usual, which end a campaign."""


def hour_of(at_us: int, utc_offset: int = 0) -> int:
    """Hours since 1970, local time."""
    return (at_us + utc_offset * 1_000_000) // HOUR_US


class Cells:
    """A level, and the shape of the week: by hour and weekday or weekend, until eight weeks are seen, then by hour of the week.

    The level follows the last third of what was seen, two days at least and two weeks at most: a new installation knows nobody, so
    that everything is new at first and the level falls from day to day.
    """

    __slots__ = ("_day", "_level", "_own", "_pool", "_spread")

    def __init__(self) -> None:
        self._level = [0.0, 0.0, 0.0, 0.0]  # per hour; hours seen; today's counts, and what the shape makes of them
        self._own = [[1.0, 0.0] for _ in range(WEEK)]
        self._pool = [[1.0, 0.0] for _ in range(_POOLED)]
        self._spread = [[0.0, 0.0] for _ in range(_POOLED + 1)]
        self._day = [0.0, 0.0, 0.0]

    @property
    def hours(self) -> float:
        """How many hours were learned."""
        return self._level[1]

    def expected(self, hour: int) -> float:
        """How many in that hour (since 1970)."""
        return self._level[0] * self._shape((hour + _MONDAY) % WEEK)

    def _shape(self, cell: int) -> float:
        usual = 1.0
        for pool in {cell % 24: None, _pool_of(cell): None}:  # until a weekend was seen, working days say what it is like
            ratio, seen = self._pool[pool]
            usual = (ratio * seen + usual * 3) / (seen + 3)
        ratio, seen = self._own[cell]
        return usual if seen < _WEEKS else (ratio * seen + usual * 4) / (seen + 4)

    def dispersion(self, hour: int) -> float:
        """Variance over mean, of hours like this one or of days."""
        squares, expected = self._spread[_pool_of((hour + _MONDAY) % WEEK)]
        all_squares, all_expected = self._spread[_POOLED]
        everywhere = (all_squares + 2 * _PRIOR) / (all_expected + _PRIOR)
        here = (squares + everywhere * 2 * _PRIOR) / (expected + 2 * _PRIOR)
        return min(max(here, self._days()), _PHI[1])

    def caution(self) -> float:
        """Times the level is to be expected: more while few hours were seen, and some of a deviation more, because few counts, or
        counts that vary much, may be few by chance."""
        counts = self._level[0] * 24 * min(self.hours / 24, _memory(self.hours / 24, *_LEVEL))
        return (1 + READY / self.hours) * (1 + _DOUBT * sqrt(self._days() / counts)) if counts else 1.0

    def _days(self) -> float:
        """Variance over mean of days, from what was seen and as many days of what is likely as `_PRIOR_DAYS` says."""
        squares, expected = min(self._day[:2]), self._day[2]
        prior = _PRIOR_DAYS * max(self._level[0] * 24, 1.0)
        return (squares + prior * _LIKELY) / (expected + prior)

    def learn(self, hour: int, count: float, expected: float, factor: float) -> None:
        """An hour has passed: `count` came where `expected` were, at `factor` times the usual activity."""
        cell = (hour + _MONDAY) % WEEK
        limit = expected + 4 * sqrt(self.dispersion(hour) * expected) + 2
        count = min(count, limit) if self.hours >= READY else count
        self._learn_level(hour, count / factor, self._shape(cell))
        if self._level[0]:
            for place, slowest in ((self._own[cell], 12), (self._pool[_pool_of(cell)], 15)):
                place[1] += 1
                place[0] += (min(count / factor / self._level[0], _STEEPEST) - place[0]) / min(place[1], slowest)
        if self.hours > READY:
            keep = 1 - 1 / _memory(self.hours, 3 * 24, 21 * 24)
            for place in (self._spread[_pool_of(cell)], self._spread[_POOLED]):
                place[0] = place[0] * keep + (count - expected) ** 2
                place[1] = place[1] * keep + expected

    def _learn_level(self, hour: int, rate: float, shape: float) -> None:
        level, hours, counts, shapes = self._level
        hours, counts, shapes = hours + 1, counts + rate, shapes + shape
        if hours <= READY:
            level = counts / shapes
        if (hour + _MONDAY) % 24 == 23 and hours >= READY:
            if hours > READY:
                level += (counts / shapes - level) / _memory(hours / 24, *_LEVEL)
            counts = shapes = 0.0
        self._level = [level, hours, counts, shapes]

    def learn_day(self, count: float, expected: float) -> None:
        """A day has passed. A site that calms down is not restless: twice what lies above the expectation, if that is less."""
        if self.hours > 2 * READY:
            spread = _CLIP * sqrt(self.dispersion(0) * expected) + 1
            excess = min(max(count - expected, -spread), spread)
            squares = (2 * max(excess, 0.0) ** 2, excess**2, expected)
            keep = 1 - 1 / min(max(self.hours / 24, 5.0), 28.0)
            self._day = [old * keep + new for old, new in zip(self._day, squares, strict=True)]

    def dump(self) -> list[Any]:
        """Its state."""
        return [self._level, self._own, self._pool, self._spread, self._day]

    def load(self, state: list[Any]) -> None:
        """Take the state that `dump` gave."""
        self._level, self._own, self._pool, self._spread, self._day = state


def _memory(seen: float, least: float, most: float) -> float:
    """Over how much to average after so much was seen: the last third of it."""
    return min(max(seen / 3, least), most)


def _pool_of(cell: int) -> int:
    return cell % 24 + (24 if cell >= 120 else 0)


class Cusum:
    """Evidence that a rate has risen, in nats, one sum for each of `RISES`."""

    __slots__ = ("_calm", "observed", "since_us", "sums", "usual")

    def __init__(self) -> None:
        self.sums = [0.0] * len(RISES)
        self.since_us = [0] * len(RISES)
        self.observed = [0.0] * len(RISES)
        self.usual = [0.0] * len(RISES)
        self._calm = 0.0

    def add(self, count: float, expected: float, dispersion: float, at_us: int, most: float) -> None:
        """An interval has brought `count` where `expected` is usual. No sum exceeds `most`, so that it can end."""
        for i, rise in enumerate(RISES):
            gain = (count * log(rise) - expected * (rise - 1)) / dispersion
            total = self.sums[i] + gain
            if total <= 0:
                self.sums[i], self.since_us[i], self.observed[i], self.usual[i] = 0.0, at_us, 0.0, 0.0
            else:
                self.sums[i] = min(total, most)
                self.observed[i] += count
                self.usual[i] += expected
        calm = (count * log(RISES[0]) - expected * (RISES[0] - 1)) / dispersion
        self._calm = max(0.0, self._calm - calm)

    @property
    def best(self) -> int:
        """Which of `RISES` has the most evidence."""
        return max(range(len(RISES)), key=self.sums.__getitem__)

    @property
    def calm(self) -> bool:
        """Whether there is evidence that the rate is back to what is usual."""
        return self._calm >= _OVER

    def restart(self) -> None:
        """Look for the end of what has begun."""
        self._calm = 0.0

    def clear(self) -> None:
        """Start anew."""
        self.sums = [0.0] * len(RISES)

    def dump(self) -> list[Any]:
        """Its state."""
        return [self.sums, self.since_us, self.observed, self.usual, self._calm]

    def load(self, state: list[Any]) -> None:
        """Take the state that `dump` gave."""
        self.sums, self.since_us, self.observed, self.usual, self._calm = state


class Channel:
    """One count of the whole site, with what is usual and whether that holds.

    Args:
        most: evidence is cut here.
        utc_offset: seconds local time is ahead.
    """

    __slots__ = ("_count", "_day", "_dispersion", "_hour", "_most", "_offset", "_plain", "_usual", "cells", "cusum")

    def __init__(self, most: float, utc_offset: int = 0) -> None:
        self.cells = Cells()
        self.cusum = Cusum()
        self._most = most
        self._offset = utc_offset
        self._count = self._plain = self._usual = 0.0
        self._dispersion = 1.0
        self._hour = [-1.0, 0.0, 0.0, 0.0, 0.0]  # number, count, expected, sum of factors, steps
        self._day = [-1.0, 0.0, 0.0]

    @property
    def evidence(self) -> float:
        """The most evidence of a rise, once enough hours were seen."""
        return max(self.cusum.sums) if self.cells.hours >= READY else 0.0

    def add(self, amount: float) -> None:
        """Count in the current interval."""
        self._count += amount

    def usual(self, at_us: int, seconds: float) -> float:
        """How many an interval there usually brings. More while little is known."""
        self._turn(hour_of(at_us, self._offset))
        return self._usual * seconds / 3600

    def _turn(self, hour: int) -> None:
        """Begin an hour: what is usual does not change within."""
        if hour != self._hour[0]:
            self._end_hour(hour)
            self._plain = self.cells.expected(hour)
            self._usual = self._plain * self.cells.caution()
            self._dispersion = self.cells.dispersion(hour)

    def step(self, at_us: int, seconds: float, factor: float, floor: float, *, learn: bool, more: float = 0.0) -> float:
        """The interval from `at_us` is complete. `factor`: how many times the usual activity; `floor`: the least that is usual in
        an hour; `more`: how many more are to be expected in this one. Returns what was counted."""
        self._turn(hour_of(at_us, self._offset))
        count, self._count = self._count, 0.0
        expected = (max(self._usual, floor) * factor + more) * seconds / 3600
        if self.cells.hours >= READY:
            self.cusum.add(count, expected, self._dispersion, at_us, self._most)
        self._hour[1] += count
        self._hour[2] += (max(self._plain, floor) * factor + more) * seconds / 3600
        self._hour[3] += factor
        self._hour[4] += learn
        return count

    def _end_hour(self, hour: int) -> None:
        number, count, expected, factors, steps = self._hour
        if number >= 0 and steps == 12:  # an hour that was seen in full, and not under attack
            self.cells.learn(int(number), count, expected, factors / steps)
            self._day[1] += count
            self._day[2] += expected
        if hour // 24 != self._day[0]:
            if self._day[0] >= 0 and self._day[2]:
                self.cells.learn_day(self._day[1], self._day[2])
            self._day = [hour // 24, 0.0, 0.0]
        self._hour = [hour, 0.0, 0.0, 0.0, 0.0]

    def dump(self) -> list[Any]:
        """Its state."""
        now = [self._plain, self._usual, self._dispersion]
        return [self.cells.dump(), self.cusum.dump(), self._count, self._hour, self._day, now]

    def load(self, state: list[Any]) -> None:
        """Take the state that `dump` gave."""
        cells, cusum, self._count, self._hour, self._day, now = state
        self._plain, self._usual, self._dispersion = now
        self.cells.load(cells)
        self.cusum.load(cusum)
