"""The end of the story: everything that was sent, and how long it took."""

from __future__ import annotations

from dataclasses import asdict, astuple
from typing import Final

from lockwatch.demo.claims import equal, latency, tally
from lockwatch.demo.demo import LIMITS
from lockwatch.demo.screen import table
from lockwatch.demo.story import Context, Observed, Step


def altogether(context: Context) -> Observed:
    """Count what was answered, route by route."""
    answers = context.traffic.answers
    tallies, health = tally(answers, LIMITS), context.server.lockwatch.health()
    series = [
        latency("no limit", context.traffic.on("GET /health")),
        latency("limited, admitted", context.traffic.on("GET /items")),
        latency("limited, refused", [a for a in context.traffic.on("GET /search") if not a.admitted]),
    ]
    measured = [taken for taken in series if taken is not None]
    lines = [
        *table(("route", "limit", "sent", "admitted", "refused"), [astuple(t) for t in tallies]),
        "",
        *table(("latency in ms", "requests", "p50", "p99"), [astuple(taken) for taken in measured]),
        "   (sent one after another; server and client are one process here, so both are in it)",
        "",
    ]
    facts = {"routes": [asdict(t) for t in tallies], "latency_ms": [asdict(taken) for taken in measured]}
    complaints = "; ".join(filter(None, (health.store_error, *health.warnings)))
    claims = [
        equal("not one server error", 0, sum(answer.status >= 500 for answer in answers)),
        equal(
            "lockwatch reports that it is well",
            "ok",
            complaints or health.status,
        ),
    ]
    return Observed(lines, {**facts, "health": asdict(health)}, claims)


ALTOGETHER: Final = Step("Altogether", altogether)
