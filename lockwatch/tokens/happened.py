"""What became of tokens, as events: for the audit log, for alerts, and for `on_event`. Pure.

They name sessions and subjects, and never hold a token.
"""

from __future__ import annotations

from typing import Any, Final

from lockwatch.event import AUTH, Event
from lockwatch.tokens.outcomes import Issued, Outcome, Reason, Revocation, Rotation

ISSUED: Final = "token.issued"
REFRESHED: Final = "token.refreshed"
REUSED: Final = "token.reused"
REVOKED: Final = "token.revoked"
_WHY: Final = {
    Outcome.THROTTLED: "the refresh token was sent too often",
    Outcome.HEALED: "the store had lost the rotation before",
    Outcome.REVOKED: "the session had ended",
    Outcome.EXPIRED: "the session had expired",
    Outcome.UNKNOWN: "there is no such session",
}
_THEFT: Final = {
    Reason.REUSE_RECENT: "the refresh token had been used before: two parties hold copies, and the session has ended",
    Reason.REUSE_STALE: "a refresh token from long ago came: two parties hold copies, and the session has ended",
    Reason.FORK: "a refresh token came that should not exist: two parties hold copies, and the session has ended",
}


def issued(subject: str, found: Issued, now: float) -> Event:
    """A login, or one that was refused because there were too many."""
    if found.outcome is Outcome.FULL:
        return _event(ISSUED, now, outcome="refused", user=subject, reasons=("the subject has as many sessions as it may",))
    return _event(ISSUED, now, user=subject, session=found.session, details={"evicted": list(found.evicted)})


def refreshed(found: Rotation, now: float) -> Event | None:
    """A refresh; None for a token that is none of ours: whoever sends one tells nothing of anybody."""
    if not found.session:
        return None
    details: dict[str, Any] = {
        "outcome": found.outcome.name.lower(),
        "generation": found.generation,
        "seconds_since_rotation": round(found.since, 1),
    }
    if found.outcome is Outcome.REUSE:
        details |= {"reason": found.reason.name.lower(), "last_device": dict(found.device)}
    why = _THEFT.get(found.reason) if found.outcome is Outcome.REUSE else _WHY.get(found.outcome)
    return _event(
        REUSED if found.outcome is Outcome.REUSE else REFRESHED,
        now,
        outcome="success" if found.outcome.renewed else "refused",
        user=None if found.grant is None else found.grant.subject,
        session=found.session,
        reasons=(why,) if why else (),
        details=details,
    )


def revoked(what: str, target: str | None, found: Revocation | None, now: float, *, user: str | None = None) -> Event:
    """A revocation; None for one that the store did not confirm, which is said to it again.

    Args:
        what: ``session``, ``subject`` or ``access_token``.
        target: the id of the session or of the access token.
        user: the subject, where all its sessions ended.
    """
    ended = () if found is None else found.sessions
    details: dict[str, Any] = {"what": what, "ended": list(ended)}
    if found is None or found.durable is not None:
        details["durable"] = None if found is None else found.durable
    return _event(
        REVOKED,
        now,
        outcome="success" if found is not None else "failure",
        user=user,
        session=target if what == "session" else None,
        target=target,
        reasons=() if found is not None else ("the store did not answer; it is told again when it does",),
        details=details,
    )


def _event(action: str, now: float, **said: Any) -> Event:
    return Event(time_us=round(now * 1_000_000), kind=AUTH, action=action, **said)
