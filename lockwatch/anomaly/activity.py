"""How busy the site is, against what is usual: a flash crowd, a forced reset or an outage raises what is to be expected."""

from __future__ import annotations

from math import exp, sqrt
from typing import Any, Final

from lockwatch.anomaly.cells import Channel

STEP: Final = 300
KINDS: Final = ("successes", "novel", "failures")
"""Logins; logins from a network new for the user; failures from a network known for the user. An attack makes none of them."""
_SPANS: Final = (300.0, 3600.0)
_PRIOR: Final = 4.0
_CHANCE: Final = 1.5
"""Deviations by which a count may be higher by chance."""
_LAG: Final = 7
_OUTAGE: Final = 5.0


class Activity:
    """The factor by which today's failures are to be expected."""

    __slots__ = ("_channels", "_factors", "_seen", "_surges", "_usual", "outage")

    def __init__(self, utc_offset: int) -> None:
        self._channels = [Channel(1.0, utc_offset) for _ in KINDS]
        self._seen = [[0.0, 0.0] for _ in KINDS]
        self._usual = [[0.0, 0.0] for _ in KINDS]
        self._factors: list[float] = [1.0] * _LAG
        self._surges: list[float] = [0.0] * _LAG
        self.outage = False

    def add(self, kind: int, count: float = 1.0) -> None:
        """Count one of `KINDS`."""
        self._channels[kind].add(count)

    def step(self, at_us: int) -> None:
        """An interval of `STEP` seconds is complete."""
        ratios = [self._ratio(kind, at_us) for kind in range(len(KINDS))]
        self._factors = [*self._factors[1:], max(1.0, *ratios)]
        self._surges = [*self._surges[1:], max(0.0, self._seen[1][1] - 2 * self._usual[1][1] - _PRIOR)]
        self.outage = ratios[2] >= _OUTAGE

    def _ratio(self, kind: int, at_us: int) -> float:
        channel = self._channels[kind]
        usual = channel.usual(at_us, STEP)
        count = channel.step(at_us, STEP, 1.0, 0.0, learn=True)
        best = 1.0
        for i, span in enumerate(_SPANS):
            keep = exp(-STEP / span)
            self._seen[kind][i] = self._seen[kind][i] * keep + count
            self._usual[kind][i] = self._usual[kind][i] * keep + usual
            chance = _CHANCE * sqrt(self._usual[kind][i] + 1)
            best = max(best, (self._seen[kind][i] - chance + _PRIOR) / (self._usual[kind][i] + _PRIOR))
        return best

    @property
    def surge(self) -> float:
        """Logins from new networks in an hour that are more than twice the usual, for the hour and a half before."""
        return max(self._surges)

    @property
    def factor(self) -> float:
        """For the last interval."""
        return self._factors[-1]

    @property
    def lagging(self) -> float:
        """For the half hour before it: the largest."""
        return max(self._factors)

    def dump(self) -> list[Any]:
        """Its state."""
        return [[channel.dump() for channel in self._channels], self._seen, self._usual, self._factors, self._surges, self.outage]

    def load(self, state: list[Any]) -> None:
        """Take the state that `dump` gave."""
        channels, self._seen, self._usual, self._factors, self._surges, self.outage = state
        for channel, each in zip(self._channels, channels, strict=True):
            channel.load(each)
