"""Who is believed by one application: its own tokens and those of third parties. Their keys are kept up in the background."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from lockwatch import native
from lockwatch.config import LockWatchConfig
from lockwatch.errors import IssuerError, StoreError, TokenError
from lockwatch.event import Event
from lockwatch.flow import AsyncStore, Call, Elsewhere, Flow, Store
from lockwatch.limits.flows import PLAIN, Outcome, Terms, peek
from lockwatch.limits.policy import Charge
from lockwatch.link import Link
from lockwatch.tokens.claims import Claims
from lockwatch.tokens.config import JWTConfig
from lockwatch.tokens.engine import engine_named
from lockwatch.tokens.entry import enter
from lockwatch.tokens.issuers import Issuer
from lockwatch.tokens.manager import JWTRotationManager
from lockwatch.tokens.outcomes import Standing
from lockwatch.tokens.sender import read_origins
from lockwatch.tokens.settings import read_issuers, read_settings
from lockwatch.tokens.trust import Trust
from lockwatch.tokens.verify import Verifier
from lockwatch.worker import shared

if TYPE_CHECKING:
    import httpx

    from lockwatch.revocations import DurableRevocations
    from lockwatch.spool.directory import Directory
    from lockwatch.tokens.failover import Spool

Entering: TypeAlias = Callable[[Sequence[Charge], Terms], Flow[tuple[Standing, Outcome]]]
logger = logging.getLogger("lockwatch")
LOOK: Final = 5.0
"""Seconds between two looks at the key file."""
PATIENCE: Final = 5.0
"""Seconds that the first request waits for the keys of third parties."""
TICK: Final = 1.0
"""Seconds between two looks whether the keys of a third party are due."""


class Identity:
    """The tokens of one engine.

    Args:
        config: settings that speak of tokens.
        link: where revocations and sessions are kept.
        clock: epoch seconds.

    Attributes:
        manager: issues and revokes our own tokens; None where third parties alone are believed.
        trust: whose tokens are believed.

    Raises: ConfigurationError.
    """

    def __init__(
        self,
        config: LockWatchConfig,
        link: Link,
        clock: Callable[[], float] = time.time,
        tell: Callable[[Event], object] | None = None,
        spools: Directory | None = None,
    ) -> None:
        self.issuers, settings = read_issuers(config.issuers), read_settings(config)
        self.apart = config.token_redis_url is not None
        self.link = Link(_of_tokens(config), _ignore, meter=link.meter, time=link.time) if self.apart else link
        self.origins = read_origins(config.trusted_origins)
        self.spool = None if settings is None or spools is None else _durable(spools)
        self.manager = None if settings is None else _manager(config, settings, self.link, clock, tell, self.spool)
        self._own: Verifier | None = None if self.manager is None else self.manager.verifier
        self.leeway = settings.leeway_seconds if settings is not None else 30.0
        self.trust = Trust(self._own, self.issuers, leeway=self.leeway, remember=True)
        self._engine = engine_named(settings.engine if settings is not None else "python-jose")
        self._clock = clock
        self._failing: dict[str, str] = {}
        self._fetching: set[str] = set()
        if self.manager is not None:
            link.every(LOOK, self._look, "the key file")
            link.every(LOOK, self._say_again, "revocations that wait")
        if self.issuers:
            link.every(TICK, self.fetch, "the keys of issuers")

    @property
    def complaints(self) -> tuple[str, ...]:
        """What is wrong now: a key file that cannot be read, issuers whose keys cannot be fetched."""
        problem = self.manager.problem if self.manager is not None else ""
        down = self.link.notes.error if self.apart else ""
        store = f"the store of sessions, {self.link.name}: {down}" if down else ""
        spool = self.spool.problem if self.spool is not None else ""
        return (*[one for one in (problem, store, spool) if one], *self._failing.values())

    def now(self) -> float:
        """Epoch seconds."""
        return self._clock()

    def verify(self, token: str) -> Claims:
        """What a token says; the store is not asked. Raises: TokenError, and nothing else."""
        if self.manager is not None and self.manager.verifier is not self._own:
            self._own = self.manager.verifier
            self.trust.renew(self._own)
        return self.trust.verify(token, self._clock())

    def question(self, claims: Claims) -> Call | None:
        """What to ask the store about a token that is good otherwise; None where nothing could have revoked it.

        Raises: TokenError, for one of ours that belongs to no session of ours.
        """
        if claims.question is None:
            claims.question = self._question(claims)
        return claims.question

    def _question(self, claims: Claims) -> Call | None:
        if self.manager is None or (claims.jti is None and not self.is_own(claims)):
            return None
        asked = self.manager.flows.standing_call(claims.family if self.is_own(claims) else None, claims.jti or "")
        if asked is None:
            raise TokenError("unknown_session")
        return Elsewhere.at(Linked(self.link), asked) if self.apart else asked

    def entering(self, asked: Call, on_store_error: str) -> Entering:
        """A flow that asks a `question` together with the limits of a route."""
        return partial(enter, asked=asked, on_store_error=on_store_error, apart=self.apart)

    def is_own(self, claims: Claims) -> bool:
        """Whether we signed the token ourselves."""
        return self._own is not None and claims.issuer == self._own.rules.issuer

    def subject(self, claims: Claims) -> str:
        """Whom a token is about, so that nobody else is called the same: one of several issuers speaks for itself only."""
        alone = len(self.issuers) + (self.manager is not None) == 1
        return claims.subject if alone or self.is_own(claims) else f"{claims.issuer} {claims.subject}"

    async def open(self) -> None:
        """Fetch the keys of third parties before the first request, and connect. A failure is in the log and in `complaints`."""
        await self.fetch()
        if self.apart:
            with suppress(StoreError):
                await self.link.drive(peek((), PLAIN))  # loads the script

    async def aclose(self) -> None:
        """Close what is not closed with the engine's own store."""
        if self.apart:
            await self.link.aclose()
        if self.spool is not None:
            self.spool.close()

    def close(self) -> None:
        """`aclose` for blocking code."""
        if self.apart:
            self.link.close()
        if self.spool is not None:
            self.spool.close()

    def open_sync(self) -> None:
        """`open` for blocking code: the background fetches them, and is waited for."""
        if not self.issuers:
            return
        done = native.lock()
        done.acquire()

        async def fetch() -> None:
            try:
                await self.fetch()
            finally:
                done.release()

        if shared().post("the keys of issuers", fetch):
            done.acquire(timeout=PATIENCE)
        else:
            asyncio.run(self.fetch())

    async def fetch(self) -> None:
        """Fetch the keys that are due, of all third parties at once."""
        now = self._clock()
        due = [i for i in self.issuers if i.url not in self._fetching and self.trust.remotes[i.url].is_due(now)]
        if due:
            import httpx

            async with httpx.AsyncClient() as client:
                await asyncio.gather(*[self._fetch(client, issuer) for issuer in due])

    async def _fetch(self, client: httpx.AsyncClient, issuer: Issuer) -> None:
        from lockwatch.tokens.fetch import fetch_keys

        url = issuer.url
        self._fetching.add(url)
        try:
            keys, max_age = await fetch_keys(client, issuer, self._engine)
        except IssuerError as error:
            self.trust.failed(url, self._clock())
            if url not in self._failing:
                logger.warning("lockwatch: %s; tokens of %s are believed with the keys known before, if there are any", error, url)
            self._failing[url] = str(error)
        else:
            self.trust.fetched(url, keys, self._clock(), max_age)
            self._failing.pop(url, None)
        finally:
            self._fetching.discard(url)

    async def _say_again(self) -> None:
        """Take over what dead processes left to say, and say what the store has not heard, as soon as it answers."""
        if self.manager is None:
            return
        flows = self.manager.flows
        if self.spool is not None and self.spool.adopt():
            flows.watch.doubt()
        if flows.owes:
            with suppress(StoreError):
                await self.link.drive(flows.attend(self._clock()))

    async def _look(self) -> None:
        if self.manager is not None:
            self.manager.refresh_keys()


