"""Sessions in this process's memory: every script of `lua/session.lua` as a method under the same name.

Bounded. A full table refuses to remember more: forgetting a session would log somebody out, forgetting a denial would let a
revoked token in again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from lockwatch.errors import StoreFull
from lockwatch.flow import Call, Reply, Worded, words_of

(_ROTATED, _FRESH, _REPLAY, _THROTTLED, _REUSE, _HEALED, _REVOKED, _EXPIRED, _UNKNOWN, _AHEAD, _DENIED, _ISSUED, _FULL, LIVE) = (
    range(1, 15)
)
_RECENT, _STALE, _FORK, _EVICTED = 1, 2, 3, 6
_NONE: Final = "-"
_PARENT: Final = 12
_SWEEP: Final = 3
_NOTHING: Final = (_UNKNOWN, 0, 0, 0, 0)


@dataclass(slots=True)
class _Session:
    """One login and every refresh token that follows from it; `why` is set once it is revoked."""

    created: int
    absolute: int
    till: int
    current: str
    grant: str
    device: str
    rotated: int
    generation: int = 0
    replays: int = 0
    previous: str = _NONE
    seal: str = _NONE
    why: int = 0


class _Rotate:
    """The arguments of `rotate`."""

    def __init__(self, now: int, numbers: tuple[int, ...], words: tuple[str, ...]) -> None:
        self.now = now
        _, self.generation, self.grace, self.most, self.idle, self.tombstone, self.healing = numbers
        self.family, self.presented, self.parent, self.successor, self.seal, self.device = words


_Subject: TypeAlias = dict[str, _Session]
"""The sessions of one subject, by family."""


class Sessions:
    """Sessions of one process. Its caller sees to it that one thread at a time is in here.

    Args:
        clock: microseconds; monotonic.
        most: how many sessions, and how many denials, are kept.
    """

    def __init__(self, clock: Callable[[], int], most: int = 200_000) -> None:
        self._clock = clock
        self._most = most
        self._count = 0
        self._mark = 0
        self._subjects: OrderedDict[str, _Subject] = OrderedDict()
        self._denied: OrderedDict[str, int] = OrderedDict()
        self._scripts: dict[str, Callable[[Call, int], Reply]] = {
            "issue": self._issue,
            "rotate": self._rotate,
            "revoke": self._revoke,
            "sessions": self._listed,
            "standing": self._standing,
            "deny": self._deny,
            "origin": self._origin,
        }

    def __len__(self) -> int:
        return self._count + len(self._denied)

    def call(self, call: Call) -> Reply:
        """Run one script. Raises: KeyError for one that is not about sessions, StoreFull."""
        reply = self._scripts[call.script](call, call.args[0] or self._clock())
        return Worded([*reply, 0], words_of(reply)) if call.wait else reply

    def _issue(self, call: Call, now: int) -> Reply:
        _, idle, absolute, most, evict, tombstone = call.args
        family, current, grant, device = call.words
        self._sweep(now)
        subject = self._subjects.get(call.keys[0], {})
        told = self._room(subject, now, most, evict, tombstone)
        if told is None:
            return (_FULL, 0)
        if self._count >= self._most:
            raise StoreFull(f"the memory store is full: it keeps {self._most} sessions; use Redis, or shorter sessions")
        till = now + min(idle, absolute)
        subject[family] = _Session(now, now + absolute, till, current, grant, device, now)
        self._subjects[call.keys[0]] = subject
        self._count += 1
        return Worded((_ISSUED, till - now), told)

    def _room(self, subject: _Subject, now: int, most: int, evict: int, tombstone: int) -> list[str] | None:
        """Room for one more session of at most `most`: which were evicted, or None when that is not allowed."""
        if len(subject) < most:
            return []
        live, revoked = self._all(subject, now)
        if len(live) >= most and not evict:
            return None
        evicted = live[: max(0, len(live) - most + 1)]
        for family in evicted:
            _end(subject[family], now, _EVICTED, tombstone)
        for family in revoked[: max(0, len(revoked) - most)]:
            self._forget(subject, family)
        return evicted

    def _rotate(self, call: Call, now: int) -> Reply:
        asked = _Rotate(now, call.args, call.words)
        session = self._session(call.keys[0], asked.family)
        if session is None:
            return _NOTHING
        if session.why:
            return (_REVOKED, session.why, 0, 0, 0)
        if now >= session.till:
            return _told(_EXPIRED, session, now)
        return _presented(session, asked)

    def _revoke(self, call: Call, now: int) -> Reply:
        _, why, tombstone, age = call.args
        subject = self._subjects.get(call.keys[0], {})
        found = sorted(
            family
            for family in call.words or tuple(subject)
            if (s := subject.get(family)) and not s.why and s.till > now and (not age or now - s.created >= age)
        )
        for family in found:
            _end(subject[family], now, why, tombstone)
        return Worded((len(found),), found)

    def _listed(self, call: Call, now: int) -> Reply:
        subject = self._subjects.get(call.keys[0], {})
        live, _ = self._all(subject, now)
        listed = [(family, subject[family]) for family in live]
        numbers = [n for _, s in listed for n in (max(0, now - s.created), max(0, now - s.rotated), s.till - now, s.generation)]
        return Worded(numbers, [word for family, s in listed for word in (family, s.grant, s.device)])

    def _standing(self, call: Call, now: int) -> Reply:
        if self._denied.get(call.keys[0], 0) > now:
            return (_DENIED, 0)
        if len(call.keys) == 1:
            return (LIVE, 0)
        session = self._session(call.keys[1], call.words[0])
        if session is None:
            return (_UNKNOWN, 0)
        if session.why:
            return (_REVOKED, session.why)
        return (LIVE if now < session.till else _EXPIRED, 0)

    def _deny(self, call: Call, now: int) -> Reply:
        for _ in range(min(_SWEEP, len(self._denied))):
            key, until = next(iter(self._denied.items()))
            if until > now:
                self._denied.move_to_end(key)
            else:
                del self._denied[key]
        if len(self._denied) >= self._most:
            raise StoreFull(f"the memory store is full: it keeps {self._most} denied tokens; use Redis, or shorter access tokens")
        self._denied.update(dict.fromkeys(call.keys, now + call.args[1]))
        return (1,)

    def _origin(self, call: Call, now: int) -> Reply:
        self._mark = self._mark or call.args[2]
        return (self._mark, 0, 0)

    def _session(self, key: str, family: str) -> _Session | None:
        subject = self._subjects.get(key)
        return subject.get(family) if subject else None

    def _all(self, subject: _Subject, now: int) -> tuple[list[str], list[str]]:
        """The families that live, longest unused first, and the revoked ones, first forgotten first; what is over goes."""
        for family in [family for family, s in subject.items() if s.till <= now]:
            self._forget(subject, family)
        kept = subject
        live = sorted([f for f, s in kept.items() if not s.why], key=lambda f: (kept[f].rotated, f))
        return live, sorted([f for f, s in kept.items() if s.why], key=lambda f: (kept[f].till, f))

    def _forget(self, subject: _Subject, family: str) -> None:
        del subject[family]
        self._count -= 1

    def _sweep(self, now: int) -> None:
        """Look at the longest unseen subjects; drop those all of whose sessions are over."""
        for _ in range(min(_SWEEP if self._count < self._most else 8 * _SWEEP, len(self._subjects))):
            key, subject = next(iter(self._subjects.items()))
            if max([s.till for s in subject.values()], default=0) > now:
                self._subjects.move_to_end(key)
            else:
                del self._subjects[key]
                self._count -= len(subject)


def _presented(session: _Session, asked: _Rotate) -> Reply:
    """What a token of a living session gets."""
    graceful = max(0, asked.now - session.rotated) < asked.grace
    if asked.presented == session.current:
        if session.generation and graceful:
            return _told(_FRESH, session, asked.now)
        return _advance(_ROTATED, session, asked, session.generation + 1)
    if asked.presented == session.previous:
        return _replay(session, asked) if graceful else _reuse(session, asked, _RECENT)
    ahead = asked.generation - session.generation
    if ahead > 1 or (ahead == 1 and asked.parent == session.current[:_PARENT]):
        return _ahead(session, asked)
    return _reuse(session, asked, _STALE if ahead < 0 else _FORK)


def _ahead(session: _Session, asked: _Rotate) -> Reply:
    """Made by us, and newer than what is here: the store lost a rotation. Or it did not, and somebody has our key."""
    if asked.healing == 0:
        return _told(_AHEAD, session, asked.now)
    if asked.healing == 1:
        return _advance(_HEALED, session, asked, asked.generation + 1)
    return _reuse(session, asked, _FORK)


def _advance(outcome: int, session: _Session, asked: _Rotate, generation: int) -> Reply:
    session.previous, session.current, session.seal = asked.presented, asked.successor, asked.seal
    session.generation, session.rotated, session.replays = generation, asked.now, 0
    session.till = min(session.absolute, asked.now + asked.idle)
    session.device = session.device if asked.device == _NONE else asked.device
    return _told(outcome, session, asked.now)


def _replay(session: _Session, asked: _Rotate) -> Reply:
    if session.replays >= asked.most:
        return _told(_THROTTLED, session, asked.now)
    session.replays += 1
    return _told(_REPLAY, session, asked.now, session.seal)


def _reuse(session: _Session, asked: _Rotate, why: int) -> Reply:
    reply = _told(_REUSE, session, asked.now)
    reply[1] = why
    _end(session, asked.now, why, asked.tombstone)
    return reply


def _told(outcome: int, session: _Session, now: int, seal: str = _NONE) -> Worded:
    numbers = (outcome, session.why, session.generation, max(0, now - session.rotated), max(0, session.till - now))
    return Worded(numbers, (session.grant, session.device, seal))


def _end(session: _Session, now: int, why: int, tombstone: int) -> None:
    """Revoke: what is left says so for a while, and holds nothing else."""
    session.why, session.till = why, min(session.till, now + tombstone)
    session.current = session.previous = session.grant = session.device = session.seal = _NONE
