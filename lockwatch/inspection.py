"""Where a request shows its token: verified here, then one store call says whether it was revoked and what the limits say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from lockwatch.engine import Engine
from lockwatch.errors import ConfigurationError, MissingToken, RequestRefused, RevocationUnknown, StoreError, TokenError
from lockwatch.flow import Call, Flow, Steps
from lockwatch.limits.buckets import Buckets
from lockwatch.limits.flows import PLAIN
from lockwatch.limits.plan import Plan
from lockwatch.tokens.access_cookie import session_of, token_in
from lockwatch.tokens.bearer import bearer_token, subprotocol_token
from lockwatch.tokens.requirement import Access, Requirement
from lockwatch.tokens.sender import Sender

if TYPE_CHECKING:
    from lockwatch.identity import Identity
    from lockwatch.tokens.claims import Claims
    from lockwatch.tokens.manager import JWTRotationManager
    from lockwatch.visit import Visit

PROTOCOLS: Final = b"sec-websocket-protocol"
_SENDER: Final = (b"host", b"origin", b"sec-fetch-site", b"x-csrf-token")
_READERS: Final[dict[str, Callable[[Visit], str | None]]] = {
    "header": lambda visit: bearer_token(visit.headers(b"authorization")),
    "cookie": lambda visit: token_in(visit.headers(b"cookie")),
    "subprotocol": lambda visit: subprotocol_token(visit.headers(PROTOCOLS)),
}


class Inspector:
    """Checks what routes require of tokens.

    A request whose token is missing, bad or revoked is charged to its address, never to a user. A limit that refuses answers first,
    so that who guesses tokens is slowed down.
    """

    def __init__(self, engine: Engine, identity: Identity) -> None:
        self.identity = identity
        self._admission = engine.admission

    def checking(self, visit: Visit, plan: Plan, buckets: Buckets) -> Steps[RequestRefused | TokenError | None]:
        """What the tokens of a request and the limits of its route say; the refusal, when there is one."""
        try:
            found = {access.requirement: self.claims(visit, access.requirement) for access in plan.access}
            asked = self.questions(found.values())
        except TokenError as error:
            return (yield from self._turning_away(visit, plan, buckets, error))
        visit.trust(next((claims for r, claims in found.items() if claims is not None and not r.refresh), None))
        policies = {r.on_store_error for r, claims in found.items() if claims is not None}
        on_store_error = "allow" if policies == {"allow"} else "deny"
        try:
            for question in asked[1:]:
                yield from self.standing(question, on_store_error)
            refused = yield from self._entering(visit, plan, buckets, asked, on_store_error)
        except RevocationUnknown as error:
            return error  # not the client's fault
        except TokenError as error:
            return (yield from self._turning_away(visit, plan, buckets, error))
        visit.believed = found
        return refused or self._lacking(plan, found)

    def checking_alone(self, visit: Visit, requirement: Requirement) -> Flow[None]:
        """Check one token where no plan did. Raises: TokenError."""
        claims = self.claims(visit, requirement)
        for question in self.questions([claims]):
            yield from self.standing(question, requirement.on_store_error)
        if not requirement.refresh:
            visit.trust(claims)
        visit.believed = {**visit.believed, requirement: claims}

    def standing(self, question: Call, on_store_error: str) -> Flow[None]:
        """Whether a token was revoked, alone. Raises: TokenError."""
        try:
            standing, _ = yield from self.identity.entering(question, on_store_error)((), PLAIN)
        except StoreError:
            raise RevocationUnknown from None
        if not standing.live:
            raise TokenError("revoked")

    def questions(self, found: Iterable[Claims | None]) -> list[Call]:
        """What to ask the store, once for each token. Raises: TokenError."""
        asked = [self.identity.question(claims) for claims in found if claims is not None]
        return [question for question in dict.fromkeys(asked) if question is not None]

    def demand(self, access: Access, claims: Claims | None) -> None:
        """Raises: InsufficientScope, StaleLogin."""
        if claims is not None:
            access.demands.check(claims, self.identity.now(), self.identity.leeway)

    def claims(self, visit: Visit, requirement: Requirement) -> Claims | None:
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

    def _entering(
        self, visit: Visit, plan: Plan, buckets: Buckets, asked: Sequence[Call], on_store_error: str
    ) -> Steps[RequestRefused | None]:
        """What the limits say, in one call with the question whether the token was revoked. Raises: TokenError."""
        if not asked:
            return visit.record((yield from self._admission.deciding(plan, visit, buckets)))
        try:
            entering = self.identity.entering(asked[0], on_store_error)
            standing, outcome = yield from self._admission.entering(plan, visit, buckets, entering)
        except StoreError:
            raise RevocationUnknown from None
        if standing is not None and not standing.live:
            raise TokenError("revoked")
        return visit.record(outcome)

    def _turning_away(self, visit: Visit, plan: Plan, buckets: Buckets, error: TokenError) -> Steps[RequestRefused | TokenError]:
        """Charge a request without a good token to its address."""
        visit.trust(None)
        return visit.record((yield from self._admission.deciding(plan, visit, buckets))) or error

    def _lacking(self, plan: Plan, found: dict[Requirement, Claims | None]) -> TokenError | None:
        """What the token of the request does not reach for, good as it is."""
        try:
            for access in plan.access:
                self.demand(access, found[access.requirement])
        except TokenError as error:
            return error
        return None

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
