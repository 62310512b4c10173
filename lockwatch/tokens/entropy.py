"""Random bytes, which come in as an argument. Pure."""

from __future__ import annotations

from typing import Final

ENTROPY: Final = 64
"""Random bytes a flow of sessions takes."""


class Random:
    """Random bytes, each given out once."""

    __slots__ = ("_at", "_bytes")

    def __init__(self, entropy: bytes, taken: int = 0) -> None:
        self._bytes, self._at = entropy, taken

    def take(self, length: int) -> bytes:
        """The next ones. Raises: ValueError, when there are too few."""
        taken = self._bytes[self._at : self._at + length]
        self._at += length
        if len(taken) != length:
            raise ValueError(f"a flow takes {ENTROPY} random bytes, not {len(self._bytes)}")
        return taken
