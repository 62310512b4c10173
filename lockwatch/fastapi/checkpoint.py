"""Where a request shows its token: verified here, then one store call says whether it was revoked and what the limits say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from starlette.types import ASGIApp, Receive, Scope, Send

from lockwatch.engine import Engine
from lockwatch.errors import ConfigurationError, MissingToken, RevocationUnknown, StoreError, TokenError
from lockwatch.fastapi.guard import Guard, Refused
from lockwatch.fastapi.sockets import Socket, Watch
from lockwatch.fastapi.visit import Visit
from lockwatch.limits.flows import PLAIN
from lockwatch.limits.plan import EXEMPT, Plan
from lockwatch.tokens.access_cookie import session_of, token_in
from lockwatch.tokens.bearer import SUBPROTOCOL, bearer_token, offers_bearer, subprotocol_token
from lockwatch.tokens.requirement import Access, Requirement
from lockwatch.tokens.sender import Sender

if TYPE_CHECKING:
    from lockwatch.flow import Call
    from lockwatch.identity import Identity
    from lockwatch.tokens.claims import Claims
    from lockwatch.tokens.manager import JWTRotationManager

_SENDER: Final = (b"host", b"origin", b"sec-fetch-site", b"x-csrf-token")
PROTOCOLS: Final = b"sec-websocket-protocol"
_READERS: Final[dict[str, Callable[[Visit], str | None]]] = {
    "header": lambda visit: bearer_token(visit.headers(b"authorization")),
    "cookie": lambda visit: token_in(visit.headers(b"cookie")),
    "subprotocol": lambda visit: subprotocol_token(visit.headers(PROTOCOLS)),
}


def make_guard(engine: Engine, app: Any) -> Guard:
    """The guard of an application: one that knows of tokens only where tokens are."""
    return Guard(engine, app) if engine.identity is None else Checkpoint(engine, engine.identity, app)


class Checkpoint(Guard):
    """A guard that also asks for tokens.

    A request whose token is missing, bad or revoked is charged to its address, never to a user. A limit that refuses answers first,
    so that who guesses tokens is slowed down.
    """

    def __init__(self, engine: Engine, identity: Identity, app: Any) -> None:
        super().__init__(engine, app)
        self.identity = identity
        self.watch = Watch(identity.now)

    async def check(self, visit: Visit, plan: Plan) -> Refused | None:
        """As for any guard; a route that requires tokens is checked for these too."""
        if not plan.access:
            return await super().check(visit, plan)
        if self.engine.exempt and visit.comes_from(self.engine.exempt):
            plan = replace(EXEMPT, access=plan.access)
        visit.plan = plan
        try:
            found = {access.requirement: self._claims(visit, access.requirement) for access in plan.access}
            asked = self._questions(found.values())
        except TokenError as error:
            return await self._turn_away(visit, plan, error)
        visit.trust(next((claims for r, claims in found.items() if claims is not None and not r.refresh), None))
        policies = {r.on_store_error for r, claims in found.items() if claims is not None}
        return await self._enter(visit, plan, found, asked, "allow" if policies == {"allow"} else "deny")

    async def check_alone(self, visit: Visit, requirement: Requirement) -> None:
        """Check one token where no gate did. Raises: TokenError."""
        claims = self._claims(visit, requirement)
        for question in self._questions([claims]):
            await self._stand(question, requirement.on_store_error)
        if not requirement.refresh:
            visit.trust(claims)
        visit.believed = {**visit.believed, requirement: claims}

    async def attend(self, visit: Visit, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Run a WebSocket until it ends by itself, or its token expires or is revoked."""
        held = [(claims, r) for r, claims in visit.believed.items() if claims is not None]
        if not held:
            await app(scope, receive, send)
            return
        until = min(claims.expires_at for claims, _ in held) + self.identity.leeway
        asks = any("subprotocol" in r.locations for _, r in held) and offers_bearer(visit.headers(PROTOCOLS))
        revoked = partial(self._revoked, [claims for claims, _ in held])
        socket = Socket(receive, send, until, revoked, SUBPROTOCOL if asks else None)
        socket.opened = self.watch.add
        try:
            await app(scope, socket.receive, socket.send)
        finally:
            self.watch.discard(socket)

    async def _revoked(self, held: Sequence[Claims]) -> bool:
        """Whether a token was revoked since; what nobody can know now was not."""
        try:
            for question in self._questions(held):
                await self._stand(question, "allow")
        except TokenError:
            return True
        return False

    def demand(self, access: Access, claims: Claims | None) -> None:
        """Raises: InsufficientScope, StaleLogin."""
        if claims is not None:
            access.demands.check(claims, self.identity.now(), self.identity.leeway)

    async def _enter(
        self, visit: Visit, plan: Plan, found: dict[Requirement, Claims | None], asked: Sequence[Call], on_store_error: str
    ) -> Refused | None:
        try:
            together = 0 if self.identity.apart else 1  # of what is asked, as many go with the limits
            for question in asked[together:]:
                await self._stand(question, on_store_error)
            refused = await self._decide(visit, plan, asked[:together], on_store_error)
        except RevocationUnknown as error:
            return error  # not the client's fault
        except TokenError as error:
            return await self._turn_away(visit, plan, error)
        visit.believed = found
        return refused or self._lacking(plan, found)

    async def _decide(self, visit: Visit, plan: Plan, asked: Sequence[Call], on_store_error: str) -> Refused | None:
        """What the limits say, in one call with the question whether the token was revoked. Raises: TokenError."""
        if not asked:
            return await super().check(visit, plan)
        try:
            standing, outcome = await self.admission.enter(plan, visit, self.identity.entering(asked[0], on_store_error))
        except StoreError:
            raise RevocationUnknown from None
        if standing is not None and not standing.live:
            raise TokenError("revoked")
        return visit.record(outcome)

    async def _stand(self, question: Call, on_store_error: str) -> None:
        """Whether a token was revoked, alone. Raises: TokenError."""
        try:
            standing, _ = await self.identity.link.drive(self.identity.entering(question, on_store_error)((), PLAIN))
        except StoreError:
            raise RevocationUnknown from None
        if not standing.live:
            raise TokenError("revoked")

    async def _turn_away(self, visit: Visit, plan: Plan, error: TokenError) -> Refused:
        """Charge a request without a good token to its address."""
        visit.trust(None)
        return await super().check(visit, plan) or error

    def _lacking(self, plan: Plan, found: dict[Requirement, Claims | None]) -> TokenError | None:
        """What the token of the request does not reach for, good as it is."""
        try:
            for access in plan.access:
                self.demand(access, found[access.requirement])
        except TokenError as error:
            return error
        return None

    def _questions(self, found: Iterable[Claims | None]) -> list[Call]:
        """What to ask the store, once for each token."""
        asked = [self.identity.question(claims) for claims in found if claims is not None]
        return [question for question in dict.fromkeys(asked) if question is not None]

    def _claims(self, visit: Visit, requirement: Requirement) -> Claims | None:
        """What the token says that `requirement` asks for; None where it may be missing. Raises: TokenError."""
        text, location = None, ""
        for location in requirement.locations:
            if (text := _READERS[location](visit)) is not None:
                break
        if text is None:
            if requirement.optional:
                return None
            raise MissingToken
        claims = self.identity.verify(text) if not requirement.refresh else self._issuing().read_refresh(text)
        requirement.check(claims)
        if location == "cookie":
            self._check_sender(visit, claims)
        return claims

    def _issuing(self) -> JWTRotationManager:
        """Raises: ConfigurationError."""
        if self.identity.manager is None:
            raise ConfigurationError("cookies and refresh tokens are for tokens that are issued here; set jwt=JWTConfig(...)")
        return self.identity.manager

    def _check_sender(self, visit: Visit, claims: Claims) -> None:
        """Whether a page of this site sent the cookie. Raises: CrossSite, ConfigurationError."""
        host, origin, site, shown = [", ".join(visit.headers(name)) for name in _SENDER]
        sender = Sender(visit.method, host, origin, site, shown)
        self._issuing().cookie.check(session_of(claims), sender, self.identity.origins)
