"""The shortcut for known offenders: a refusal before routing, without a question to anybody, and without writing it anew.

It is taken on paths on which a request was refused already, when nothing but the address decides. Who is answered in another way
(a browser within CORS, an application with a handler of its own, a limit that wants to be told) goes the long way.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from lockwatch.errors import RateLimited
from lockwatch.headers import RawHeaders, problem
from lockwatch.limits.decision import Decision
from lockwatch.limits.denied import Denial, aged
from lockwatch.limits.plan import Plan
from lockwatch.limits.policy import Charge

if TYPE_CHECKING:
    from lockwatch.guard import Guard

Entry: TypeAlias = tuple[str, str, str]
_LEARNED: Final = 4096
"""Paths whose plan is remembered."""
_MAX_PATH: Final = 512
"""Characters of such a path; who asks chooses how long a parameter is."""
_WRITTEN: Final = 4096
"""Answers that are kept for the second in which they are right."""


class Written(NamedTuple):
    """An answer with room for the decision's id."""

    denial: Denial
    seconds: int
    headers: RawHeaders
    head: bytes
    tail: bytes


class Turned(NamedTuple):
    """The 429 of a known offender.

    Attributes:
        headers: of the response, with its length.
        body: problem+json.
        decisions: what was decided.
        decision_id: of this refusal.
        route: template of the route.
        began: when it was looked up, of `time.monotonic`.
    """

    headers: RawHeaders
    body: bytes
    decisions: Sequence[Decision]
    decision_id: str
    route: str
    began: float


class Shortcut:
    """What one application remembers of known offenders.

    Args:
        guard: whose requests are answered.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._plans: dict[Entry, Plan] = {}
        self._written: dict[str, Written] = {}

    def __len__(self) -> int:
        return len(self._plans)

    def learn(self, entry: Entry | None, plan: Plan) -> None:
        """A request was refused: remember the plan of its path. Not of one that asks the request, or tells somebody."""
        if entry is None or plan.fixed is None or len(entry[2]) > _MAX_PATH or any(p.on_breach for p, _ in plan.fixed):
            return
        if len(self._plans) >= _LEARNED:
            self._plans.clear()
        self._plans[entry] = plan

    def forget(self) -> None:
        """Routes have changed."""
        self._plans.clear()

    def leads(self, entry: Entry) -> bool:
        """Whether a request was refused there before."""
        return entry in self._plans and not self._guard.engine.exempt

    def refusal(self, entry: Entry, subject: str) -> Turned | None:
        """The 429 of a known offender; None for anybody else."""
        plan = self._plans.get(entry)
        if plan is None:
            return None
        now = time.monotonic()
        found = self._guard.admission.known(plan, subject, now)
        return None if found is None else self._tell(*found, now, plan)

    def _tell(self, charge: Charge, denial: Denial, now: float, plan: Plan) -> Turned:
        admission = self._guard.admission
        decision_id = admission.ids.next()
        seconds = max(1, ceil(denial.until - now))
        written = self._written.get(charge.key)
        if written is None or written.denial is not denial or written.seconds != seconds:
            written = self._write(charge, denial, now, seconds)
        decisions = _counted(denial, charge)
        admission.count(decisions)
        body = b"%b%b%b" % (written.head, decision_id.encode(), written.tail)
        headers = [*written.headers, (b"content-length", b"%d" % len(body))]
        return Turned(headers, body, decisions, decision_id, plan.scope.partition(":")[2], now)

    def _write(self, charge: Charge, denial: Denial, now: float, seconds: int) -> Written:
        place = "decision-id"
        refused = RateLimited([aged(denial, charge, now, place)])
        _, headers, body = problem(refused, self._guard.engine.config.headers, self._guard.engine.clock.time())
        head, _, tail = body.rpartition(place.encode())
        written = Written(denial, seconds, [pair for pair in headers if pair[0] != b"content-length"], head, tail)
        if len(self._written) >= _WRITTEN:
            self._written.clear()
        self._written[charge.key] = written
        return written


def _counted(denial: Denial, charge: Charge) -> Sequence[Decision]:
    name = charge.policy.name
    return (denial.decision if denial.decision.policy == name else denial.decision._replace(policy=name),)
