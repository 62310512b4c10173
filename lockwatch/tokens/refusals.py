"""The answer to a request whose token is not accepted, the same for both frameworks. Pure.

Challenges follow RFC 6750 and RFC 9470, bodies RFC 9457.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Final

from lockwatch.errors import CrossSite, InsufficientScope, InvalidRequest, MissingToken, RefreshRefused, StaleLogin, TokenError
from lockwatch.headers import PROBLEM, RawHeaders
from lockwatch.tokens.access_cookie import CSRF, HEADER
from lockwatch.tokens.bearer import challenge

RETRY_AFTER: Final = 1
"""Seconds after which to ask again for what could not be decided."""
_DETAILS: Final = {
    "missing_token": "send a token, as Authorization: Bearer TOKEN",
    "invalid_token": "the token is expired, revoked or not valid here",
    "csrf_token": f"send the value of the cookie {CSRF} as the header {HEADER}, or the token as Authorization: Bearer TOKEN",
    "csrf_origin": "cookies are taken from pages of this origin only; elsewhere, send the token as Authorization: Bearer TOKEN",
    "invalid_grant": "the refresh token is not valid; log in again",
}


def public_name(error: TokenError) -> str:
    """What a client may know of an error: of a token that is not good, no more than that."""
    if isinstance(error, RefreshRefused):
        return "invalid_grant"
    known = error.status != 401 or isinstance(error, MissingToken | InsufficientScope | StaleLogin | InvalidRequest)
    return error.code if known else "invalid_token"


def token_problem(error: TokenError) -> tuple[int, RawHeaders, bytes]:
    """Status, headers and body of the answer. Nobody may keep it."""
    name = public_name(error)
    title = HTTPStatus(error.status).phrase
    detail = _DETAILS.get(name, str(error))
    members = {"type": "about:blank", "title": title, "status": error.status, "detail": detail, "error": name}
    if isinstance(error, InsufficientScope) and error.scopes:
        members["scope"] = " ".join(error.scopes)
    body = json.dumps(members, separators=(",", ":")).encode()
    headers: RawHeaders = [
        (b"content-type", PROBLEM),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    if error.status == 503:
        headers.append((b"retry-after", b"%d" % RETRY_AFTER))
    elif not isinstance(error, CrossSite | RefreshRefused):
        asked = challenge(None if isinstance(error, MissingToken) else error)
        headers += [(b"www-authenticate", asked.encode())] if asked else []
    return error.status, headers, body
