"""Signals of one key in a few bytes: counters that fade, and the bounded table they live in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import exp
from typing import Any, Generic, TypeVar

V = TypeVar("V")
SECOND = 1_000_000


class Fading:
    """A sum whose parts fade with a time constant: a steady rate of one per second reads as `span`."""

    __slots__ = ("at_us", "value")

    def __init__(self, value: float = 0.0, at_us: int = 0) -> None:
        self.value = value
        self.at_us = at_us

    def add(self, amount: float, now_us: int, span: float) -> float:
        """Add, and say what the sum is now. `span` is in seconds."""
        self.value = self.read(now_us, span) + amount
        self.at_us = max(self.at_us, now_us)
        return self.value

    def read(self, now_us: int, span: float) -> float:
        """The sum at `now_us`."""
        past = now_us - self.at_us
        return self.value if past <= 0 or not self.value else self.value * exp(-past / (span * SECOND))


class Table(Generic[V]):
    """Entries by key, at most `most` of them. The least recently used makes room.

    Attributes:
        evicted: how many had to.
    """

    __slots__ = ("_entries", "_make", "_most", "evicted")

    def __init__(self, most: int, make: Callable[[], V]) -> None:
        self._entries: dict[bytes, V] = {}
        self._make = make
        self._most = most
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> V | None:
        """The entry, not touched."""
        return self._entries.get(key)

    def touch(self, key: bytes) -> V:
        """The entry, made if need be, now the most recently used."""
        entry = self._entries.pop(key, None)
        if entry is None:
            if len(self._entries) >= self._most:
                del self._entries[next(iter(self._entries))]
                self.evicted += 1
            entry = self._make()
        self._entries[key] = entry
        return entry

    def items(self) -> Iterator[tuple[bytes, V]]:
        """All entries, the least recently used first."""
        return iter(self._entries.items())

    def dump(self, of: Callable[[V], Any], matters: Callable[[V], bool]) -> list[Any]:
        """Its state, as far as it matters."""
        return [self.evicted, [[key, of(entry)] for key, entry in self._entries.items() if matters(entry)]]

    def load(self, state: list[Any], to: Callable[[Any], V]) -> None:
        """Take the state that `dump` gave."""
        self.evicted, entries = state
        self._entries = {key: to(entry) for key, entry in entries[-self._most :]}
