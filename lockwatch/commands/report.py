"""What the `limits` commands print: aligned tables for people, plain data for programs. API keys appear in neither."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from math import ceil
from typing import Any

from lockwatch.limits.explanation import Explained, Explanation, KeyParts, limit_data, spelled
from lockwatch.limits.survey import Usage
from lockwatch.subjects import shown

_HEAD = ("route", "policy", "limit", "used", "remaining", "free again", "admits")
_NUMERIC = frozenset({"used", "remaining", "free again"})
_STEPS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def usage_table(usages: Sequence[Usage]) -> list[str]:
    """A line for each bucket; with a column for the subject where there are several."""
    several = len({usage.subject for usage in usages}) > 1
    head = ("subject", *_HEAD) if several else _HEAD
    rows = [((shown(usage.subject),) if several else ()) + _row(usage) for usage in usages]
    return table(head, rows)


def usage_data(usage: Usage) -> dict[str, Any]:
    """A bucket as plain data."""
    return asdict(usage) | {"subject": shown(usage.subject), "limit": limit_data(usage.limit), "routes": list(usage.routes)}


def explanation_lines(told: Explanation) -> Iterator[str]:
    """An explanation for people."""
    yield f"{told.route} for {', '.join(map(shown, told.subjects))}; store {told.store}, mode {told.mode}"
    for number, policy in enumerate(told.policies, 1):
        yield ""
        yield f"{number}. {policy.policy}"
        yield from _pairs(_facts(policy))
    yield ""
    for note in told.notes:
        yield f"Note: {note}."
    yield verdict(told)


def explanation_data(told: Explanation) -> dict[str, Any]:
    """An explanation as plain data."""
    policies = [
        asdict(policy) | {"usage": None if policy.usage is None else usage_data(policy.usage), "notes": list(policy.notes)}
        for policy in told.policies
    ]
    return asdict(told) | {
        "subjects": [shown(subject) for subject in told.subjects],
        "policies": policies,
        "refused_by": list(told.refused_by),
        "notes": list(told.notes),
    }


def verdict(told: Explanation) -> str:
    """What a request would get now."""
    if any(policy.key is not None and policy.usage is None for policy in told.policies):
        return "What a request would get now is not known here."
    if not told.refused_by:
        return "A request now would be admitted."
    again = "and waiting does not help" if told.retry_after is None else f"and admitted again in {duration(told.retry_after)}"
    return f"A request now would be refused by {', '.join(told.refused_by)}, {again}."


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as they have to be, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return [
        "  ".join(
            [cell.rjust(w) if name in _NUMERIC else cell.ljust(w) for name, cell, w in zip(head, line, widths, strict=True)]
        ).rstrip()
        for line in (head, *rows)
    ]


def duration(seconds: float) -> str:
    """Seconds for people, rounded up: ``41 s``, ``3 min 20 s``, ``2 d 5 h``."""
    left = ceil(seconds)
    parts: list[str] = []
    for size, unit in _STEPS:
        if left >= size and len(parts) < 2:
            parts.append(f"{left // size} {unit}")
            left %= size
    return " ".join(parts) or "0 s"


def _row(usage: Usage) -> tuple[str, ...]:
    tier = f" (tier {usage.tier})" if usage.tier else ""
    return (
        _where(usage),
        usage.policy + tier,
        spelled(usage.limit),
        str(usage.used),
        str(usage.remaining),
        duration(usage.reset_after),
        _admits(usage.retry_after),
    )


def _where(usage: Usage) -> str:
    """A route, or the name of a bucket that several share."""
    scope = KeyParts.of(usage.key).scope
    return usage.routes[0] if ":" in scope else f"{scope} ({len(usage.routes)} routes)"


def _admits(retry_after: float | None) -> str:
    return "never" if retry_after is None else f"in {duration(retry_after)}" if retry_after else "now"


def _facts(policy: Explained) -> Iterator[tuple[str, str]]:
    yield "declared", policy.origin
    if policy.usage is not None:
        yield "limit", f"{spelled(policy.usage.limit)}, counted by {policy.usage.algorithm}, for each {policy.counts_by}"
    if policy.key is not None:
        k = policy.key
        yield "key", f"{k.namespace}:{k.schema}:{k.algorithm}:{{{k.subject}}}:{k.policy}:{k.scope}"
        yield "", f"namespace {k.namespace}, schema {k.schema}, algorithm {k.algorithm}, subject {k.subject} (hashed),"
        yield "", f"policy {k.policy}, scope {k.scope}"
    if (seen := policy.usage) is not None:
        yield "now", f"{seen.used} used, {seen.remaining} left, all free again in {duration(seen.reset_after)}"
        again = "never" if seen.retry_after is None else f"in {duration(seen.retry_after)}"
        yield "verdict", "admits" if policy.allowed else f"{'refuses' if policy.refuses else 'would refuse'}; admits again {again}"
    for note in policy.notes:
        yield "note", note


def _pairs(facts: Iterator[tuple[str, str]]) -> Iterator[str]:
    for name, text in facts:
        yield f"   {name:<9} {text}"
