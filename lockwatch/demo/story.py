"""A story is a list of steps. A step does something, observes, and claims only what it observed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import httpx

from lockwatch.demo.claims import Claim, equal
from lockwatch.demo.screen import Screen
from lockwatch.demo.server import Running
from lockwatch.demo.traffic import Traffic


@dataclass(frozen=True, slots=True)
class Context:
    """What a step works with: the server, the requests sent to it so far, and the screen for its progress."""

    server: Running
    traffic: Traffic
    screen: Screen


@dataclass(frozen=True, slots=True)
class Observed:
    """What came of a step.

    Attributes:
        lines: for people.
        facts: the same for programs: JSON values.
        claims: what was checked.
    """

    lines: Sequence[str] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    claims: Sequence[Claim] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """A part of the story."""

    title: str
    run: Callable[[Context], Observed]


def tell(steps: Sequence[Step], context: Context) -> list[dict[str, Any]]:
    """Run the steps in order and show each; what was observed, as JSON values. A step without answers is the last one."""
    told: list[dict[str, Any]] = []
    for number, step in enumerate(steps, 1):
        context.screen.title(f"{number}. {step.title}")
        context.screen.progress(f"step {number} of {len(steps)} ...", passing=True)
        observed = _observe(step, context)
        context.screen.say(*observed.lines)
        for claim in observed.claims:
            context.screen.claim(claim)
        told.append({"step": step.title, "observed": dict(observed.facts), "claims": [asdict(c) for c in observed.claims]})
        if "unanswered" in observed.facts:
            break
    return told


def _observe(step: Step, context: Context) -> Observed:
    try:
        return step.run(context)
    except httpx.HTTPError as error:
        problem = f"{type(error).__name__}: {error}"
        return Observed(facts={"unanswered": problem}, claims=[equal("every request is answered", "an answer", problem)])


def failed(told: Sequence[Mapping[str, Any]]) -> int:
    """How many claims do not hold."""
    return sum(not claim["holds"] for step in told for claim in step["claims"])
