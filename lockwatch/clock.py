"""The time of one application: the system's, unless a test holds it (`lockwatch.testing`). Standard library only."""

from __future__ import annotations

import time
from collections.abc import Callable


class Clock:
    """Where one application reads the time.

    Attributes:
        time: seconds since 1970.
        monotonic: seconds; never steps back.
        told_us: microseconds since 1970 that scripts are told to go by; 0 has them ask the clock of their store.
    """

    __slots__ = ("monotonic", "monotonic_ns", "time", "told_us")

    time: Callable[[], float]
    monotonic: Callable[[], float]
    monotonic_ns: Callable[[], int]
    told_us: int

    def __init__(self) -> None:
        self.run()

    def run(self) -> None:
        """Go by the system's clocks."""
        self.time, self.monotonic, self.monotonic_ns, self.told_us = time.time, time.monotonic, time.monotonic_ns, 0

    def hold(self, since_1970_us: int, steady_us: int) -> None:
        """Stand still, until `hold` or `run` is called again. Microseconds."""
        self.time, self.monotonic = (lambda: since_1970_us / 1e6), (lambda: steady_us / 1e6)
        self.monotonic_ns, self.told_us = (lambda: steady_us * 1000), since_1970_us

    # For what is given a function once and calls it for as long as it lives.

    def now(self) -> float:
        """`time`, as it is read now."""
        return self.time()

    def steady(self) -> float:
        """`monotonic`, as it is read now."""
        return self.monotonic()

    def steady_us(self) -> int:
        """`steady` in whole microseconds."""
        return self.monotonic_ns() // 1000
