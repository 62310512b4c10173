"""Ids of audit rows: UUIDv7 (RFC 9562, section 5.7), in order within a process, and the time they stand for. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_TICKS: Final = 4096
"""Parts of a millisecond in an id."""
_NEAR: Final = 100 * _TICKS
"""A tenth of a second: what seems to be before the last by no more happened after it, on a clock that was set a little."""
_VERSION, _VARIANT = 7 << 12, 2 << 62


class Ids:
    """Makes ids. No two of a process are the same, and none is before the last, also when the clock steps back by nearly a tenth of
    a second (ids of one instant run ahead of it, by a quarter of a microsecond each). What happened at quite another time, as an
    entry by hand may say, has that time, and moves no other.

    Args:
        bits: returns that many random bits.
    """

    def __init__(self, bits: Callable[[int], int]) -> None:
        self._bits = bits
        self._last = 0

    def next(self, time_us: int) -> tuple[int, int, int]:
        """The timestamp of what happened at `time_us`, or a moment after what happened before it; and the halves of its id."""
        ticks = max(0, -(-time_us * _TICKS // 1000))
        if 0 <= self._last - ticks <= _NEAR:
            ticks = self._last + 1
        self._last = ticks
        return ticks * 1000 // _TICKS, ticks >> 12 << 16 | _VERSION | ticks & 0xFFF, _VARIANT | self._bits(62)


def spelled(high: int, low: int) -> str:
    """The usual spelling of an id."""
    text = f"{high:016x}{low:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
