"""Why a request is admitted or refused, policy by policy: the shapes of an explanation, and what is worth a note."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lockwatch.limits.declaration import Declaration
from lockwatch.limits.grammar import Limit
from lockwatch.limits.survey import Counted, Route, Usage


@dataclass(frozen=True, slots=True)
class KeyParts:
    """How the key of a bucket is made; `subject` is a keyed hash."""

    namespace: str
    schema: str
    algorithm: str
    subject: str
    policy: str
    scope: str

    @classmethod
    def of(cls, key: str) -> KeyParts:
        """Take a key apart."""
        head, _, rest = key.partition(":{")
        subject, _, bucket = rest.partition("}:")
        namespace, schema, algorithm = head.rsplit(":", 2)
        policy, _, scope = bucket.partition(":")
        return cls(namespace, schema, algorithm, subject, policy, scope)


@dataclass(frozen=True, slots=True)
class Explained:
    """One policy of a plan, in the place it has there.

    Attributes:
        policy: its name.
        origin: where it was declared, as far as that is known.
        counts_by: the key function.
        key: how the bucket's key is made; None where it cannot be computed.
        usage: what is used of it; None where it was not looked at.
        allowed: whether it would admit the request now; None where it was not looked at.
        refuses: whether it would refuse it, which a shadow policy never does.
        notes: what else there is to know.
    """

    policy: str
    origin: str
    counts_by: str
    key: KeyParts | None
    usage: Usage | None
    allowed: bool | None
    refuses: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a request on one route would get now.

    Attributes:
        route: method and template.
        subjects: whom it would be counted against.
        mode: ``enforce``, ``observe`` or ``off``.
        store: where buckets live.
        policies: in the order they are decided.
        refused_by: names of the policies that would refuse.
        retry_after: seconds until all would admit; 0 when they would now, None when waiting does not help.
        notes: what else there is to know.
    """

    route: str
    subjects: tuple[str, ...] = field(repr=False)
    mode: str
    store: str
    policies: tuple[Explained, ...]
    refused_by: tuple[str, ...]
    retry_after: float | None
    notes: tuple[str, ...] = ()


class Uncounted(NamedTuple):
    """A policy whose bucket is not known, and why."""

    route: Route
    declaration: Declaration
    policy: str
    why: str


def notes_on(route: Route, mode: str, exempt: bool) -> tuple[str, ...]:
    """What there is to know about a request as a whole; `exempt` says that its address is."""
    notes = []
    if exempt:
        notes.append("nothing is limited for this address: it is among exempt_networks")
    if route.plan.exempt:
        notes.append("the endpoint is exempt from every limit")
    elif not (route.plan.steps or route.plan.later):
        notes.append("no limit applies to this route")
    if mode == "observe":
        notes.append("mode is observe: refusals are reported, no request is refused")
    if mode == "off":
        notes.append("mode is off: no limit is decided")
    return tuple(notes)


def notes_about(row: Counted) -> Iterator[str]:
    """What there is to know about one policy, beside its numbers."""
    d, policy = row.declaration, row.charge.policy
    if row.tier:
        yield f"for the tier {row.tier!r}"
    if policy.shadow:
        yield "shadow: reports, never refuses"
    if policy.role == "penalty":
        yield "charged by refusals of the others"
    if policy.role == "look":
        yield "charged by answers of 401 and 403"
    if d.counts is not None:
        yield "given back when the response does not count"
    if callable(d.cost):
        yield f"its cost is decided per request, by {name_of(d.cost)}; 1 is assumed here"
    if d.exempt_when is not None:
        yield f"unless {name_of(d.exempt_when)} exempts the request"
    if d.late:
        yield "decided when the body has been read"
    yield f"when the store fails: {policy.on_store_error}"


def limit_data(limit: Limit) -> dict[str, Any]:
    """A limit as plain data."""
    return {"amount": limit.amount, "window": limit.window or None, "burst": limit.burst, "concurrent": limit.concurrent}


def spelled(limit: Limit) -> str:
    """``100 per minute``."""
    return limit.slug.replace("-", " ")


def name_of(function: object) -> str:
    """A function as its author calls it."""
    found = getattr(getattr(function, "dependency", function), "__qualname__", None)
    return found if isinstance(found, str) else repr(function)[:100]
