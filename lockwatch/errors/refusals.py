"""Requests that lockwatch answers itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lockwatch.errors.base import AuditUnreachable, LockwatchError, SinkError, StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lockwatch.limits.decision import Decision


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
