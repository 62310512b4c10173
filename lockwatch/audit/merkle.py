"""The Merkle tree of RFC 6962, section 2.1: one hash for a list that only grows. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Final

EMPTY: Final = sha256(b"").digest()
"""The root of no leaves."""


def leaf(data: bytes) -> bytes:
    """Hash of an entry."""
    return sha256(b"\0" + data).digest()


def node(left: bytes, right: bytes) -> bytes:
    """Hash of two subtrees."""
    return sha256(b"\1" + left + right).digest()


class Tree:
    """A list of entries, of which only the hashes of its perfect subtrees are kept: one for each bit of `size` that is set."""

    def __init__(self, entries: Iterable[bytes] = ()) -> None:
        self.size = 0
        self._peaks: list[bytes] = []
        self.extend(entries)

    def append(self, data: bytes) -> None:
        """Add an entry at the end."""
        hashed, size = leaf(data), self.size
        while size & 1:
            hashed = node(self._peaks.pop(), hashed)
            size >>= 1
        self._peaks.append(hashed)
        self.size += 1

    def extend(self, entries: Iterable[bytes]) -> None:
        """Add entries at the end."""
        for entry in entries:
            self.append(entry)

    @property
    def root(self) -> bytes:
        """Hash over all entries and their order."""
        if not self._peaks:
            return EMPTY
        *rest, root = self._peaks
        for peak in reversed(rest):
            root = node(peak, root)
        return root

    def copy(self) -> Tree:
        """Another tree with the same entries."""
        other = Tree()
        other.size, other._peaks = self.size, self._peaks.copy()
        return other
