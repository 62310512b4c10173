"""`lockwatch.auth_blueprint()`: the endpoints of sessions, for `app.register_blueprint`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from flask import Blueprint, Response, g, request

from lockwatch.errors import LockwatchError
from lockwatch.tokens import endpoints
from lockwatch.tokens.endpoints import MAX_BODY, Answer
from lockwatch.tokens.manager import Loader
from lockwatch.tokens.refresh_cookie import RefreshCookie
from lockwatch.tokens.serving import Asked, Endpoints, Serving

if TYPE_CHECKING:
    from lockwatch_flask.extension import LockWatch

WELL_KNOWN: Final = "/.well-known/jwks.json"


def auth_blueprint(
    lockwatch: LockWatch,
    *,
    prefix: str = "/auth",
    load_claims: Loader | None = None,
    cookie: RefreshCookie | None = None,
    access_cookies: bool = False,
    access: Callable[[Any], Any] | None = None,
    introspection: Callable[[Any], Any] | None = None,
    name: str = "lockwatch_auth",
) -> Blueprint:
    """The endpoints of sessions: refresh, logout, logout everywhere, revocation (RFC 7009), a list of sessions, and the key set.

    Args:
        lockwatch: whose application issues and checks the tokens.
        prefix: of every path but that of the key set.
        load_claims: a plain function of the subject, asked at every refresh for its claims now; None as an answer ends the session.
            It takes the place of the one `LockWatch` has.
        cookie: where browsers keep refresh tokens. A refresh token in the body goes first, and touches no cookie.
        access_cookies: whether a refresh with that cookie renews the access cookies too, and a logout takes them away.
        access: a decorator for the routes about all sessions of a subject, which leaves the claims of who asks in `g.jwt_claims`;
            ``lockwatch.jwt_required()`` unless you say otherwise.
        introspection: a decorator that lets in who may ask about the tokens of others. Only with it there is an endpoint for that
            (RFC 7662).
        name: of the blueprint.

    Raises: ConfigurationError, for a cookie that browsers would not send to these paths.
    """
    if cookie is not None:
        cookie.check(prefix)
    serving = _Serving(lockwatch, Endpoints(lambda: lockwatch.tokens, load_claims, cookie, access_cookies))
    blueprint, known = Blueprint(name, __name__), access or lockwatch.jwt_required()

    def add(path: str, view: Callable[[], Response], method: str, guard: Callable[[Any], Any] | None = None) -> None:
        endpoint = view.__name__

        def plain() -> Response:
            return view()

        plain.__name__ = plain.__qualname__ = endpoint
        blueprint.add_url_rule(path, endpoint, plain if guard is None else guard(plain), methods=[method])

    add(f"{prefix}/refresh", serving.refresh, "POST")
    add(f"{prefix}/logout", serving.logout, "POST")
    add(f"{prefix}/logout-all", serving.logout_all, "POST", known)
    add(f"{prefix}/revoke", serving.revoke, "POST")
    add(f"{prefix}/sessions", serving.sessions, "GET", known)
    if introspection is not None:
        add(f"{prefix}/introspect", serving.introspect, "POST", introspection)
    add(WELL_KNOWN, serving.jwks, "GET")
    return blueprint


class _Serving:
    """The endpoints. They read and ask; what is asked and answered is decided in `lockwatch.tokens.serving`."""

    def __init__(self, lockwatch: LockWatch, endpoints: Endpoints) -> None:
        self._lockwatch = lockwatch
        self._endpoints = endpoints

    def refresh(self) -> Response:
        """The next tokens of a session, for its refresh token."""
        return self._answer(self._endpoints.refresh(_asked()))

    def logout(self) -> Response:
        """End the session of a refresh token; without one, that of the access token."""
        return self._answer(self._endpoints.logout(_asked()))

    def logout_all(self) -> Response:
        """End every session of who asks."""
        return self._answer(self._endpoints.logout_all(g.get("jwt_claims")))

    def revoke(self) -> Response:
        """End the session of a refresh token, or believe an access token no more (RFC 7009)."""
        return self._answer(self._endpoints.revoke(_asked()))

    def sessions(self) -> Response:
        """The sessions of who asks."""
        return self._answer(self._endpoints.sessions(g.get("jwt_claims")))

    def introspect(self) -> Response:
        """What an access token says, if it is believed now (RFC 7662)."""
        return self._answer(self._endpoints.introspect(_asked()))

    def jwks(self) -> Response:
        """The keys with which access tokens are verified."""
        status, headers, body = self._lockwatch.tokens.jwks.answer(request.headers.get("if-none-match"))
        return _response(status, body, [(name.decode(), value.decode()) for name, value in headers])

    def _answer(self, serving: Serving) -> Response:
        try:
            answer = self._drive(serving)
        except LockwatchError as error:
            answer = endpoints.refused(error)
        return _response(answer.status, answer.body, answer.all_headers())

    def _drive(self, serving: Serving) -> Answer:
        tokens = self._lockwatch.tokens
        try:
            ask = next(serving)
            while True:
                try:
                    said = getattr(tokens, f"{ask.method}_sync")(ask.argument, **ask.options)
                except LockwatchError as error:
                    ask = serving.throw(error)
                else:
                    ask = serving.send(said)
        except StopIteration as stop:
            answer: Answer = stop.value
            return answer


def _asked() -> Asked:
    """The request, no more of its body read than an endpoint takes."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    too_long = (request.content_length or 0) > MAX_BODY
    body = b"" if too_long else _read(MAX_BODY + 1)
    return Asked(headers, request.headers.getlist("authorization"), body, too_long or len(body) > MAX_BODY)


def _read(most: int) -> bytes:
    parts, left = [], most
    while left and (part := request.stream.read(left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _response(status: int, body: bytes, headers: list[tuple[str, str]]) -> Response:
    response = Response(body, status)
    response.headers.clear()
    for name, value in headers:
        response.headers.add(name, value)
    response.headers["Content-Length"] = str(len(body))
    return response
