"""A bounded table of what counts.

A full table never forgets what still counts: a key without room of its own then shares one of 1,024 places (which can only
refuse earlier), until the shared one has run empty.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from typing import Final, Generic, Protocol, TypeAlias, TypeVar

_PLACES: Final = 1024
_SWEEP: Final = 3
Share: TypeAlias = tuple[int, ...]
"""What two keys must have in common to share a place."""


class Sharing(Protocol):
    """Something that knows with whom it may share."""

    @property
    def share(self) -> Share:
        """What all that share have in common."""


class Entry(Protocol):
    """Something that counts for a while."""

    @property
    def until(self) -> int:
        """When it no longer counts."""


E = TypeVar("E", bound=Entry)


class Table(Generic[E]):
    """Entries by key.

    Args:
        most: how many are kept apart.
    """

    def __init__(self, most: int) -> None:
        self.own: OrderedDict[str, E] = OrderedDict()
        self.overflowed = 0
        """How many entries found no room of their own."""
        self._shared: dict[tuple[int, Share], E] = {}
        self._most = most

    def __len__(self) -> int:
        return len(self.own) + len(self._shared)

    def find(self, key: str, sharing: Sharing, now: int) -> E | None:
        """The entry of `key`, its own or a shared one that still counts."""
        return self.own.get(key) or self.shared_by(key, sharing, now)

    def shared_by(self, key: str, sharing: Sharing, now: int) -> E | None:
        """The entry that `key` shares with others, while it counts."""
        if not self._shared:
            return None
        place = _place(key), sharing.share
        entry = self._shared.get(place)
        if entry is not None and entry.until <= now:
            del self._shared[place]
            return None
        return entry

    def any_of(self, key: str) -> list[E]:
        """Its own entry, and all it may share with others."""
        own, place = self.own.get(key), _place(key)
        found = [entry for (number, _), entry in self._shared.items() if number == place]
        return found if own is None else [own, *found]

    def keep(self, key: str, sharing: Sharing, entry: E, now: int) -> None:
        """Give `entry` room of its own, or a shared place when the table is full."""
        self._sweep(now, _SWEEP if len(self.own) < self._most else 8 * _SWEEP)
        if len(self.own) < self._most:
            self.own[key] = entry
        else:
            self.overflowed += 1
            self._shared[_place(key), sharing.share] = entry

    def drop(self, key: str, sharing: Sharing) -> None:
        """Forget an entry that became empty."""
        if self.own.pop(key, None) is None:
            self._shared.pop((_place(key), sharing.share), None)

    def _sweep(self, now: int, steps: int) -> None:
        """Look at the longest unseen entries; drop those that no longer count."""
        for _ in range(min(steps, len(self.own))):
            key, entry = next(iter(self.own.items()))
            if entry.until <= now:
                del self.own[key]
            else:
                self.own.move_to_end(key)


def _place(key: str) -> int:
    return zlib.crc32(key.encode("utf-8", "surrogatepass")) % _PLACES
