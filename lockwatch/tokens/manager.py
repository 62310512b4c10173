"""`JWTRotationManager`: tokens and their sessions, by hand, in either colour. The one module here with a clock and a store."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, TypeAlias, TypeVar

from lockwatch.errors import ConfigurationError, TokenError
from lockwatch.event import Event
from lockwatch.flow import Flow, run, run_async
from lockwatch.stores.either import Either, Stores
from lockwatch.tokens.access import subject_text
from lockwatch.tokens.access_cookie import AccessCookie
from lockwatch.tokens.claims import Claims
from lockwatch.tokens.config import JWTConfig
from lockwatch.tokens.failover import Spool
from lockwatch.tokens.happened import REFRESHED, REUSED
from lockwatch.tokens.jwks import Document
from lockwatch.tokens.names import Names
from lockwatch.tokens.outcomes import Revocation, Rotation, Session
from lockwatch.tokens.pair import RANDOM, TokenPair, session_policy
from lockwatch.tokens.ring import KeyRing
from lockwatch.tokens.signing import Signing
from lockwatch.tokens.verify import Verifier

T = TypeVar("T")
Device: TypeAlias = "Mapping[str, str] | None"
Loaded: TypeAlias = "Mapping[str, Any] | None"
Loader: TypeAlias = "Callable[[str], Loaded | Awaitable[Loaded]]"
logger = logging.getLogger("lockwatch")
_SAID: Final = frozenset({"reuse", "healed", "throttled"})
"""Outcomes of a refresh that the log tells of."""


class JWTRotationManager:
    """Issues token pairs, rotates refresh tokens, checks access tokens, revokes.

    Every method is there twice: a coroutine, and with `_sync` behind its name a plain function. A refresh or a check is one round
    trip to the store. What an outage means: nothing is issued, rotated or believed; `StoreError` is raised.

    Args:
        redis_client: a redis-py client of either colour, or a URL; its address and credentials are used. None keeps sessions in
            this process.
        config: how tokens are signed and how long they live. Without a key in it, ``LOCKWATCH_JWT_SECRET`` or ``JWT_SECRET`` of the
            environment is the secret.
        secret_key: one or several (newest first) of at least 16 characters, from which refresh tokens are signed and sessions are
            sealed. Without it, the signing key serves; sessions then end when that key is retired.
        namespace: separates applications that share a store.
        load_claims: a function of the subject, asked at every refresh: its claims now, or None for one that may not log in any
            more. Its session then ends.
        max_sessions: how many sessions a subject may have.
        when_full: ``evict`` the session unused longest, or ``refuse`` the login.
        on_event: told of everything that becomes of tokens, an `Event` each: ``token.issued``, ``token.refreshed``,
            ``token.reused``, ``token.revoked``.
        store_timeout: seconds to wait for the store at most.
        clock: epoch seconds.
        stores: stores that somebody else opens and closes, instead of `redis_client`.
        spool: where revocations wait to be said to a store that lost them; by default the memory of this process.

    Attributes:
        flows: the sessions, for whoever drives flows.

    Raises: ConfigurationError.
    """

    def __init__(
        self,
        redis_client: Any = None,
        config: JWTConfig | None = None,
        *,
        secret_key: str | tuple[str, ...] | None = None,
        namespace: str = "lockwatch",
        load_claims: Loader | None = None,
        max_sessions: int = 100,
        when_full: str = "evict",
        on_event: Callable[[Event], object] | None = None,
        store_timeout: float = 0.05,
        clock: Callable[[], float] = time.time,
        stores: Either | None = None,
        spool: Spool | None = None,
    ) -> None:
        self.config = config or JWTConfig()
        if stores is None:
            self.config = self.config.or_environment(os.environ)
        self._stores: Either = Stores(redis_client, store_timeout) if stores is None else stores
        self._load, self._on_event, self._timeout = load_claims, on_event, store_timeout
        policy, names = session_policy(self.config, max_sessions, when_full), Names(namespace, self._stores.split)
        self._signing = Signing(self.config, policy, names, namespace, secret_key, clock, self._tell, spool)
        self.flows, self._issuing = self._signing.flows, self._signing.issuing

    async def issue_token_pair(
        self, subject: object, claims: Mapping[str, Any] | None = None, *, device: Device = None
    ) -> TokenPair:
        """A login: a new session and its first tokens.

        Args:
            subject: who logged in, a text or whole number.
            claims: what else access tokens say: `scope`, `roles`, and what the application likes.
            device: what to show in a list of sessions: at most 8 texts of 256 characters. It is sealed in the store.

        Raises: ConfigurationError for claims that are lockwatch's to set; SessionsFull; StoreError.
        """
        return await self._run(self._issuing.issue(subject, claims, device, self._signing.now(), os.urandom(RANDOM)))

    def issue_token_pair_sync(
        self, subject: object, claims: Mapping[str, Any] | None = None, *, device: Device = None
    ) -> TokenPair:
        """`issue_token_pair` for blocking code."""
        return self._run_sync(self._issuing.issue(subject, claims, device, self._signing.now(), os.urandom(RANDOM)))

    @property
    def jwks(self) -> Document:
        """What the world may know of the keys that sign."""
        self._signing.now()
        return self._issuing.ring.jwks

    async def rotate(self, refresh_token: str, *, device: Device = None, load_claims: Loader | None = None) -> TokenPair:
        """A refresh: the next tokens of a session. Repeated within the grace, it brings the same refresh token again.

        Args:
            refresh_token: what the client has.
            device: what to show in a list of sessions from now on.
            load_claims: instead of the one of the constructor.

        Raises: RefreshRefused (`code` says why); RefreshThrottled; StoreError.
        """
        now, random = self._signing.now(), os.urandom(RANDOM)
        rotation = await self._run(self._issuing.rotate(refresh_token, now, random, device))
        loaded = self._loaded(rotation, load_claims)
        claims = await loaded if isinstance(loaded, Awaitable) else loaded
        if claims is None:
            await self._run(self._issuing.disabled(rotation, now))
        return self._issuing.renewed(rotation, claims, now, random)

    def rotate_sync(self, refresh_token: str, *, device: Device = None, load_claims: Loader | None = None) -> TokenPair:
        """`rotate` for blocking code."""
        now, random = self._signing.now(), os.urandom(RANDOM)
        rotation = self._run_sync(self._issuing.rotate(refresh_token, now, random, device))
        claims = self._loaded(rotation, load_claims)
        if isinstance(claims, Awaitable):
            if isinstance(claims, Coroutine):
                claims.close()
            raise ConfigurationError("load_claims is an async function; rotate_sync needs a plain one")
        if claims is None:
            self._run_sync(self._issuing.disabled(rotation, now))
        return self._issuing.renewed(rotation, claims, now, random)

    async def verify_access(self, token: object) -> Claims:
        """What an access token says, if it is believed and its session lives. Raises: TokenError; StoreError."""
        return await self._run(self._issuing.verify(token, self._signing.now()))

    def verify_access_sync(self, token: object) -> Claims:
        """`verify_access` for blocking code."""
        return self._run_sync(self._issuing.verify(token, self._signing.now()))

    async def blacklist(self, jti: str, *, wait: float = 0.0) -> Revocation:
        """Believe one access token no more.

        Args:
            jti: its `jti`.
            wait: seconds to wait for a replica to have it too, as for every revocation: `durable` says whether it does.

        Raises: StoreError.
        """
        return await self._run(self._issuing.deny(jti, self._signing.now(), self._waiting(wait)))

    def blacklist_sync(self, jti: str, *, wait: float = 0.0) -> Revocation:
        """`blacklist` for blocking code."""
        return self._run_sync(self._issuing.deny(jti, self._signing.now(), self._waiting(wait)))

    async def blacklist_access_token(self, token: object, *, wait: float = 0.0) -> Revocation:
        """Believe one access token no more, for as long as it lives. Raises: TokenError for one not believed now; StoreError."""
        return await self._run(self._issuing.deny_token(token, self._signing.now(), self._waiting(wait)))

    def blacklist_access_token_sync(self, token: object, *, wait: float = 0.0) -> Revocation:
        """`blacklist_access_token` for blocking code."""
        return self._run_sync(self._issuing.deny_token(token, self._signing.now(), self._waiting(wait)))

    async def revoke_token(self, refresh_token: str, *, wait: float = 0.0) -> Revocation:
        """Log out: end the session of a refresh token, used or not, and with it all its access tokens. Raises: StoreError."""
        return await self._run(self._issuing.revoke_token(refresh_token, self._signing.now(), self._waiting(wait)))

    def revoke_token_sync(self, refresh_token: str, *, wait: float = 0.0) -> Revocation:
        """`revoke_token` for blocking code."""
        return self._run_sync(self._issuing.revoke_token(refresh_token, self._signing.now(), self._waiting(wait)))

    async def revoke_family(self, session: str, *, wait: float = 0.0) -> Revocation:
        """End one session by its id: `Claims.family`, or `id` in the list of sessions. Raises: StoreError."""
        return await self._run(self._issuing.revoke(session, self._signing.now(), self._waiting(wait)))

    def revoke_family_sync(self, session: str, *, wait: float = 0.0) -> Revocation:
        """`revoke_family` for blocking code."""
        return self._run_sync(self._issuing.revoke(session, self._signing.now(), self._waiting(wait)))

    async def revoke_subject(self, subject: object, *, wait: float = 0.0) -> Revocation:
        """Log out everywhere: end all sessions of a subject. Raises: StoreError."""
        return await self._run(self._issuing.revoke_subject(subject, self._signing.now(), self._waiting(wait)))

    def revoke_subject_sync(self, subject: object, *, wait: float = 0.0) -> Revocation:
        """`revoke_subject` for blocking code."""
        return self._run_sync(self._issuing.revoke_subject(subject, self._signing.now(), self._waiting(wait)))

    async def sessions(self, subject: object) -> tuple[Session, ...]:
        """The sessions of a subject that live, the one unused longest first. Raises: StoreError."""
        return await self._run(self.flows.listed(subject_text(subject), self._signing.now()))

    def sessions_sync(self, subject: object) -> tuple[Session, ...]:
        """`sessions` for blocking code."""
        return self._run_sync(self.flows.listed(subject_text(subject), self._signing.now()))

    verify_access_token = verify_access
    verify_access_token_sync = verify_access_sync

    @property
    def cookie(self) -> AccessCookie:
        """Access tokens in cookies of browsers."""
        return self._signing.cookie

    @property
    def ring(self) -> KeyRing:
        """The keys as they are now."""
        return self._issuing.ring

    @property
    def verifier(self) -> Verifier:
        """Verifies access tokens with the keys as they are now. It does not ask whether they were revoked."""
        return self._issuing.verifier

    def read(self, token: object) -> Claims:
        """What an access token says; whether it was revoked is not asked. Raises: TokenError."""
        return self._issuing.verifier.verify(token, self._signing.now())

    def read_refresh(self, token: object) -> Claims:
        """Which session a refresh token belongs to: `family`, and `subject`, because the token names nobody. It is not used up.

        `expires_at` is when it ends at the latest. Raises: TokenError.
        """
        now = self._signing.now()
        found = self.flows.read(token, now)
        if found is None:
            raise TokenError("wrong_type")
        ends = int(now + self.config.refresh_token_ttl_seconds)
        return Claims({"iss": self.config.issuer, "sub": found.session, "sid": found.session, "exp": ends})

    @property
    def problem(self) -> str:
        """What is wrong with the key file, empty when nothing is; the keys read before it broke go on."""
        return self._signing.problem

    def refresh_keys(self) -> None:
        """Look at the key file, and use its keys when it changed."""
        self._signing.refresh()

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        await self._stores.aclose()

    def close(self) -> None:
        """Close the connections of blocking code."""
        self._stores.close()

    async def _run(self, flow: Flow[T]) -> T:
        return await run_async(flow, self._stores.waiting(), self._stores.memory)

    def _run_sync(self, flow: Flow[T]) -> T:
        return run(flow, self._stores.blocking(), self._stores.memory)

    def _waiting(self, seconds: float) -> float:
        """For how long a replica may confirm: less than the store may take."""
        return min(seconds, self._timeout * 0.8)

    def _loaded(self, rotation: Rotation, load: Loader | None) -> Loaded | Awaitable[Loaded]:
        """What `load_claims` says of the subject of a refresh that worked; nothing where nobody is asked."""
        load = load or self._load
        if load is None or rotation.grant is None or not rotation.outcome.renewed:
            return {}
        return load(rotation.grant.subject)

    def _tell(self, event: Event) -> None:
        """Say what happened: in the log, where it should not have; and to whoever wants to hear everything."""
        if event.action in (REFRESHED, REUSED) and event.details["outcome"] in _SAID:
            logger.warning(
                "lockwatch: refresh token %s, session %s, generation %d, %.1f s after the last rotation: %s",
                event.details["outcome"],
                event.session,
                event.details["generation"],
                event.details["seconds_since_rotation"],
                "; ".join(event.reasons),
            )
        if self._on_event is not None:
            self._on_event(event)
