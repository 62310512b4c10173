"""What goes wrong with settings, stores, keys and the audit log."""

from __future__ import annotations


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