class Linked:
    """The stores of a link, for what is used by hand. The link opens and closes them."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.memory: Store = link.memory
        self.split = link.split

    def waiting(self) -> AsyncStore:
        """The store for event loops."""
        return self._link.async_store()

    def blocking(self) -> Store:
        """The store for blocking code."""
        return self._link.sync_store()

    async def aclose(self) -> None:
        """Nothing: the link is closed by who opened it."""

    def close(self) -> None:
        """Nothing, likewise."""


def _of_tokens(config: LockWatchConfig) -> LockWatchConfig:
    """The settings of the store that sessions have for themselves."""
    return replace(config, redis=None, redis_url=config.token_redis_url)


def _durable(spools: Directory) -> DurableRevocations:
    from lockwatch.revocations import DurableRevocations

    return DurableRevocations(spools)


def _ignore(message: str) -> None:
    """What is wrong with the set-up of a second store was said of the first."""


def _manager(
    config: LockWatchConfig,
    settings: JWTConfig,
    link: Link,
    clock: Callable[[], float],
    tell: Callable[[Event], object] | None,
    spool: Spool | None,
) -> JWTRotationManager:
    return JWTRotationManager(
        config=settings,
        secret_key=config.secret_key,
        namespace=config.token_namespace or config.namespace,
        load_claims=config.load_claims,
        on_event=tell,
        store_timeout=config.store_timeout,
        clock=clock,
        stores=Linked(link),
        spool=spool,
    )
