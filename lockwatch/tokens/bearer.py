"""Bearer tokens over HTTP (RFC 6750): reading credentials, and the challenge of an answer that refuses them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from lockwatch.errors import InsufficientScope, InvalidRequest, KeysUnavailable, StaleLogin, TokenError

_DESCRIPTIONS: Final = {
    "invalid_request": "give one token, as Authorization: Bearer TOKEN",
    "invalid_token": "the token is expired, revoked or not valid here",
    "insufficient_scope": "the token does not reach for this",
    "insufficient_user_authentication": "log in again",
}
"""One fixed text for each error of the challenge: a client learns no more about a token than that it is refused."""
SUBPROTOCOL: Final = "bearer"
"""The WebSocket subprotocol that says that the next one is a token."""
_UNQUOTABLE: Final = re.compile(r"[^\x20-\x7e]")
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")


def bearer_token(authorization: Sequence[str]) -> str | None:
    """The token in the `Authorization` headers of a request; None when there are no bearer credentials.

    Raises: InvalidRequest when there are several headers, or one that says Bearer and has no token after it.
    """
    if not authorization:
        return None
    if len(authorization) > 1:
        raise InvalidRequest
    scheme, _, token = authorization[0].strip(" \t").partition(" ")
    if scheme.lower() != "bearer":
        return None
    token = token.strip(" \t")
    if not token or " " in token or "\t" in token or "," in token:
        raise InvalidRequest
    return token


def subprotocol_token(protocols: Sequence[str]) -> str | None:
    """The token among the subprotocols that a WebSocket offers, as browsers can send it: ``bearer``, then the token.

    Raises: InvalidRequest when ``bearer`` is offered without a token after it.
    """
    if not offers_bearer(protocols):
        return None
    offered = _offered(protocols)
    position = offered.index(SUBPROTOCOL) + 1
    if position == len(offered) or not offered[position]:
        raise InvalidRequest
    return offered[position]


def offers_bearer(protocols: Sequence[str]) -> bool:
    """Whether a WebSocket offers the subprotocol `SUBPROTOCOL`."""
    return SUBPROTOCOL in _offered(protocols)


def _offered(protocols: Sequence[str]) -> list[str]:
    return [name.strip(" \t") for line in protocols for name in line.split(",")]


def challenge(error: TokenError | None, realm: str = "api", scopes: Sequence[str] = ()) -> str | None:
    """The value of `WWW-Authenticate`; None where there is nothing to challenge.

    Without an error, for a request that had no credentials, it names none (RFC 6750, section 3.1). A login that is too long ago is
    told as RFC 9470 has it.
    """
    if isinstance(error, KeysUnavailable):
        return None
    said = [("realm", realm)]
    if error is not None:
        name = error.code if error.code in _DESCRIPTIONS else "invalid_token"
        said += [("error", name), ("error_description", _DESCRIPTIONS[name])]
    if isinstance(error, InsufficientScope):
        scopes = error.scopes
    words = [scope for scope in scopes if _SCOPE.fullmatch(scope)]
    if words and (error is None or isinstance(error, InsufficientScope)):
        said.append(("scope", " ".join(words)))
    if isinstance(error, StaleLogin):
        said.append(("max_age", str(int(error.max_age))))
    return "Bearer " + ", ".join(f"{name}={_quoted(value)}" for name, value in said)


def _quoted(value: str) -> str:
    """A quoted-string (RFC 9110, section 5.6.4) that can end neither itself nor the header."""
    plain = _UNQUOTABLE.sub("?", value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{plain}"'
