"""What can come of a refresh token, and of an access token asked after. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Outcome(IntEnum):
    """What the store says of a token. The numbers are those of the scripts."""

    ROTATED = 1
    """The token was used for the first time: a successor takes its place."""
    FRESH = 2
    """The token itself came out of a rotation a moment ago: it stays."""
    REPLAY = 3
    """The token was used a moment ago: the same successor again."""
    THROTTLED = 4
    """The same, too often: nothing, until the client slows down."""
    REUSE = 5
    """The token was used before: a copy is about, and the session ends here."""
    HEALED = 6
    """The store lost the rotation that made this token, and follows it."""
    REVOKED = 7
    EXPIRED = 8
    UNKNOWN = 9
    """No such session; or the token is none of ours, and the store was not asked."""
    AHEAD = 10
    """Newer than the store knows. Decided before a caller sees it."""
    DENIED = 11
    """This one access token was revoked."""
    ISSUED = 12
    FULL = 13
    """The subject has as many sessions as it may, and none makes room."""
    LIVE = 14

    @property
    def renewed(self) -> bool:
        """Whether the caller gets tokens."""
        return self in _RENEWED


_RENEWED = (Outcome.ROTATED, Outcome.FRESH, Outcome.REPLAY, Outcome.HEALED, Outcome.ISSUED)
"""No set: looking into one would hash by a function of `Enum`."""


class Reason(IntEnum):
    """Why a session was revoked. The numbers are those of the scripts."""

    NONE = 0
    REUSE_RECENT = 1
    """The token before the current one came back after the grace."""
    REUSE_STALE = 2
    """A token from further back came."""
    FORK = 3
    """A token of ours came that should not exist."""
    REVOKED = 4
    """Somebody logged out, or was logged out."""
    SUBJECT = 5
    """All sessions of the subject were."""
    EVICTED = 6
    """A newer session took its place."""
    DISABLED = 7
    """The subject may not log in any more."""


class Grant(NamedTuple):
    """What a login was good for. It is sealed in the store.

    Attributes:
        subject: who logged in; in no store key, and readable with `secret_key` only.
        claims: what else access tokens of the session say.
        auth_time: when the login was, in epoch seconds; a refresh does not change it.
    """

    subject: str
    claims: Mapping[str, Any] = _NOTHING
    auth_time: int = 0


@dataclass(frozen=True, slots=True)
class Issued:
    """A new session, or (`FULL`) none.

    Attributes:
        refresh_token: shown to nobody but the client.
        session: names the session: the `sid` of its access tokens.
        expires_in: seconds until it ends unless it is refreshed.
        evicted: sessions that made room.
    """

    outcome: Outcome
    refresh_token: str = field(default="", repr=False)
    session: str = ""
    expires_in: float = 0.0
    evicted: tuple[str, ...] = ()


class Rotation(NamedTuple):
    """What came of presenting a refresh token.

    Attributes:
        refresh_token: what the client goes on with; empty unless `outcome.renewed`.
        grant: of the session; None where there is no session to speak of.
        session: names the session.
        generation: how often it was rotated.
        since: seconds since the last rotation.
        expires_in: seconds until it ends unless it is refreshed.
        reason: why it was revoked.
        device: who used the session last, where a refresh did not work.
    """

    outcome: Outcome
    refresh_token: str = ""
    grant: Grant | None = None
    session: str = ""
    generation: int = 0
    since: float = 0.0
    expires_in: float = 0.0
    reason: Reason = Reason.NONE
    device: Mapping[str, str] = _NOTHING

    def __repr__(self) -> str:
        return f"Rotation({self.outcome!r}, session={self.session!r}, generation={self.generation}, reason={self.reason!r})"


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether an access token is still believed.

    Attributes:
        degraded: the store was down, and the policy says allow.
    """

    outcome: Outcome
    reason: Reason = Reason.NONE
    degraded: bool = False

    @property
    def live(self) -> bool:
        """Whether it is."""
        return self.outcome is Outcome.LIVE


@dataclass(frozen=True, slots=True)
class Revocation:
    """What a revocation changed.

    Attributes:
        sessions: those that lived until then.
        durable: whether a replica has it too; None when nobody asked.
    """

    sessions: tuple[str, ...] = ()
    durable: bool | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """One session of a subject, for a list of devices. Instants are epoch seconds.

    Attributes:
        id: names it: the `sid` of its access tokens.
        created_at: when it began.
        used_at: when it was refreshed last.
        expires_at: when it ends unless it is refreshed.
        generation: how often it was refreshed.
        device: what was said of the device.
    """

    id: str
    created_at: float
    used_at: float
    expires_at: float
    generation: int
    device: Mapping[str, str]
