"""Ids of audit rows: UUIDv7 (RFC 9562, section 5.7), in order within a process, and the time they stand for. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_TICKS: Final = 4096
"""Parts of a millisecond in an id."""
_NEAR: Final = 100 * _TICKS
"""A tenth of a second: what seems to be before the last by no more happened after it, on a clock that was set a little."""
_FIXED: Final = 7 << 76 | 2 << 62
"""Version and variant."""


class Ids:
    """Makes ids. No two of a process are the same, and none is before the last, also when the clock steps back by up to a tenth of
    a second. What happened at quite another time, as an entry by hand may say, has that time, and moves no other.

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
        ticks = max(0, -(-time_us * _TICKS // 1000))
        if 0 <= self._last - ticks <= _NEAR:
            ticks = self._last + 1
        self._last = ticks
        raw = (ticks >> 12 << 80 | (ticks & 0xFFF) << 64 | _FIXED | self._bits(62)).to_bytes(16, "big")
        text = raw.hex()
        return ticks * 1000 // _TICKS, f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}", raw
