"""Whether a receiver is asked at all just now, and whether there are too many alerts to send each. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lockwatch.alerts.alert import COMMON
from lockwatch.alerts.schedule import JITTER, MAX_RETRY_AFTER, Answer

PATIENCE: Final = 3
"""Failures in a row after which a receiver is asked with one alert at a time."""
FIRST_PAUSE: Final = 30.0
LONGEST_PAUSE: Final = 600.0


@dataclass(slots=True)
class Circuit:
    """How one receiver does. While it fails, alerts wait without using up their attempts.

    Attributes:
        failures: in a row.
        paused_until: when it is asked again, in seconds.
        gone: it said that it wants nothing more (410).
        answer: the last one.
    """

    failures: int = 0
    paused_until: float = 0.0
    gone: bool = False
    answer: Answer | None = None

    def ready(self, now: float) -> bool:
        """Whether an alert may be sent."""
        return not now < self.paused_until < now + 2 * MAX_RETRY_AFTER  # later than that, the clock was set back

    def heard(self, answer: Answer, now: float, chance: float) -> None:
        """Note what came of an attempt; `chance` from 0 to 1 is for the jitter."""
        self.answer = answer
        if answer.delivered:
            self.failures, self.paused_until, self.gone = 0, 0.0, False
            return
        self.failures += 1
        self.gone = answer.gone
        pause = 0.0
        if self.failures >= PATIENCE:
            doubled = FIRST_PAUSE * 2.0 ** min(self.failures - PATIENCE, 16)
            pause = min(doubled, LONGEST_PAUSE) * (1 + JITTER * chance)
        self.paused_until = now + max(pause, answer.retry_after)


class Budget:
    """Alerts an hour: a bucket that holds an hour's worth and fills evenly.

    Types of which an attacker can cause many may use the upper half of it, so that there is room to say that an attack began.

    Args:
        per_hour: alerts an hour.
    """

    def __init__(self, per_hour: int) -> None:
        self._capacity = float(per_hour)
        self._level = float(per_hour)
        self._at = 0.0

    def take(self, kind: str, now: float) -> bool:
        """Whether an alert of this type is sent by itself now."""
        passed = max(now - self._at, 0.0)
        self._at, self._level = now, min(self._capacity, self._level + passed * self._capacity / 3600)
        if self._level < (self._capacity / 2 + 1 if kind in COMMON and self._capacity > 1 else 1):
            return False
        self._level -= 1
        return True
