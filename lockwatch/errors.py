"""Every error lockwatch raises. Standard library only.

    LockwatchError
     +- ConfigurationError     a setting, a limit or a URL that cannot work (also a ValueError)
     +- StoreError             the store did not answer, or answered with an error
     |   +- StoreTimeout       it did not answer within the deadline
     |   +- StoreRefused       it is there, and answered with an error
     |       +- StoreFull      it has no memory left
     |       +- CallFailed     this call alone failed, the store works
     +- RequestRefused         a request lockwatch answers itself
         +- RateLimited        429: a quota is exhausted
         +- StoreUnavailable   503: the store is down and the policy says deny

`code` is stable and machine-readable; `status` is the HTTP status an error answers with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lockwatch.limits.decision import Decision


class LockwatchError(Exception):
    """Base of every error raised by lockwatch."""

    code: ClassVar[str] = "lockwatch_error"
    status: ClassVar[int] = 500


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


def refusal(decisions: Sequence[Decision]) -> RequestRefused:
    """The error that stands for refusing decisions: 503 when one refuses because the store is down, else 429."""
    return StoreUnavailable(decisions) if any(d.unavailable for d in decisions) else RateLimited(decisions)
