"""`lockwatch.auth_router()`: the endpoints of sessions, for `app.include_router`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lockwatch.errors import LockwatchError, MissingToken, RefreshRefused, TokenError
from lockwatch.fastapi.auth import JWTAuth
from lockwatch.fastapi.auth_models import FORM_BODY, JSON_BODY, Introspection, KeySet, ListedSessions, answers
from lockwatch.fastapi.body import Reading
from lockwatch.tokens import endpoints
from lockwatch.tokens.bearer import bearer_token
from lockwatch.tokens.claims import Claims
from lockwatch.tokens.endpoints import Answer, Unreadable
from lockwatch.tokens.manager import JWTRotationManager, Loader
from lockwatch.tokens.pair import TokenPair
from lockwatch.tokens.refresh_cookie import RefreshCookie

WELL_KNOWN: Final = "/.well-known/jwks.json"


def auth_router(
    tokens: JWTRotationManager,
    *,
    prefix: str = "/auth",
    load_claims: Loader | None = None,
    cookie: RefreshCookie | None = None,
    access: JWTAuth | None = None,
    introspection: Callable[..., Any] | None = None,
) -> APIRouter:
    """The endpoints of sessions: refresh, logout, logout everywhere, revocation (RFC 7009), a list of sessions, and the key set.

    Args:
        tokens: what issues and checks the tokens.
        prefix: of every path but that of the key set.
        load_claims: a function of the subject, sync or async, asked at every refresh for its claims now; None as an answer ends the
            session. It takes the place of the one `tokens` has.
        cookie: where browsers keep refresh tokens. A refresh token in the body goes first, and touches no cookie.
        access: how the routes about all sessions of a subject know who asks; ``JWTAuth()`` unless you say otherwise.
        introspection: a dependency that lets in who may ask about the tokens of others. Only with it there is an endpoint for that
            (RFC 7662).
    """
    serving, asking = _Serving(tokens, load_claims, cookie), Depends(access or JWTAuth())
    router = APIRouter(tags=["auth"])

    async def logout_all(claims: Any = asking) -> Response:
        """End every session of who asks."""
        return await serving.logout_all(claims)

    async def sessions(claims: Any = asking) -> Response:
        """The sessions of who asks."""
        return await serving.sessions(claims)

    def add(path: str, endpoint: Callable[..., Any], method: str, told: dict[int | str, dict[str, Any]], **options: Any) -> None:
        status = int(next(iter(told)))
        router.add_api_route(
            path,
            endpoint,
            methods=[method],
            status_code=status,
            response_class=JSONResponse,
            response_model=None,
            responses=told,
            **options,
        )

    add(f"{prefix}/refresh", serving.refresh, "POST", answers(200, TokenPair, 400, 413, 429, 503), openapi_extra=JSON_BODY)
    add(f"{prefix}/logout", serving.logout, "POST", answers(204, None, 400, 401, 413, 503), openapi_extra=JSON_BODY)
    add(f"{prefix}/logout-all", logout_all, "POST", answers(204, None, 503))
    add(f"{prefix}/revoke", serving.revoke, "POST", answers(200, None, 400, 413, 503), openapi_extra=FORM_BODY)
    add(f"{prefix}/sessions", sessions, "GET", answers(200, ListedSessions, 503))
    if introspection is not None:
        told, guard = answers(200, Introspection, 400, 413, 503), [Depends(introspection)]
        add(f"{prefix}/introspect", serving.introspect, "POST", told, openapi_extra=FORM_BODY, dependencies=guard)
    add(WELL_KNOWN, serving.jwks, "GET", {200: {"model": KeySet}, 304: {"description": "Not changed"}})
    return router


class _Serving:
    """The endpoints. They read and ask; what is answered is decided in `lockwatch.tokens.endpoints`."""

    def __init__(self, tokens: JWTRotationManager, load_claims: Loader | None, cookie: RefreshCookie | None) -> None:
        self._tokens, self._load, self._cookie = tokens, load_claims, cookie

    async def refresh(self, request: Request) -> Response:
        """The next tokens of a session, for its refresh token."""
        return await _answered(self._refresh(request))

    async def logout(self, request: Request) -> Response:
        """End the session of a refresh token; without one, that of the access token."""
        return await _answered(self._logout(request))

    async def logout_all(self, claims: Claims) -> Response:
        """End every session of who asks."""
        return await _answered(self._logout_all(claims))

    async def revoke(self, request: Request) -> Response:
        """End the session of a refresh token, or believe an access token no more (RFC 7009)."""
        return await _answered(self._revoke(request))

    async def sessions(self, claims: Claims) -> Response:
        """The sessions of who asks."""
        return await _answered(self._sessions(claims))

    async def introspect(self, request: Request) -> Response:
        """What an access token says, if it is believed now (RFC 7662)."""
        return await _answered(self._introspect(request))

    async def jwks(self, request: Request) -> Response:
        """The keys with which access tokens are verified."""
        status, headers, body = self._tokens.jwks.answer(", ".join(request.headers.getlist("if-none-match")) or None)
        return _response(status, body, [(name.decode(), value.decode()) for name, value in headers])

    async def _refresh(self, request: Request) -> Answer:
        token = endpoints.token_in_json(*await _body(request))
        if token is not None:
            return endpoints.issued(await self._rotated(token))
        if self._cookie is None or (kept := self._cookie.read(request.headers)) is None:
            raise Unreadable(endpoints.WRITE_JSON)
        try:
            pair = await self._rotated(kept)
        except RefreshRefused as error:
            answer = endpoints.refused(error)
            return answer.setting(self._cookie.drop()) if answer.status == 400 else answer
        return endpoints.issued(pair, self._cookie.keep(pair))

    async def _logout(self, request: Request) -> Answer:
        token = endpoints.token_in_json(*await _body(request))
        kept = self._cookie.read(request.headers) if token is None and self._cookie is not None else None
        if token is None and kept is None:
            claims = await self._claims(request)
            await self._tokens.revoke_family(claims.family or "")
        else:
            await self._tokens.revoke_token(token or kept or "")
        return endpoints.ended().setting(self._cookie.drop()) if kept and self._cookie else endpoints.ended()

    async def _rotated(self, token: str) -> TokenPair:
        return await self._tokens.rotate(token, load_claims=self._load)

    async def _logout_all(self, claims: Claims) -> Answer:
        await self._tokens.revoke_subject(self._own(claims).subject)
        return endpoints.ended() if self._cookie is None else endpoints.ended().setting(self._cookie.drop())

    async def _revoke(self, request: Request) -> Answer:
        token = endpoints.token_in_form(*await _body(request))
        try:
            await self._tokens.blacklist_access_token(token)
        except TokenError:
            await self._tokens.revoke_token(token)
        return endpoints.revoked()

    async def _sessions(self, claims: Claims) -> Answer:
        return endpoints.listed(await self._tokens.sessions(self._own(claims).subject), claims.family)

    async def _introspect(self, request: Request) -> Answer:
        token = endpoints.token_in_form(*await _body(request))
        try:
            return endpoints.introspected(await self._tokens.verify_access(token))
        except TokenError:
            return endpoints.introspected(None)

    def _own(self, claims: Claims) -> Claims:
        """Claims of ours: a third party may call somebody else by the same name. Raises: TokenError."""
        if claims.issuer != self._tokens.config.issuer:
            raise TokenError("wrong_issuer")
        return claims

    async def _claims(self, request: Request) -> Claims:
        token = bearer_token(request.headers.getlist("authorization"))
        if token is None:
            raise MissingToken
        return await self._tokens.verify_access(token)


async def _body(request: Request) -> tuple[bytes, str]:
    """The body and its type. Raises: Unreadable for one that is too long, before it is read."""
    body, too_long = await Reading(request.receive, endpoints.MAX_BODY).read(request.scope)
    if too_long:
        raise Unreadable(f"the body is longer than {endpoints.MAX_BODY} bytes", 413)
    return body, request.headers.get("content-type", "")


async def _answered(deciding: Awaitable[Answer]) -> Response:
    try:
        answer = await deciding
    except LockwatchError as error:
        answer = endpoints.refused(error)
    return _response(answer.status, answer.body, answer.all_headers())


def _response(status: int, body: bytes, headers: list[tuple[str, str]]) -> Response:
    response = Response(body, status)
    for name, value in headers:
        response.headers[name] = value
    return response
