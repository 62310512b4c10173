"""When an alert is tried again, and what an answer means. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

DELAYS: Final = (0.0, 5.0, 30.0, 120.0, 600.0, 3600.0, 6 * 3600.0, 24 * 3600.0)
"""Seconds before each attempt; shorter than the example of Standard Webhooks, because an alert ages."""
JITTER: Final = 0.2
"""By which part of a delay it is longer at most, so that many senders do not meet."""
MAX_AGE: Final = 48 * 3600.0
"""Seconds after which an alert is not tried again, however few attempts it had."""
MAX_RETRY_AFTER: Final = 6 * 3600.0
"""Seconds a receiver may ask for."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an attempt.

    Attributes:
        status: HTTP status; 0 when there was no answer.
        error: why there was none, in our own words.
        retry_after: seconds that the receiver asked for.
    """

    status: int
    error: str = ""
    retry_after: float = 0.0

    @property
    def delivered(self) -> bool:
        """Only 2xx is: a redirect is not followed, and therefore a failure."""
        return 200 <= self.status <= 299

    @property
    def gone(self) -> bool:
        """The receiver wants nothing more."""
        return self.status == 410

    @property
    def text(self) -> str:
        """For people."""
        return self.error or f"answered {self.status}"


def next_attempt(attempts: int, answer: Answer, now: float, chance: float) -> float | None:
    """When to try again after the `attempts`-th failure, None for never.

    Args:
        now: seconds; the result is on the same clock.
        chance: from 0 to 1, for the jitter.
    """
    if attempts >= len(DELAYS) or answer.gone:
        return None
    return now + max(DELAYS[attempts] * (1 + JITTER * chance), answer.retry_after)


def read_retry_after(text: str | None, now: float) -> float:
    """The seconds of a ``Retry-After`` (RFC 9110, section 10.2.3), at most `MAX_RETRY_AFTER`; 0 when it says none.

    Args:
        now: seconds since 1970.
    """
    text = (text or "").strip()[:64]
    if text.isascii() and text.isdigit():
        return min(float(text), MAX_RETRY_AFTER)
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0
    aware = until if until.tzinfo else until.replace(tzinfo=UTC)
    return min(max(aware.timestamp() - now, 0.0), MAX_RETRY_AFTER)
