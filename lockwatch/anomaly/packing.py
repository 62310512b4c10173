"""Whole numbers and keys as bytes, and bytes as words of the base64url alphabet."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

KEY: Final = 8
"""Bytes of a key."""
NO_KEY: Final = bytes(KEY)
"""Nobody, where a record has no user, no address."""


class Writer:
    """Appends numbers (LEB128), keys and short texts."""

    __slots__ = ("_out",)

    def __init__(self) -> None:
        self._out = bytearray()

    def numbers(self, *values: int) -> None:
        """Append whole numbers that are not negative."""
        out = self._out
        for value in values:
            rest = value
            while rest > 0x7F:
                out.append(rest & 0x7F | 0x80)
                rest >>= 7
            out.append(rest)

    def keys(self, *keys: bytes) -> None:
        """Append keys of `KEY` bytes."""
        for key in keys:
            self._out += key

    def text(self, text: str) -> None:
        """Append a text with its length."""
        raw = text.encode("utf-8", "replace")
        self.numbers(len(raw))
        self._out += raw

    def word(self) -> str:
        """What was appended, as one word."""
        return word_of(self._out)


class Reader:
    """Reads what a `Writer` wrote. Raises: ValueError, where something is missing."""

    __slots__ = ("_at", "_raw")

    def __init__(self, word: str) -> None:
        self._raw = bytes_of(word)
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._raw)

    def number(self) -> int:
        """The next number."""
        value = shift = 0
        while True:
            byte = self._take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def key(self) -> bytes:
        """The next key."""
        return self._take(KEY)

    def text(self) -> str:
        """The next text."""
        return self._take(self.number()).decode("utf-8", "replace")

    def _take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._raw):
            raise ValueError("the packed record ends too early")
        self._at, found = end, self._raw[self._at : end]
        return found


def word_of(raw: bytes | bytearray) -> str:
    """`raw` in the base64url alphabet, without padding; ``-`` for nothing."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode() or "-"


def bytes_of(word: str) -> bytes:
    """The bytes of such a word. Raises: ValueError."""
    return b"" if word == "-" else urlsafe_b64decode(word + "=" * (-len(word) % 4))
