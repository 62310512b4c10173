"""Texts from rows, safe to show: what requests put there must not steer a terminal. And times as operators write them."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Final

from lockwatch.commands.trouble import Unusable

_AGO: Final = re.compile(r"(\d{1,6})\s*(s|sec|m|min|h|d|w)")
_SECONDS: Final = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_UNITS: Final = (("TB", 2**40), ("GB", 2**30), ("MB", 2**20), ("KB", 2**10))


def plain(text: object, width: int | None = None) -> str:
    """A text with control characters, direction marks and the like spelled out (``\\x1b``), cut to `width`."""
    found = "".join(c if c.isprintable() and unicodedata.category(c)[0] != "C" else _spelled(c) for c in str(text))
    return found if width is None or len(found) <= width else f"{found[: width - 1]}…"


def moment_of(text: str, now: datetime) -> datetime:
    """An instant: ``2h`` or ``7d`` ago, a date, or a time in ISO 8601; in UTC unless it says otherwise. Raises: Unusable."""
    if ago := _AGO.fullmatch(text.strip().lower()):
        return now - timedelta(seconds=int(ago[1]) * _SECONDS[ago[2]])
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise Unusable(f"{plain(text)!r} is no time; correct ones are 2h, 7d, 2026-11-24 or 2026-11-24T09:30:00Z") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def size(amount: int) -> str:
    """Bytes for people."""
    for unit, of in _UNITS:
        if amount >= of:
            return f"{amount / of:.1f} {unit}"
    return f"{amount} B"


def _spelled(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}" if number < 65_536 else f"\\U{number:08x}"
