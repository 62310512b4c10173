"""Access and refresh tokens together: a login, a refresh, a check, as flows. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lockwatch.errors import RefreshRefused, RefreshThrottled, SessionsFull, StoreError, TokenError
from lockwatch.event import Event
from lockwatch.flow import Flow
from lockwatch.tokens import happened
from lockwatch.tokens.access import SignedToken, access_token, access_verifier, custom_claims, subject_text
from lockwatch.tokens.claims import Claims
from lockwatch.tokens.config import DAY, JWTConfig
from lockwatch.tokens.entropy import ENTROPY
from lockwatch.tokens.names import TAG, jti_of
from lockwatch.tokens.outcomes import Grant, Outcome, Reason, Revocation, Rotation
from lockwatch.tokens.policy import SessionPolicy
from lockwatch.tokens.ring import KeyRing
from lockwatch.tokens.sessions import Sessions

JTI: Final = 12
RANDOM: Final = ENTROPY + JTI
"""Random bytes a flow takes."""
_FAULTS: Final = {Outcome.REUSE: "reused", Outcome.REVOKED: "revoked", Outcome.EXPIRED: "expired"}


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What a client gets. The tokens do not show in its repr. Instants are epoch seconds.

    Attributes:
        access_token: shows who somebody is, on every request.
        refresh_token: gets the next pair, once.
        access_expires_at: when the access token ends.
        refresh_expires_at: when the session ends unless it is refreshed.
        token_type: how the access token is sent.
    """

    access_token: str
    refresh_token: str
    access_expires_at: int
    refresh_expires_at: int
    token_type: str = "Bearer"  # noqa: S105  # a scheme

    def __repr__(self) -> str:
        return f"TokenPair(access_expires_at={self.access_expires_at}, refresh_expires_at={self.refresh_expires_at})"


def session_policy(config: JWTConfig, max_sessions: int = 100, when_full: str = "evict") -> SessionPolicy:
    """How long sessions live, by the settings of tokens. Raises: ConfigurationError."""
    return SessionPolicy(
        idle=config.refresh_token_ttl_seconds,
        absolute=config.session_ttl_seconds,
        grace=config.refresh_grace_seconds,
        tombstone=max(3600, config.access_token_ttl_seconds + config.leeway_seconds),
        max_sessions=max_sessions,
        when_full=when_full,
    )


