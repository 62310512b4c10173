"""Login events as lines of JSON, as other systems write them."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Final, NamedTuple

from lockwatch.event import Event

SECOND: Final = 1_000_000
_OUTCOMES: Final = {"success": "success", "failure": "failure", "true": "success", "false": "failure"}
_CORRECT: Final = (
    '{"time": "2026-01-05T09:00:00Z", "ip": "203.0.113.7", "username": "alice", "outcome": "failure", "user_agent": "curl/8"}'
)
_NUMBER: Final = re.compile(r"\d{9,19}(\.\d*)?")
_END_US: Final = 253_402_300_800 * SECOND
"""The year 10,000."""


class LoginLine(NamedTuple):
    """What a line says. Sorted by time, then by its place in the file."""

    time_us: int
    number: int
    ip: str | None
    user: str | None
    outcome: str
    agent: str | None

    def event(self) -> Event:
        """The event; its request id names the line."""
        return Event(
            time_us=self.time_us,
            kind="auth",
            action="login",
            outcome=self.outcome,
            ip=self.ip,
            user=self.user,
            user_agent=self.agent,
            request_id=f"line {self.number}",
        )


def read_line(number: int, line: str) -> LoginLine:
    """A line: an object with `time`, `ip`, `username`, `outcome` and `user_agent`.

    `time` is ISO 8601 (UTC where it names no zone) or seconds since 1970; a number too large for seconds is of milliseconds, or of
    microseconds. `outcome` is ``success`` or ``failure``, or true or false.

    Raises: ValueError, which names the line and what a correct one looks like.
    """
    try:
        fields = json.loads(line)
        if not isinstance(fields, dict):
            raise ValueError("it is not an object")
        said = fields["outcome"]
        outcome = _OUTCOMES.get(str(said).lower())
        if outcome is None:
            raise ValueError(f"outcome {str(said)[:40]!r} is neither 'success' nor 'failure'")
        texts = [_text(fields.get(name)) for name in ("ip", "username", "user_agent")]
        return LoginLine(_time(fields["time"]), number, texts[0], texts[1], outcome, texts[2])
    except KeyError as error:
        raise ValueError(f"line {number} has no {error.args[0]!r}; a correct one is {_CORRECT}") from None
    except (ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"line {number}: {error}; a correct one is {_CORRECT}") from None


def _text(value: object) -> str | None:
    return None if value is None or value == "" else str(value)


def _time(value: object) -> int:
    text = str(value).strip()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        found = _scaled(value)
    elif _NUMBER.fullmatch(text):
        found = _scaled(float(text) if "." in text else int(text))
    else:
        moment = datetime.fromisoformat(text)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        found = round(aware.timestamp() * SECOND)
    if not 0 <= found < _END_US:
        raise ValueError(f"time {text[:40]} is not between 1970 and 9999")
    return found


def _scaled(value: float) -> int:
    """Microseconds of a number that is seconds, or is milliseconds or microseconds by its size."""
    return round(value * (SECOND if abs(value) < 1e11 else 1000 if abs(value) < 1e14 else 1))
