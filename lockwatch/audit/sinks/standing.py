"""How a sink does: when it is tried again, and what the log says about it, once per change."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import Final

from lockwatch.errors import SinkError

logger = logging.getLogger("lockwatch")
FIRST: Final = 0.2
LONGEST: Final = 15.0
"""Seconds between two attempts: doubled each time, less up to half by chance, so that processes do not come back together."""


class Standing:
    """Whether a sink works.

    Args:
        name: of the sink.
        clock: seconds that only go forward.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self.failures = 0
        self.why = ""
        self._clock = clock
        self._since = self._again = 0.0

    def check(self) -> None:
        """Raises: SinkError, while it is too early for another attempt."""
        if self.failures and self._clock() < self._again:
            raise SinkError(f"{self.name} is down: {self.why}")

    def failed(self, why: str) -> SinkError:
        """Note a failed attempt. Returns: the error to raise."""
        now = self._clock()
        if not self.failures:
            self._since = now
            logger.warning("lockwatch: audit rows wait, because %s does not take them: %s", self.name, why)
        self.failures += 1
        pause = min(LONGEST, FIRST * 2 ** min(self.failures - 1, 10))
        self.why, self._again = why, now + pause * (0.5 + random.random() / 2)  # noqa: S311 - spreads attempts, hides nothing
        return SinkError(f"{self.name}: {why}")

    def worked(self) -> None:
        """Note a delivery."""
        if self.failures:
            logger.warning("lockwatch: %s takes audit rows again, after %.1f s", self.name, self._clock() - self._since)
            self.failures, self.why = 0, ""
