"""What a process remembers so that a store that lost its last writes cannot bring a revoked session back. Pure.

Redis replicates after it answers: a replica that takes over may lack the last writes, and so may a server that restarts from its
disk. The script `origin` notes in the store itself how often another server began to answer, and when that was noticed. The nodes
of a cluster fail one by one, so there is such a note for each group of slots.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, Protocol

from lockwatch.flow import Call, Reply

LOST: Final = 120.0
"""Seconds around a change of servers in which writes may have been lost."""
EVERY: Final = 60.0
"""Seconds after which the store is asked again."""


class Kept(NamedTuple):
    """A revocation to say again.

    Attributes:
        call: the same call may be made any number of times.
        at: epoch seconds.
        said: whether the store ever confirmed it.
    """

    call: Call
    at: float
    said: bool

    def again(self, now: float) -> Call:
        """The call to make now: who logged in after the revocation stays."""
        call = self.call
        if call.script != "revoke" or call.words:
            return call
        return call._replace(args=(*call.args[:3], max(1, int((now - self.at) * 1_000_000))))


class Spool(Protocol):
    """Where revocations wait to be said again. They hold hashes, no subject and no token."""

    def __len__(self) -> int:
        """How many are remembered."""

    def keep(self, kept: Kept) -> None:
        """Remember a revocation, before the store is told."""

    def settle(self, kept: Kept, confirmed: Kept | None) -> None:
        """The store was told; what to say again from now on, if anything."""

    def due(self, now: float) -> Iterable[Kept]:
        """What to say again now, oldest first."""


class RecentRevocations:
    """A spool in this process's memory: everything of the last `seconds`, and what the store never confirmed; `most` at most."""

    def __init__(self, seconds: float = 2 * LOST + EVERY, most: int = 4096) -> None:
        self._seconds = seconds
        self._kept: dict[Kept, None] = {}
        self._most = most
        self.dropped = 0
        """How many were forgotten before their time, for want of room."""

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Kept]:
        return iter(tuple(self._kept))

    def __contains__(self, kept: Kept) -> bool:
        return kept in self._kept

    def keep(self, kept: Kept) -> None:
        """Remember a revocation; the oldest makes room."""
        self._trim(kept.at)
        if len(self._kept) >= self._most:
            self._drop(next(iter(self._kept), None))
            self.dropped += 1
        self._kept[kept] = None

    def settle(self, kept: Kept, confirmed: Kept | None) -> None:
        """The store was told; what to say again from now on, if anything."""
        self._kept.pop(kept, None)
        if confirmed is not None:
            self.keep(confirmed)

    def due(self, now: float) -> tuple[Kept, ...]:
        """What to say again now, oldest first."""
        self._trim(now)
        return tuple(self._kept)

    def _trim(self, now: float) -> None:
        while (first := next(iter(self._kept), None)) and first.said and first.at < now - self._seconds:
            self._drop(first)

    def _drop(self, kept: Kept | None) -> None:
        if kept is not None:
            self._kept.pop(kept, None)  # another thread may have done so


class Watch:
    """What a process knows of the store behind its sessions."""

    def __init__(self) -> None:
        self._mark: int | None = None
        self._changes: int | None = None
        self._asked = float("-inf")
        self._doubted = False
        self._changed_at: float | None = None
        self.flushes = 0
        """How often everything was gone."""
        self.failovers = 0
        """How often another server began to answer."""

    def due(self, now: float) -> bool:
        """Whether to ask: never did, did long ago, or have reason to doubt."""
        return self._doubted or not 0 <= now - self._asked < EVERY

    def doubt(self) -> None:
        """The store failed, or its connection did: another server may answer next."""
        self._doubted = True

    @property
    def doubted(self) -> bool:
        """Whether there was reason to doubt since it was asked last."""
        return self._doubted

    def learn(self, reply: Reply, now: float) -> bool:
        """Take in what `origin` answered; whether revocations have to be said again."""
        mark, changes, age = reply
        flushed, changed = self._mark not in (None, mark), self._changes not in (None, changes)
        again = flushed or changed or self._doubted
        self.flushes += flushed
        self.failovers += changed and not flushed
        self._mark, self._changes, self._asked, self._doubted = mark, changes, now, False
        self._changed_at = now - age / 1e6 if changes else None
        return again

    def heals(self, now: float) -> bool:
        """Whether the store may have lost a rotation: within two minutes of a change of servers, as we noticed it."""
        return self._changed_at is not None and now - self._changed_at <= LOST


class Watches:
    """What a process knows of every server behind its sessions, by the key under which each notes which one it is."""

    def __init__(self) -> None:
        self._watches: dict[str, Watch] = {}
        self._early = False

    def __getitem__(self, origin: str) -> Watch:
        found = self._watches.get(origin)
        if found is None:
            found = self._watches.setdefault(origin, Watch())
            if self._early:
                found.doubt()
        return found

    @property
    def doubted(self) -> bool:
        """Whether there is reason to doubt any of them."""
        return any(watch.doubted for watch in list(self._watches.values())) or (self._early and not self._watches)

    @property
    def flushes(self) -> int:
        """How often everything was gone, of all servers together."""
        return sum(watch.flushes for watch in list(self._watches.values()))

    @property
    def failovers(self) -> int:
        """How often another server began to answer, of all together."""
        return sum(watch.failovers for watch in list(self._watches.values()))

    def doubt(self) -> None:
        """A call failed, or something was left to say: any of them may not know what it should, also one never heard of."""
        self._early = True
        for watch in list(self._watches.values()):
            watch.doubt()

    def learn(self, origin: str, reply: Reply, now: float) -> bool:
        """Take in what `origin` answered; whether revocations have to be said again there. Where one changed, others may have."""
        before, watch = self.flushes + self.failovers, self[origin]
        again = watch.learn(reply, now)
        if self.flushes + self.failovers > before:
            for other in list(self._watches.values()):
                if other is not watch:
                    other.doubt()
        return again
