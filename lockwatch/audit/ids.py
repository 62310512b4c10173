"""Ids of audit rows: UUIDv7 (RFC 9562, section 5.7), in order within a process, and the time they stand for. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_TICKS: Final = 4096
"""Parts of a millisecond in an id."""
_VERSION: Final = 0x7000
_VARIANT: Final = 0x8000


class Ids:
    """Makes ids. No two of a process are the same, and none is before the last, also when the clock steps back.

    Args:
        bits: returns that many random bits.
    """

    def __init__(self, bits: Callable[[int], int]) -> None:
        self._bits = bits
        self._last = 0

    def next(self, time_us: int) -> tuple[int, str]:
        """The timestamp and the id of something that happened at `time_us`, or a moment after what happened before it."""
        milliseconds, rest = divmod(time_us, 1000)
        self._last = ticks = max(milliseconds * _TICKS + -(-rest * _TICKS // 1000), self._last + 1)
        high, low = divmod(ticks, _TICKS)
        node = self._bits(62)
        return (
            high * 1000 + low * 1000 // _TICKS,
            f"{high >> 16:08x}-{high & 0xFFFF:04x}-{_VERSION | low:04x}-{_VARIANT | node >> 48:04x}-{node & 0xFFFFFFFFFFFF:012x}",
        )
