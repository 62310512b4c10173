"""How busy the site is, against what is usual: a flash crowd, a forced reset or an outage raises what is to be expected."""

from __future__ import annotations

from math import exp
from typing import Any, Final

from lockwatch.anomaly.cells import Channel

STEP: Final = 300
KINDS: Final = ("successes", "novel", "failures")
"""Logins; logins from a network new for the user; failures from a network known for the user. An attack makes none of them."""
_SPANS: Final = (300.0, 3600.0)
_PRIOR: Final = 4.0
_LAG: Final = 7
_OUTAGE: Final = 5.0


class Activity:
    """The factor by which today's failures are to be expected."""

    __slots__ = ("_channels", "_factors", "_seen", "_usual", "outage")

    def __init__(self, utc_offset: int) -> None:
        self._channels = [Channel(1.0, utc_offset) for _ in KINDS]
        self._seen = [[0.0, 0.0] for _ in KINDS]
        self._usual = [[0.0, 0.0] for _ in KINDS]
        self._factors: list[float] = [1.0] * _LAG
        self.outage = False

    def add(self, kind: int, count: float = 1.0) -> None:
        """Count one of `KINDS`."""
        self._channels[kind].add(count)

    def step(self, at_us: int) -> None:
        """An interval of `STEP` seconds is complete."""
        ratios = [self._ratio(kind, at_us) for kind in range(len(KINDS))]
        self._factors = [*self._factors[1:], max(1.0, *ratios)]
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
            best = max(best, (self._seen[kind][i] + _PRIOR) / (self._usual[kind][i] + _PRIOR))
        return best

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
        return [[channel.dump() for channel in self._channels], self._seen, self._usual, self._factors, self.outage]

    def load(self, state: list[Any]) -> None:
        """Take the state that `dump` gave."""
        channels, self._seen, self._usual, self._factors, self.outage = state
        for channel, each in zip(self._channels, channels, strict=True):
            channel.load(each)
