"""What the endpoints for tokens read and answer, whatever the framework. Pure.

Errors are those of OAuth 2.0 (RFC 6749, section 5.2). Whatever is wrong with a refresh token, the answer is one and the same: who
guesses learns nothing. While the store is down nothing is known: that answer is no refusal, and no cookie goes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final
from urllib.parse import parse_qsl

from lockwatch.errors import LockwatchError, RefreshRefused, RefreshThrottled, StoreError
from lockwatch.tokens.claims import Claims
from lockwatch.tokens.encoding import read_object
from lockwatch.tokens.outcomes import Session
from lockwatch.tokens.pair import TokenPair

MAX_BODY: Final = 16_384
"""Bytes of a body that are read: twice the longest token."""
RETRY_AFTER: Final = 1
"""Seconds after which a client may ask again that got no decision."""
_JSON: Final = "application/json"
_FORM: Final = "application/x-www-form-urlencoded"
WRITE_JSON: Final = 'send {"refresh_token": "..."} as application/json'
"""What to say to a client that sent no refresh token."""
_WRITE_FORM: Final = "send token=... once, as application/x-www-form-urlencoded"
_INVALID_GRANT: Final = "the refresh token is expired, revoked or not valid here; log in again"
_LATER: Final = "try again later"


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: status, headers and body. It is not to be kept by anybody (RFC 6749, section 5.1).

    Attributes:
        headers: beside `Content-Type`, lower case.
        body: JSON, or nothing.
    """

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()

    def setting(self, cookie: str) -> Answer:
        """The same, with a `Set-Cookie`."""
        return replace(self, headers=(*self.headers, ("set-cookie", cookie)))

    def all_headers(self) -> list[tuple[str, str]]:
        """Every header of the response."""
        described = [("content-type", _JSON)] if self.body else []
        return [*described, ("cache-control", "no-store"), *self.headers]


class Unreadable(LockwatchError):
    """A request that cannot be understood (RFC 6749, section 5.2: invalid_request). The text says what to send."""

    code = "invalid_request"
    status = 400

    def __init__(self, message: str, status: int = 400) -> None:
        self.status = status
        super().__init__(message)


def token_in_json(body: bytes, content_type: str) -> str | None:
    """The `refresh_token` of a JSON object; None for an empty body. Raises: Unreadable."""
    if not body:
        return None
    if _kind(content_type) != _JSON:
        raise Unreadable(WRITE_JSON)
    try:
        found = read_object(body)
    except ValueError:
        raise Unreadable(WRITE_JSON) from None
    token = found.get("refresh_token")
    if token is not None and not isinstance(token, str):
        raise Unreadable(WRITE_JSON)
    return token


def token_in_form(body: bytes, content_type: str) -> str:
    """The `token` of a form (RFC 7009, section 2.1; RFC 7662, section 2.1). Raises: Unreadable."""
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=8)
    except ValueError:
        raise Unreadable(_WRITE_FORM) from None
    tokens = [value for name, value in pairs if name == "token"]
    if _kind(content_type) != _FORM or len(tokens) != 1 or not tokens[0]:
        raise Unreadable(_WRITE_FORM)
    return tokens[0]


def issued(pair: TokenPair, cookie: str | None = None) -> Answer:
    """The next tokens. The refresh token is in the `Set-Cookie` alone, where there is one: no script has to see it."""
    if cookie is None:
        return _json(200, asdict(pair))
    return _json(200, {name: value for name, value in asdict(pair).items() if name != "refresh_token"}).setting(cookie)


def refused(error: LockwatchError) -> Answer:
    """What an error is over HTTP. One about an access token is raised again: it is answered as everywhere; so is any other."""
    if isinstance(error, StoreError):
        return _undecided(503)
    if isinstance(error, RefreshThrottled):
        return _undecided(429)
    if isinstance(error, RefreshRefused):
        return _error(400, "invalid_grant", _INVALID_GRANT)
    if isinstance(error, Unreadable):
        return _error(error.status, error.code, str(error))
    raise error


def ended() -> Answer:
    """Logged out, whoever was."""
    return Answer(204)


def revoked() -> Answer:
    """The token is worth nothing any more, or never was (RFC 7009, section 2.2)."""
    return Answer(200)


def listed(sessions: Iterable[Session], current: str | None) -> Answer:
    """The sessions of a subject, the one used last first; `current` is the one that asks."""
    newest_first = sorted(sessions, key=lambda session: session.used_at, reverse=True)
    return _json(200, {"sessions": [_session(session, current) for session in newest_first]})


def introspected(claims: Claims | None) -> Answer:
    """What an access token says, or only that it is not active (RFC 7662, section 2.2)."""
    if claims is None:
        return _json(200, {"active": False})
    return _json(200, {**claims, "active": True, "token_type": "Bearer"})


def _session(session: Session, current: str | None) -> dict[str, Any]:
    return {
        "id": session.id,
        "created_at": int(session.created_at),
        "used_at": int(session.used_at),
        "expires_at": int(session.expires_at),
        "current": session.id == current,
        "device": dict(session.device),
    }


def _undecided(status: int) -> Answer:
    return _error(status, "temporarily_unavailable", _LATER, (("retry-after", str(RETRY_AFTER)),))


def _error(status: int, name: str, text: str, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    return Answer(status, _text({"error": name, "error_description": text}), headers)


def _json(status: int, value: Mapping[str, Any]) -> Answer:
    return Answer(status, _text(value))


def _text(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _kind(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()
