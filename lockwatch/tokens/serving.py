"""The endpoints of sessions, whatever the framework: what is asked of the tokens, and what is answered. Pure.

Each is a generator: it yields what a `JWTRotationManager` is to be asked, and the edge asks in its own colour.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from lockwatch.errors import MissingToken, RefreshRefused, TokenError
from lockwatch.tokens import access_cookie, endpoints
from lockwatch.tokens.bearer import bearer_token
from lockwatch.tokens.claims import Claims
from lockwatch.tokens.endpoints import Answer, Unreadable
from lockwatch.tokens.pair import TokenPair
from lockwatch.tokens.refresh_cookie import RefreshCookie

if TYPE_CHECKING:
    from lockwatch.tokens.manager import JWTRotationManager, Loader


class Ask(NamedTuple):
    """A method of the manager, and its arguments; in blocking code that of the same name with ``_sync``."""

    method: str
    argument: object
    options: Mapping[str, Any] = {}


class Asked(NamedTuple):
    """A request to an endpoint.

    Attributes:
        headers: with names in lower case.
        authorization: every header of that name.
        body: as much as an endpoint reads.
        too_long: there is more.
    """

    headers: Mapping[str, str]
    authorization: Sequence[str] = ()
    body: bytes = b""
    too_long: bool = False

    def read(self) -> tuple[bytes, str]:
        """The body and its type. Raises: Unreadable."""
        if self.too_long:
            raise Unreadable(f"the body is longer than {endpoints.MAX_BODY} bytes", 413)
        return self.body, self.headers.get("content-type", "")


Serving: TypeAlias = Generator[Ask, Any, Answer]


class Endpoints:
    """The endpoints of sessions of one manager.

    Args:
        tokens: gives the manager, when it is needed.
        load_claims: asked at every refresh, instead of the manager's own.
        cookie: where browsers keep refresh tokens.
        access_cookies: whether a refresh with that cookie renews the access cookies too, and a logout takes them away.
    """

    def __init__(
        self,
        tokens: Callable[[], JWTRotationManager],
        load_claims: Loader | None = None,
        cookie: RefreshCookie | None = None,
        access_cookies: bool = False,
    ) -> None:
        self._tokens, self._load, self._cookie, self._access_cookies = tokens, load_claims, cookie, access_cookies

    def refresh(self, asked: Asked) -> Serving:
        """The next tokens of a session, for its refresh token."""
        token = endpoints.token_in_json(*asked.read())
        if token is not None:
            return endpoints.issued((yield self._rotation(token)))
        if self._cookie is None or (kept := self._cookie.read(asked.headers)) is None:
            raise Unreadable(endpoints.WRITE_JSON)
        try:
            pair = yield self._rotation(kept)
        except RefreshRefused as error:
            answer = endpoints.refused(error)
            return answer.setting(self._dropped()) if answer.status == 400 else answer
        return endpoints.issued(pair, [self._cookie.keep(pair), *self._access(pair)])

    def logout(self, asked: Asked) -> Serving:
        """End the session of a refresh token; without one, that of the access token."""
        token = endpoints.token_in_json(*asked.read())
        kept = self._cookie.read(asked.headers) if token is None and self._cookie is not None else None
        if token is None and kept is None:
            shown = bearer_token(asked.authorization)
            if shown is None:
                raise MissingToken
            claims = yield Ask("verify_access", shown)
            yield Ask("revoke_family", claims.family or "")
        else:
            yield Ask("revoke_token", token or kept or "")
        return endpoints.ended() if kept is None else endpoints.ended().setting(self._dropped())

    def logout_all(self, claims: Claims | None) -> Serving:
        """End every session of who asks."""
        yield Ask("revoke_subject", self._own(claims).subject)
        return endpoints.ended().setting(self._dropped())

    def revoke(self, asked: Asked) -> Serving:
        """End the session of a refresh token, or believe an access token no more (RFC 7009)."""
        token = endpoints.token_in_form(*asked.read())
        try:
            yield Ask("blacklist_access_token", token)
        except TokenError:
            yield Ask("revoke_token", token)
        return endpoints.revoked()

    def sessions(self, claims: Claims | None) -> Serving:
        """The sessions of who asks."""
        own = self._own(claims)
        return endpoints.listed((yield Ask("sessions", own.subject)), own.family)

    def introspect(self, asked: Asked) -> Serving:
        """What an access token says, if it is believed now (RFC 7662)."""
        token = endpoints.token_in_form(*asked.read())
        try:
            return endpoints.introspected((yield Ask("verify_access", token)))
        except TokenError:
            return endpoints.introspected(None)

    def _rotation(self, token: str) -> Ask:
        return Ask("rotate", token, {"load_claims": self._load})

    def _access(self, pair: TokenPair) -> Sequence[str]:
        """The cookies for an access token, where pages have it there."""
        if not self._access_cookies:
            return ()
        tokens = self._tokens()
        session = access_cookie.session_of(tokens.read(pair.access_token))
        return tokens.cookie.keep(pair.access_token, session, pair.access_expires_at)

    def _dropped(self) -> Sequence[str]:
        own = () if self._cookie is None else (self._cookie.drop(),)
        return (*own, *access_cookie.drop()) if self._access_cookies else own

    def _own(self, claims: Claims | None) -> Claims:
        """Claims of ours: a third party may call somebody else by the same name. Raises: TokenError."""
        if claims is None:
            raise MissingToken
        if claims.issuer != self._tokens().config.issuer:
            raise TokenError("wrong_issuer")
        return claims
