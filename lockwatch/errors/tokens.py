"""Why a token is not accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lockwatch.errors.base import LockwatchError

if TYPE_CHECKING:
    from collections.abc import Iterable

TOKEN_FAULTS: Final = {
    "malformed": "the token is not a signed token in compact, canonical form",
    "too_large": "the token is longer than a token may be",
    "wrong_algorithm": "the token is signed with an algorithm that is not the one of its key",
    "unknown_key": "the token is signed with a key that is not in use",
    "bad_signature": "the signature of the token is wrong",
    "wrong_type": "the token is of another kind than is asked for here",
    "wrong_issuer": "the token is from another issuer",
    "wrong_audience": "the token is for another audience",
    "expired": "the token has expired",
    "not_yet_valid": "the token is not valid yet",
    "invalid_claim": "a claim of the token is missing, or of the wrong form",
    "revoked": "the token was revoked",
    "unknown_session": "the token belongs to no session",
    "reused": "the refresh token was used before, so its session has ended",
    "throttled": "the refresh token was repeated too often",
    "too_many_sessions": "the subject has as many sessions as it may",
    "invalid_request": "the request has credentials in two places, or credentials that are not of the form 'Bearer TOKEN'",
    "insufficient_scope": "the token does not reach for this",
    "insufficient_user_authentication": "the user has to log in again for this",
    "keys_unavailable": "the keys to check the token with are not here yet",
    "missing_token": "there is no token",
    "revocation_unknown": "it cannot be known now whether the token was revoked",
    "csrf_token": "a request that changes something and shows a cookie has to show the CSRF token of its session too",
    "csrf_origin": "the request comes from another origin",
}
"""What may be wrong with a token, by code. The texts are fixed: nothing from a token is ever quoted."""


class TokenError(LockwatchError, ValueError):
    """A token is not accepted. `code` is one of `TOKEN_FAULTS` and is for logs: every answer says no more than `invalid_token`."""

    code = "invalid_token"
    status = 401

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(TOKEN_FAULTS[code])


class InvalidRequest(TokenError):
    """The credentials of a request cannot be read: 400 (RFC 6750, section 3.1)."""

    status = 400

    def __init__(self) -> None:
        super().__init__("invalid_request")


class MissingToken(TokenError):
    """There is no token where one is needed: 401, without an error in the challenge (RFC 6750, section 3.1)."""

    def __init__(self) -> None:
        super().__init__("missing_token")


class CrossSite(TokenError):
    """A cookie came with a request that another site may have made: 403."""

    status = 403


class RevocationUnknown(TokenError):
    """The store does not answer, so nobody knows whether the token was revoked: 503. It says nothing about the token."""

    status = 503

    def __init__(self) -> None:
        super().__init__("revocation_unknown")


class InsufficientScope(TokenError):
    """A token is good, but lacks a scope or a role: 403. `scopes` is what would be needed."""

    status = 403

    def __init__(self, scopes: Iterable[str] = ()) -> None:
        self.scopes = tuple(scopes)
        super().__init__("insufficient_scope")


class StaleLogin(TokenError):
    """The login behind a token is too long ago: 401 (RFC 9470). `max_age` is in seconds."""

    def __init__(self, max_age: float) -> None:
        self.max_age = max_age
        super().__init__("insufficient_user_authentication")


class KeysUnavailable(TokenError):
    """The keys of the token's issuer are not here: 503. It says nothing about the token."""

    status = 503

    def __init__(self) -> None:
        super().__init__("keys_unavailable")


class RefreshRefused(TokenError):
    """A refresh token is not accepted: 400. Whatever `code` says, every answer says no more than `invalid_grant`."""

    status = 400


class RefreshThrottled(RefreshRefused):
    """A refresh token was repeated too often in a moment. Its session goes on: 429."""

    status = 429

    def __init__(self) -> None:
        super().__init__("throttled")


class SessionsFull(TokenError):
    """The subject has as many sessions as it may, and none makes room: 403."""

    status = 403

    def __init__(self) -> None:
        super().__init__("too_many_sessions")
