"""Alerts as JSON: cleaned, bounded, below 20 kB, as the Standard Webhooks specification asks. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

from lockwatch.alerts.alert import Alert

MAX_BYTES: Final = 20_000
_SIZES: Final = ((512, 64), (256, 24), (96, 8), (32, 2))
"""Characters of a text and members of a list or object, from the roomiest down: what fits first is taken."""
_DEPTH: Final = 6
_MAX_INT: Final = 2**63
Json = None | bool | int | float | str | list[Any] | dict[str, Any]


def render(alert: Alert) -> bytes:
    """The body of a webhook, always valid JSON in UTF-8 of less than 20 kB.

    What had to be shortened is marked with ``"truncated": true`` beside the data.
    """
    for characters, members in _SIZES:
        cut = Cut(characters, members)
        body = _encoded(alert, cut.value(dict(alert.data), _DEPTH), cut.cut)
        if len(body) < MAX_BYTES:
            return body
    return _encoded(alert, {}, True)


def instant(timestamp: int) -> str:
    """Microseconds since 1970 as ISO 8601 in UTC; the nearest one that can be written."""
    seconds, rest = divmod(min(max(timestamp, 0), 253_402_300_799_999_999), 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:06}Z"


def clean(text: str, limit: int = 512) -> str:
    """At most `limit` characters, and none that controls a terminal, turns the direction of text or cannot be encoded."""
    shortened = text[:limit]
    if not shortened.isprintable():
        shortened = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in shortened)
    return shortened if len(text) <= limit else shortened[: limit - 1] + "\N{HORIZONTAL ELLIPSIS}"


class Cut:
    """Makes JSON values of any value, and notes whether something was left out.

    Args:
        characters: of a text, at most.
        members: of a list or an object, at most.
    """

    def __init__(self, characters: int, members: int) -> None:
        self.cut = False
        self._characters = characters
        self._members = members

    def value(self, value: Any, depth: int) -> Json:
        """A JSON value like `value`, at most `depth` deep."""
        if isinstance(value, str):
            return self._text(value)
        if depth and isinstance(value, Mapping):
            return {self._text(str(k)): self.value(v, depth - 1) for k, v in islice(value.items(), self._room(value))}
        if depth and isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
            return [self.value(v, depth - 1) for v in islice(value, self._room(value))]
        return self._scalar(value)

    def _scalar(self, value: Any) -> Json:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            return self._number(value)
        if isinstance(value, datetime):
            return self._text(value.isoformat())
        self.cut = True
        return None

    def _text(self, text: str) -> str:
        self.cut |= len(text) > self._characters
        return clean(text, self._characters)

    def _number(self, number: float) -> Json:
        finite = -_MAX_INT < number < _MAX_INT  # also False for NaN
        self.cut |= not finite
        return number if finite else None

    def _room(self, value: Mapping[Any, Any] | Sequence[Any]) -> int:
        self.cut |= len(value) > self._members
        return self._members


def _encoded(alert: Alert, data: Any, cut: bool) -> bytes:
    content = {"type": alert.type, "timestamp": instant(alert.timestamp), "data": data}
    if cut:
        content["truncated"] = True
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
