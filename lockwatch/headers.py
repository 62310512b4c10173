"""What lockwatch says over HTTP: quota headers and problem bodies, one renderer for both frameworks.

`RateLimit-Policy` and `RateLimit` follow draft-ietf-httpapi-ratelimit-headers-11, bodies RFC 9457 with that draft's problem types.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import ceil
from typing import Any, Final, Literal, TypeAlias

from lockwatch.errors import AuditUnavailable, Banned, RateLimited, RequestRefused, StepUpRequired
from lockwatch.limits.decision import Decision
from lockwatch.limits.grammar import Limit

Dialect: TypeAlias = Literal["draft-11", "x", "both", "off"]
DIALECTS: Final = ("draft-11", "x", "both", "off")
RawHeaders: TypeAlias = list[tuple[bytes, bytes]]

PROBLEM: Final = b"application/problem+json"
QUOTA_EXCEEDED: Final = "https://iana.org/assignments/http-problem-types#quota-exceeded"
REDUCED_CAPACITY: Final = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
NAMES: Final = (
    "RateLimit-Policy",
    "RateLimit",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "Retry-After",
)


def quota_headers(decisions: Sequence[Decision], dialect: str, now: float) -> RawHeaders:
    """The quota headers of a response. `now` is the epoch time; decisions made without the store say nothing."""
    if len(decisions) == 1:  # what most responses have
        decision = decisions[0]
        return [] if decision.degraded else _told(_item(decision), _left(decision), decision, dialect, now)
    told = [d for d in decisions if not d.degraded]
    if not told:
        return []
    binding = _binding([d for d in told if not d.shadow] or told)
    return _told(b", ".join(map(_item, told)), b", ".join(map(_left, told)), binding, dialect, now)


def _item(decision: Decision) -> bytes:
    return b'"%b"%b' % (decision.policy.encode(), decision.limit.parameters)


def _left(decision: Decision) -> bytes:
    return b'"%b";r=%d;t=%d' % (decision.policy.encode(), decision.remaining, ceil(decision.next_after))


def _told(policies: bytes, left: bytes, binding: Decision, dialect: str, now: float) -> RawHeaders:
    draft = [(b"ratelimit-policy", policies), (b"ratelimit", left)] if dialect in ("both", "draft-11") else []
    if dialect not in ("both", "x"):
        return draft
    wait = binding.reset_after if binding.allowed or binding.shadow else binding.retry_after or binding.reset_after
    return [
        *draft,
        (b"x-ratelimit-limit", binding.limit.digits),
        (b"x-ratelimit-remaining", b"%d" % binding.remaining),
        (b"x-ratelimit-reset", b"%d" % ceil(now + wait)),
    ]


def retry_after(refusal: RequestRefused) -> int | None:
    """Whole seconds for Retry-After: at least 1, rounded up; None when waiting does not help."""
    seconds = refusal.retry_after
    return None if seconds is None else max(1, ceil(seconds))


def problem(refusal: RequestRefused, dialect: str, now: float) -> tuple[int, RawHeaders, bytes]:
    """Status, headers and body of the answer to a refused request."""
    wait = retry_after(refusal)
    forbidden = isinstance(refusal, Banned | StepUpRequired)
    body = json.dumps(_forbidden(refusal, wait) if forbidden else _body(refusal, wait), separators=(",", ":")).encode()
    headers: RawHeaders = [
        (b"content-type", PROBLEM),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    if wait is not None:
        headers.append((b"retry-after", b"%d" % wait))
    return refusal.status, headers + quota_headers(refusal.decisions, dialect, now), body


def _forbidden(refusal: RequestRefused, wait: int | None) -> dict[str, Any]:
    """What is said to whom no limit refuses. It does not say what the client did to deserve it."""
    if isinstance(refusal, StepUpRequired):
        title, detail = "Further proof of identity is required", "this login has to be confirmed by another factor"
    else:
        title, detail = "Forbidden", "requests of this client are refused for a while"
    body = {"type": "about:blank", "title": title, "status": refusal.status, "detail": detail, "error": refusal.code}
    if isinstance(refusal, StepUpRequired):
        return body | {"reason": refusal.reason, "campaign": refusal.campaign}
    return body | {"retry_after": wait, "decision": refusal.decision_id}


def _body(refusal: RequestRefused, wait: int | None) -> dict[str, Any]:
    limited = isinstance(refusal, RateLimited)
    violated = refusal.violated
    seconds = "1 second" if wait == 1 else f"{wait} seconds"
    again = f"try again in {seconds}" if wait is not None else "this request asks for more than the whole quota"
    title = (
        "Request cannot be satisfied as assigned quota has been exceeded"
        if limited
        else "Request cannot be satisfied due to temporary server capacity constraints"
    )
    detail = f"{_prose(violated[0].limit)} used up; {again}" if limited else f"{_missing(refusal)} now; {again}"
    return {
        "type": QUOTA_EXCEEDED if limited else REDUCED_CAPACITY,
        "title": title,
        "status": refusal.status,
        "detail": detail,
        "violated-policies": [d.policy for d in violated],
        "error": refusal.code,
        "retry_after": wait,
        "decision": refusal.decision_id,
    }


def _missing(refusal: RequestRefused) -> str:
    if isinstance(refusal, AuditUnavailable):
        return "the audit log cannot be reached"
    return "rate limits cannot be checked" if refusal.decisions else "what is stored cannot be reached"


def _prose(limit: Limit) -> str:
    if limit.concurrent:
        return f"{limit.amount} requests at once"
    return f"{limit.amount} per {limit.spelled_window.replace('-', ' ')}"


def _binding(decisions: Sequence[Decision]) -> Decision:
    """The violated policy that takes longest, else the one with the least left relative to its quota."""
    violated = [d for d in decisions if d.refuses]
    if violated:
        return max(violated, key=lambda d: float("inf") if d.retry_after is None else d.retry_after)
    return min(decisions, key=lambda d: d.remaining / (d.limit.amount or 1))
