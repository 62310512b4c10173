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

from lockwatch.errors.base import (
    AuditUnreachable,
    CallFailed,
    ConfigurationError,
    CursorError,
    EvidenceError,
    InvalidWebhook,
    IssuerError,
    LockwatchError,
    SinkError,
    StoreError,
    StoreFull,
    StoreRefused,
    StoreTimeout,
    UnsafeStep,
)
from lockwatch.errors.refusals import (
    OUTAGES,
    AuditUnavailable,
    Banned,
    RateLimited,
    RequestRefused,
    StepUpRequired,
    StoreUnavailable,
    outage,
    refusal,
)
from lockwatch.errors.tokens import (
    TOKEN_FAULTS,
    CrossSite,
    InsufficientScope,
    InvalidRequest,
    KeysUnavailable,
    MissingToken,
    RefreshRefused,
    RefreshThrottled,
    RevocationUnknown,
    SessionsFull,
    StaleLogin,
    TokenError,
)

__all__ = [
    "OUTAGES",
    "TOKEN_FAULTS",
    "AuditUnavailable",
    "AuditUnreachable",
    "Banned",
    "CallFailed",
    "ConfigurationError",
    "CrossSite",
    "CursorError",
    "EvidenceError",
    "InsufficientScope",
    "InvalidRequest",
    "InvalidWebhook",
    "IssuerError",
    "KeysUnavailable",
    "LockwatchError",
    "MissingToken",
    "RateLimited",
    "RefreshRefused",
    "RefreshThrottled",
    "RequestRefused",
    "RevocationUnknown",
    "SessionsFull",
    "SinkError",
    "StaleLogin",
    "StepUpRequired",
    "StoreError",
    "StoreFull",
    "StoreRefused",
    "StoreTimeout",
    "StoreUnavailable",
    "TokenError",
    "UnsafeStep",
    "outage",
    "refusal",
]
