"""Every error lockwatch raises. Standard library only.

    LockwatchError
     +- ConfigurationError     a setting, a limit or a URL that cannot work (also a ValueError)
     +- StoreError             the store did not answer, or answered with an error
     |   +- StoreTimeout       it did not answer within the deadline
     |   +- StoreRefused       it is there, and answered with an error
     |       +- StoreFull      it has no memory left
     |       +- CallFailed     this call alone failed, the store works
     +- UnsafeStep             a step with signing keys that would break tokens still alive
     +- IssuerError            the keys of a third party could not be fetched
     +- InvalidWebhook         401: a webhook was not signed with the secret, or not lately
     +- SinkError              rows of the audit log could not be delivered; they are kept, and sent again
     +- EvidenceError          checkpoints of the audit log contradict each other, or the log
     +- AuditUnreachable       503: the audit log cannot be asked now
     +- CursorError            400: a cursor of the audit log is not one of ours (also a ValueError)
     +- TokenError             401: a token is not accepted (also a ValueError)
     |   +- InvalidRequest     400: credentials came twice, or are no bearer credentials
     |   +- InsufficientScope  403: the token is good, but not for this
     |   +- StaleLogin         401: the user has to log in again for this (RFC 9470)
     |   +- MissingToken       401: there is none
     |   +- CrossSite          403: a cookie came from another site, or without what shows that it did not
     |   +- RevocationUnknown  503: the store cannot say whether the token was revoked
     |   +- KeysUnavailable    503: the keys to check the token with are not here yet
     |   +- RefreshRefused     400: a refresh token is not accepted (RFC 6749: invalid_grant)
     |   |   +- RefreshThrottled   429: it was repeated too often
     |   +- SessionsFull       403: the subject has as many sessions as it may
     +- RequestRefused         a request lockwatch answers itself
         +- RateLimited        429: a quota is exhausted
         +- StoreUnavailable   503: the store is down and the policy says deny
         +- AuditUnavailable   503: what happens cannot be recorded, and `on_audit_failure` says deny
         +- Banned             403: the client is banned for a while
         +- StepUpRequired     403: a login has to prove more than a password, because it is under attack

`code` is stable and machine-readable; `status` is the HTTP status an error answers with. No message quotes a token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lockwatch.limits.decision import Decision


class LockwatchError(Exception):
    """Base of every error raised by lockwatch."""

    code: str = "lockwatch_error"
    status: int = 500


class ConfigurationError(LockwatchError, ValueError):
    """A setting cannot work. The message says which, where, and what a correct one looks like."""

    code = "configuration_error"


class StoreError(LockwatchError):
    """The store could not decide. The only error a failure policy (`on_store_error`) is applied to."""

    code = "store_error"
    status = 503


class StoreTimeout(StoreError):
    """The store did not answer within the deadline."""

    code = "store_timeout"


class StoreRefused(StoreError):
    """The store is there and answered that it cannot serve: a replica, a missing right, a cluster that is down."""

    code = "store_refused"


class StoreFull(StoreRefused):
    """The store has no memory left and evicts nothing."""

    code = "store_full"


class CallFailed(StoreRefused):
    """This call alone failed, because of what its keys hold or a bug of ours; the store works."""

    code = "call_failed"


class UnsafeStep(LockwatchError):
    """A step with signing keys would break tokens that are still alive.

    `earliest` is the epoch time from which it is safe; None when waiting does not help.
    """

    code = "unsafe_step"

    def __init__(self, message: str, earliest: float | None = None) -> None:
        self.earliest = earliest
        super().__init__(message)


class IssuerError(LockwatchError):
    """The keys of a third party could not be fetched, or are no keys. Keys fetched before go on being used."""

    code = "issuer_error"
    status = 503


class InvalidWebhook(LockwatchError):
    """A webhook was not signed with any of the secrets, or not lately. Answer it with 401, and do nothing else."""

    code = "invalid_webhook"
    status = 401


class SinkError(LockwatchError):
    """A sink of the audit log took none, or not all, of some rows. They are kept and sent again; no row is stored twice."""

    code = "sink_error"
    status = 503


class EvidenceError(LockwatchError):
    """Checkpoints of the audit log contradict each other or the log, or are not signed with the key they should be."""

    code = "evidence_error"


class AuditUnreachable(LockwatchError):
    """The database of the audit log did not answer a question: 503. Nothing is said about what is written to it."""

    code = "audit_unreachable"
    status = 503


class CursorError(LockwatchError, ValueError):
    """A cursor of the audit log is not one that a query gave, or was changed: 400."""

    code = "invalid_cursor"
    status = 400


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


class RequestRefused(LockwatchError):
    """A refusal with its evidence: every decision made for the request, the refusing ones among them."""

    def __init__(self, decisions: Sequence[Decision]) -> None:
        self.decisions = tuple(decisions)
        super().__init__(f"refused by {', '.join(d.policy for d in self.violated)}")

    @property
    def violated(self) -> tuple[Decision, ...]:
        """The decisions that refused, in the order the policies were declared."""
        return tuple(d for d in self.decisions if d.refuses)

    @property
    def retry_after(self) -> float | None:
        """Seconds until the request can succeed; None when waiting does not help."""
        waits = [d.retry_after for d in self.violated]
        return None if None in waits else max((w for w in waits if w is not None), default=0.0)

    @property
    def decision_id(self) -> str:
        """The id a 429 body carries, the same for all decisions of one request."""
        return self.decisions[0].id if self.decisions else ""


class RateLimited(RequestRefused):
    """A quota is exhausted: 429."""

    code = "rate_limit_exceeded"
    status = 429


class StoreUnavailable(RequestRefused):
    """The store is down and the policy says `deny`: 503."""

    code = "store_unavailable"
    status = 503


class AuditUnavailable(RequestRefused):
    """What happens cannot be recorded, and `on_audit_failure` says ``deny``: 503."""

    code = "audit_unavailable"
    status = 503

    def __init__(self) -> None:
        super().__init__(())


class Banned(RequestRefused):
    """The client is banned for a while: 403.

    Attributes:
        ban: id of the ban, as operators see it.
        seconds: until it ends.
    """

    code = "banned"
    status = 403

    def __init__(self, ban: str, seconds: float) -> None:
        self.ban = ban
        self.seconds = seconds
        super().__init__(())

    @property
    def retry_after(self) -> float | None:
        """Seconds until the ban ends."""
        return self.seconds

    @property
    def decision_id(self) -> str:
        """The id of the ban."""
        return self.ban


class StepUpRequired(RequestRefused):
    """A login has to prove more than a password, because accounts are under attack from networks their users never came from: 403.

    Attributes:
        campaign: id of the attack.
        reason: why, for programs: ``novel_network``.
    """

    code = "step_up_required"
    status = 403

    def __init__(self, campaign: str, reason: str = "novel_network") -> None:
        self.campaign = campaign
        self.reason = reason
        super().__init__(())

    @property
    def retry_after(self) -> float | None:
        """None: waiting does not help, proving more does."""
        return None

    @property
    def decision_id(self) -> str:
        """The id of the attack."""
        return self.campaign


def refusal(decisions: Sequence[Decision]) -> RequestRefused:
    """The error that stands for refusing decisions: 503 when one refuses because the store is down, else 429."""
    return StoreUnavailable(decisions) if any(d.unavailable for d in decisions) else RateLimited(decisions)


OUTAGES: Final = (StoreError, SinkError, AuditUnreachable)
"""What an endpoint may meet that asks the store or the audit log itself."""


def outage(error: Exception) -> RequestRefused:
    """The refusal that stands for one of `OUTAGES` in an endpoint: 503, which says nothing of where the store is."""
    return StoreUnavailable(()) if isinstance(error, StoreError) else AuditUnavailable()
