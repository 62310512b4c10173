"""Replacing signing keys without breaking a token: which step may be taken when.

A key is *next* (published, signs nothing yet), then *current* (signs), then *retiring* (signs nothing, still verifies), then gone.
Two waits keep every token alive: others have to see a key before it signs, and its last token has to expire before it goes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias

from lockwatch.errors import ConfigurationError, UnsafeStep

State: TypeAlias = Literal["next", "current", "retiring"]
STATES: Final[tuple[State, ...]] = ("current", "next", "retiring")
LEEWAY: Final = 300
"""Seconds: the most that `leeway_seconds` can be."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A key in a key file. `since` is the epoch time from which it is in its state."""

    kid: str
    algorithm: str
    state: State
    since: float
    pem: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyFile:
    """The content of a key file.

    Attributes:
        entries: in the order current, next, retiring.
        token_seconds: how long a token signed with one of them lives at most.
        publish_seconds: how long others may use a JWKS they fetched, and processes a key file they read.
    """

    entries: tuple[Entry, ...] = ()
    token_seconds: float = 86_400
    publish_seconds: float = 900


def added(file: KeyFile, kid: str, algorithm: str, pem: str, now: float) -> KeyFile:
    """With a new key: the first is current at once, later ones are next. Raises: UnsafeStep when there is a next one already."""
    if waiting := _in(file, "next"):
        raise UnsafeStep(f"key {waiting[0].kid} is next already; rotate to it first")
    state: State = "next" if file.entries else "current"
    return _ordered(file, [*file.entries, Entry(kid, algorithm, state, now, pem)])


def rotated(file: KeyFile, now: float, *, compromised: bool = False) -> KeyFile:
    """Sign with the next key from now on. Raises: UnsafeStep when others may not know it yet.

    `compromised` drops the current key at once and asks nothing: every token it signed stops being valid.
    """
    ahead = _in(file, "next")
    if not ahead:
        raise UnsafeStep("there is no next key to rotate to; make one first: lockwatch keys generate")
    earliest = ahead[0].since + file.publish_seconds
    if now < earliest and not compromised:
        raise UnsafeStep(
            f"key {ahead[0].kid} is published since {_at(ahead[0].since)}; who cached the keys before would refuse its tokens; "
            f"rotate from {_at(earliest)} on",
            earliest,
        )
    moved = [_moved(entry, now) for entry in file.entries if not (compromised and entry.state == "current")]
    return _ordered(file, moved)


def retired(file: KeyFile, kid: str, now: float, *, compromised: bool = False) -> KeyFile:
    """Without a key. Raises: UnsafeStep when a token it signed may still be alive, unless `compromised`."""
    entry = next((e for e in file.entries if e.kid == kid), None)
    if entry is None:
        raise UnsafeStep(f"there is no key {kid!r}; the keys are {', '.join(e.kid for e in file.entries) or 'none'}")
    if entry.state == "current":
        raise UnsafeStep(f"key {kid} signs tokens; rotate to another one first: lockwatch keys rotate")
    earliest = retirement(file, entry)
    if now < earliest and not compromised:
        raise UnsafeStep(
            f"key {kid} signed until {_at(entry.since)}, and its tokens may live until {_at(earliest)}; retire it from then on",
            earliest,
        )
    return replace(file, entries=tuple([e for e in file.entries if e.kid != kid]))


def retirement(file: KeyFile, entry: Entry) -> float:
    """The epoch time from which no token of a retiring key is alive; a key that never signed can go at any time."""
    return entry.since + file.token_seconds + LEEWAY + file.publish_seconds if entry.state == "retiring" else 0


def read(text: str) -> KeyFile:
    """The content of a key file. Raises: ConfigurationError, which never quotes it."""
    try:
        document = json.loads(text)
        entries = [_entry(**entry) for entry in document["keys"]]
        file = KeyFile((), float(document["token_seconds"]), float(document["publish_seconds"]))
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ConfigurationError("this is no key file; make one with: lockwatch keys generate keys.json") from None
    if [e.state for e in entries].count("current") != 1 or len({e.kid for e in entries}) != len(entries):
        raise ConfigurationError("a key file holds each key once, and one of them is current")
    return _ordered(file, entries)


def write(file: KeyFile) -> str:
    """The text of a key file."""
    keys = [{"kid": e.kid, "algorithm": e.algorithm, "state": e.state, "since": e.since, "pem": e.pem} for e in file.entries]
    document = {"keys": keys, "token_seconds": file.token_seconds, "publish_seconds": file.publish_seconds}
    return json.dumps(document, indent=2) + "\n"


def _entry(*, kid: Any, algorithm: Any, state: Any, since: Any, pem: Any) -> Entry:
    if not all(isinstance(text, str) for text in (kid, algorithm, pem)) or state not in STATES:
        raise ValueError("not an entry")
    return Entry(kid, algorithm, state, float(since), pem)


def _in(file: KeyFile, state: State) -> list[Entry]:
    return [entry for entry in file.entries if entry.state == state]


def _moved(entry: Entry, now: float) -> Entry:
    following: dict[State, State] = {"next": "current", "current": "retiring"}
    state = following.get(entry.state)
    return entry if state is None else replace(entry, state=state, since=now)


def _ordered(file: KeyFile, entries: Sequence[Entry]) -> KeyFile:
    return replace(file, entries=tuple(sorted(entries, key=lambda e: (STATES.index(e.state), -e.since, e.kid))))


def _at(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