class Issuing:
    """Issues, renews and checks tokens of one application.

    Args:
        config: how tokens are signed.
        ring: the keys to do it with.
        sessions: what keeps them alive.
        tell: told of everything that becomes of them.
    """

    def __init__(self, config: JWTConfig, ring: KeyRing, sessions: Sessions, tell: Callable[[Event], object]) -> None:
        self.config, self.sessions, self._tell = config, sessions, tell
        self.renew(ring)

    def renew(self, ring: KeyRing) -> None:
        """Sign and verify with other keys from now on."""
        self.ring, self.verifier = ring, access_verifier(self.config, ring)

    def issue(
        self, subject: object, claims: Mapping[str, Any] | None, device: Mapping[str, str] | None, now: float, random: bytes
    ) -> Flow[TokenPair]:
        """A login. Raises: ConfigurationError for claims that cannot be said, SessionsFull, StoreError."""
        grant = Grant(subject_text(subject), custom_claims(claims), int(now))
        # Signed first: claims that do not fit into a token begin no session.
        signed = self._signed(self.sessions.session_of(grant.subject, random[JTI:]), grant, now, random)
        issued = yield from self.sessions.issue(grant, now, random[JTI:], device)
        self._tell(happened.issued(grant.subject, issued, now))
        if issued.outcome is Outcome.FULL:
            raise SessionsFull
        return _pair(signed, issued.refresh_token, now + issued.expires_in)

    def rotate(self, text: str, now: float, random: bytes, device: Mapping[str, str] | None) -> Flow[Rotation]:
        """Use a refresh token. Raises: StoreError."""
        rotation = yield from self.sessions.rotate(text, now, random, device)
        if (event := happened.refreshed(rotation, now)) is not None:
            self._tell(event)
        return rotation

    def renewed(self, rotation: Rotation, claims: Mapping[str, Any] | None, now: float, random: bytes) -> TokenPair:
        """The tokens of a refresh that worked; `claims` take the place of those of the login; None refuses.

        Raises: RefreshRefused, RefreshThrottled, for one that did not. ConfigurationError.
        """
        if rotation.outcome is Outcome.THROTTLED:
            raise RefreshThrottled
        if not rotation.outcome.renewed or rotation.grant is None:
            raise RefreshRefused(_FAULTS.get(rotation.outcome, "unknown_session"))
        if claims is None:
            raise RefreshRefused("revoked")
        login = rotation.grant
        kept = {**login.claims, **custom_claims(claims)}
        if int(now) <= login.auth_time:  # within a second, the times of both tokens are the same
            kept["fresh"] = False
        grant = Grant(login.subject, kept, login.auth_time)
        signed = self._signed(rotation.session, grant, now, random)
        return _pair(signed, rotation.refresh_token, now + rotation.expires_in)

    def verify(self, token: object, now: float) -> Flow[Claims]:
        """What an access token says, if its session lives. Raises: TokenError, StoreError."""
        claims = self.verifier.verify(token, now)
        standing = yield from self.sessions.standing(claims.family, claims.jti or "")
        if not standing.live:
            raise TokenError("revoked")
        return claims

    def deny(self, jti: str, now: float, wait: float) -> Flow[Revocation]:
        """Believe an access token no more, whose end is not known."""
        lifetime = max(self.config.access_token_ttl_seconds, DAY) + self.config.leeway_seconds
        return (yield from self._told(self.sessions.deny(jti, lifetime, now, wait), "access_token", jti, now))

    def deny_token(self, token: object, now: float, wait: float) -> Flow[Revocation]:
        """Believe an access token no more, until it ends. Raises: TokenError for one that is not believed now, StoreError."""
        claims = self.verifier.verify(token, now)
        lifetime, jti = claims.expires_at + self.config.leeway_seconds - now, claims.jti or ""
        return (yield from self._told(self.sessions.deny(jti, lifetime, now, wait), "access_token", jti, now))

    def revoke_token(self, text: str, now: float, wait: float) -> Flow[Revocation]:
        """End the session of a refresh token; nothing for one that is none of ours. Raises: StoreError."""
        token = self.sessions.read(text, now)
        return Revocation() if token is None else (yield from self.revoke(token.session, now, wait))

    def revoke(self, session: str, now: float, wait: float) -> Flow[Revocation]:
        """End one session. Raises: StoreError."""
        return (yield from self._told(self.sessions.revoke(session, now, wait=wait), "session", session, now))

    def revoke_subject(self, subject: object, now: float, wait: float) -> Flow[Revocation]:
        """End all sessions of a subject. Raises: ConfigurationError, StoreError."""
        user = subject_text(subject)
        return (yield from self._told(self.sessions.revoke_subject(user, now, wait=wait), "subject", None, now, user))

    def disabled(self, rotation: Rotation, now: float) -> Flow[Revocation]:
        """End the session of a subject that may not log in any more. Raises: StoreError."""
        user = None if rotation.grant is None else rotation.grant.subject
        ending = self.sessions.revoke(rotation.session, now, Reason.DISABLED)
        return (yield from self._told(ending, "session", rotation.session, now, user))

    def _told(
        self, revoking: Flow[Revocation], what: str, target: str | None, now: float, user: str | None = None
    ) -> Flow[Revocation]:
        """Revoke, and tell of it, also where the store did not answer. Raises: StoreError."""
        try:
            found = yield from revoking
        except StoreError:
            self._tell(happened.revoked(what, target, None, now, user=user))
            raise
        self._tell(happened.revoked(what, target, found, now, user=user))
        return found

    def _signed(self, session: str, grant: Grant, now: float, random: bytes) -> SignedToken:
        return access_token(
            self.config,
            self.ring.current,
            grant.subject,
            grant.claims,
            jti=jti_of(session[:TAG], random[:JTI]),
            now=now,
            family=session,
            auth_time=grant.auth_time,
        )


def _pair(signed: SignedToken, refresh_token: str, ends: float) -> TokenPair:
    return TokenPair(signed.token, refresh_token, signed.expires_at, int(ends))
