"""The first day of a site, of which no hour is known yet: failures are set against logins instead.

A share needs no clock: at night there are few of both. It is learned as the day goes, from a wide prior, and a CUSUM (Page 1954)
asks whether it has risen. As soon as the hours of a day are known, they are asked instead.
"""

from __future__ import annotations

from typing import Any, Final

from lockwatch.anomaly.cells import Cusum

_SHARE: Final = 0.12
"""Failures of new pairs that are not put right, against logins, on a site of which nothing is known."""
_STRENGTH: Final = 100.0
"""Logins by which the share is thought to be known beforehand."""
_DISPERSION: Final = 4.0


class Opening:
    """Evidence that the share of failures has risen since the site began.

    Args:
        most: evidence is cut here.
    """

    __slots__ = ("_failed", "_most", "_succeeded", "cusum")

    def __init__(self, most: float) -> None:
        self.cusum = Cusum()
        self._most = most
        self._failed, self._succeeded = _SHARE * _STRENGTH, _STRENGTH

    @property
    def evidence(self) -> float:
        """In nats."""
        return max(self.cusum.sums)

    @property
    def over(self) -> bool:
        """Whether a rise has ended."""
        return self.cusum.calm

    def step(self, failed: float, succeeded: float, at_us: int, *, learn: bool) -> None:
        """An interval has brought so many failures and logins."""
        usual = self._failed / self._succeeded
        self.cusum.add(failed, usual * succeeded, _DISPERSION, at_us, self._most)
        if learn:
            self._failed += failed
            self._succeeded += succeeded

    def dump(self) -> list[Any]:
        """Its state."""
        return [self.cusum.dump(), self._failed, self._succeeded]

    def load(self, state: list[Any]) -> None:
        """Take the state that `dump` gave."""
        cusum, self._failed, self._succeeded = state
        self.cusum.load(cusum)
