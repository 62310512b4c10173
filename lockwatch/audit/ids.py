"""Ids of audit rows: UUIDv7 (RFC 9562, section 5.7), in order within a process, and the time they stand for. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_TICKS: Final = 4096
"""Parts of a millisecond in an id."""
_FIXED: Final = 7 << 76 | 2 << 62
"""Version and variant."""


class Ids:
    """Makes ids. No two of a process are the same, and none is before the last, also when the clock steps back.

    Args:
        bits: returns that many random bits.
    """

    def __init__(self, bits: Callable[[int], int]) -> None:
        self._bits = bits
        self._last = 0

    def next(self, time_us: int) -> tuple[int, str, bytes]:
        """The timestamp and the id of something that happened at `time_us`, or a moment after what happened before it; the id as
        text and as bytes.
        """
        self._last = ticks = max(-(-time_us * _TICKS // 1000), self._last + 1)
        raw = (ticks >> 12 << 80 | (ticks & 0xFFF) << 64 | _FIXED | self._bits(62)).to_bytes(16, "big")
        text = raw.hex()
        return ticks * 1000 // _TICKS, f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}", raw
