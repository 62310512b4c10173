"""Sketches: how many different things there were, and whether one was seen before, in memory of a fixed size."""

from __future__ import annotations

from array import array
from math import log
from typing import Any, Final

_ALPHA: Final = {16: 0.673, 32: 0.697, 64: 0.709}
_MASK: Final = (1 << 64) - 1
_BITS_PER_KEY: Final = 12


class Registers:
    """Counts different keys (HyperLogLog, Flajolet et al. 2007). Error 1.04/sqrt(size): 13 % with 64; small counts are closer.

    Args:
        size: 16, 32 or 64 registers of a byte.
        raw: what `dump` gave.
    """

    __slots__ = ("_count", "_raw")

    def __init__(self, size: int = 64, raw: bytes | None = None) -> None:
        self._raw = bytearray(size) if raw is None else bytearray(raw)
        self._count = 0 if raw is None else -1

    def add(self, key: bytes) -> None:
        """See `key`, eight bytes of a hash."""
        value = int.from_bytes(key, "little")
        size = len(self._raw)
        at, rest = value % size, value // size
        rank = (rest & -rest).bit_length() or 50
        if self._raw[at] < rank:
            self._raw[at] = rank
            self._count = -1

    def __len__(self) -> int:
        """How many different keys were seen, about."""
        if self._count < 0:
            self._count = self._estimate()
        return self._count

    def _estimate(self) -> int:
        size = len(self._raw)
        empty = self._raw.count(0)
        raw = _ALPHA[size] * size * size / sum([2.0**-rank for rank in self._raw])
        return round(size * log(size / empty) if raw <= 2.5 * size and empty else raw)

    def dump(self) -> bytes:
        """The registers."""
        return bytes(self._raw)


class Known:
    """Remembers keys for at least `lifetime` (a Bloom filter of 64-bit blocks, in two generations; Putze et al. 2007).

    Never forgets a key early, unless the filter is full; takes one that it has not seen for known in at most a few of a hundred
    cases, when it is full.

    Args:
        size: bytes of one generation; twelve bits per key.
        lifetime_us: after which a generation is dropped; a key lives for one to two of it after it was last added.

    Attributes:
        early: how often a full generation was dropped before its time.
    """

    __slots__ = ("_added", "_blocks", "_fresh", "_lifetime", "_old", "_since", "early")

    def __init__(self, size: int, lifetime_us: int) -> None:
        self._blocks = max(size // 8, 1)
        self._lifetime = lifetime_us
        self._fresh, self._old = self._empty(), self._empty()
        self._added = self._since = self.early = 0

    def _empty(self) -> array[int]:
        return array("Q", bytes(self._blocks * 8))

    def __contains__(self, key: int) -> bool:
        at, bits = key % self._blocks, _bits(key)
        return self._fresh[at] & bits == bits or self._old[at] & bits == bits

    def add(self, key: int, now_us: int) -> None:
        """Remember `key`, a number of 64 bits."""
        at, bits = key % self._blocks, _bits(key)
        if self._fresh[at] & bits != bits:
            self._turn(now_us)
            self._added += 1
            self._fresh[at] |= bits

    def _turn(self, now_us: int) -> None:
        self._since = self._since or now_us
        full = self._added * _BITS_PER_KEY >= self._blocks * 64
        if full or now_us - self._since >= self._lifetime:
            self.early += full
            self._old, self._fresh = self._fresh, self._empty()
            self._added, self._since = 0, now_us

    def dump(self) -> list[Any]:
        """Its state."""
        return [self._added, self._since, self.early, self._fresh.tobytes(), self._old.tobytes()]

    def load(self, state: list[Any]) -> None:
        """Take the state that `dump` gave. Raises: ValueError, for another size."""
        self._added, self._since, self.early, fresh, old = state
        if len(fresh) != self._blocks * 8:
            raise ValueError("the state is of a filter of another size")
        self._fresh, self._old = array("Q", fresh), array("Q", old)


def _bits(key: int) -> int:
    return 1 << (key >> 58) | 1 << (key >> 52 & 63) | 1 << (key >> 46 & 63) | 1 << (key >> 40 & 63)


def pair(one: bytes, other: bytes) -> int:
    """One number for two keys, in this order."""
    return (int.from_bytes(one, "big") * 0x9E3779B97F4A7C15 + int.from_bytes(other, "big")) & _MASK
