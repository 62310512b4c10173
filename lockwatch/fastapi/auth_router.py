"""`lockwatch.auth_router()`: the endpoints of sessions, for `app.include_router`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lockwatch.errors import LockwatchError
from lockwatch.fastapi.auth import JWTAuth
from lockwatch.fastapi.auth_models import FORM_BODY, JSON_BODY, Introspection, KeySet, ListedSessions, answers
from lockwatch.fastapi.body import Reading
from lockwatch.tokens import endpoints
from lockwatch.tokens.claims import Claims
from lockwatch.tokens.endpoints import Answer
from lockwatch.tokens.manager import JWTRotationManager, Loader
from lockwatch.tokens.pair import TokenPair
from lockwatch.tokens.refresh_cookie import RefreshCookie
from lockwatch.tokens.serving import Asked, Endpoints, Serving

WELL_KNOWN: Final = "/.well-known/jwks.json"


def auth_router(
    tokens: JWTRotationManager,
    *,
    prefix: str = "/auth",
    load_claims: Loader | None = None,
    cookie: RefreshCookie | None = None,
    access_cookies: bool = False,
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
        access_cookies: whether a refresh with that cookie renews the access cookies too, and a logout takes them away.
        access: how the routes about all sessions of a subject know who asks; ``JWTAuth()`` unless you say otherwise.
        introspection: a dependency that lets in who may ask about the tokens of others. Only with it there is an endpoint for that
            (RFC 7662).

    Raises: ConfigurationError, for a cookie that browsers would not send to these paths.
    """
    if cookie is not None:
        cookie.check(prefix)
    serving, asking = _Serving(tokens, load_claims, cookie, access_cookies), Depends(access or JWTAuth())
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
    """The endpoints. They read and ask; what is asked and answered is decided in `lockwatch.tokens.serving`."""

    def __init__(
        self, tokens: JWTRotationManager, load_claims: Loader | None, cookie: RefreshCookie | None, access_cookies: bool
    ) -> None:
        self._tokens = tokens
        self._endpoints = Endpoints(lambda: tokens, load_claims, cookie, access_cookies)

    async def refresh(self, request: Request) -> Response:
        """The next tokens of a session, for its refresh token."""
        return await self._answer(self._endpoints.refresh(await _asked(request)))

    async def logout(self, request: Request) -> Response:
        """End the session of a refresh token; without one, that of the access token."""
        return await self._answer(self._endpoints.logout(await _asked(request)))

    async def logout_all(self, claims: Claims | None) -> Response:
        """End every session of who asks."""
        return await self._answer(self._endpoints.logout_all(claims))

    async def revoke(self, request: Request) -> Response:
        """End the session of a refresh token, or believe an access token no more (RFC 7009)."""
        return await self._answer(self._endpoints.revoke(await _asked(request)))

    async def sessions(self, claims: Claims | None) -> Response:
        """The sessions of who asks."""
        return await self._answer(self._endpoints.sessions(claims))

    async def introspect(self, request: Request) -> Response:
        """What an access token says, if it is believed now (RFC 7662)."""
        return await self._answer(self._endpoints.introspect(await _asked(request)))

    async def jwks(self, request: Request) -> Response:
        """The keys with which access tokens are verified."""
        status, headers, body = self._tokens.jwks.answer(", ".join(request.headers.getlist("if-none-match")) or None)
        return _response(status, body, [(name.decode(), value.decode()) for name, value in headers])

    async def _answer(self, serving: Serving) -> Response:
        try:
            answer = await self._drive(serving)
        except LockwatchError as error:
            answer = endpoints.refused(error)
        return _response(answer.status, answer.body, answer.all_headers())

    async def _drive(self, serving: Serving) -> Answer:
        try:
            ask = next(serving)
            while True:
                try:
                    said = await getattr(self._tokens, ask.method)(ask.argument, **ask.options)
                except LockwatchError as error:
                    ask = serving.throw(error)
                else:
                    ask = serving.send(said)
        except StopIteration as stop:
            answer: Answer = stop.value
            return answer


async def _asked(request: Request) -> Asked:
    """The request, no more of its body read than an endpoint takes."""
    body, too_long = await Reading(request.receive, endpoints.MAX_BODY).read(request.scope)
    return Asked(request.headers, request.headers.getlist("authorization"), body, too_long)


def _response(status: int, body: bytes, headers: list[tuple[str, str]]) -> Response:
    response = Response(body, status)
    for name, value in headers:
        if name == "set-cookie":
            response.headers.append(name, value)
        else:
            response.headers[name] = value
    return response
