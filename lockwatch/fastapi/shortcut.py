"""The shortcut for known offenders: a refusal before routing, without a question to anybody, and without writing it anew.

It is taken on paths on which a request was refused already, when nothing but the address decides. Who is answered in another way
(a browser within CORS, an application with a handler of its own, a limit that wants to be told) goes the long way.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from starlette.types import Message, Scope

from lockwatch.capture import Exchange
from lockwatch.client import Client
from lockwatch.errors import RateLimited, RequestRefused
from lockwatch.event import HTTP
from lockwatch.fastapi.refusal import handle
from lockwatch.headers import RawHeaders, problem
from lockwatch.limits.decision import Decision
from lockwatch.limits.denied import Denial, aged
from lockwatch.limits.plan import Plan
from lockwatch.limits.policy import Charge

if TYPE_CHECKING:
    from lockwatch.fastapi.guard import Guard

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

    def learn(self, scope: Scope, entry: Entry | None, plan: Plan) -> None:
        """A request was refused: remember the plan of its path. Not of one that asks the request, or tells somebody."""
        if entry is None or plan.fixed is None or len(entry[2]) > _MAX_PATH or any(p.on_breach for p, _ in plan.fixed):
            return
        if len(self._plans) >= _LEARNED:
            self._plans.clear()
        self._plans[entry] = plan

    def forget(self) -> None:
        """Routes have changed."""
        self._plans.clear()

    def answer(self, scope: Scope) -> tuple[Message, Message] | None:
        """The start and the body of the refusal of a known offender; None for anybody else."""
        plan = self._plans.get(entry_of(scope))
        guard = self._guard
        if plan is None or guard.engine.exempt or any(name == b"origin" for name, _ in scope["headers"]) or self._own_answer():
            return None
        host, port = scope["client"] or (None, None)
        client = guard.engine.clients.resolve(host, scope["headers"], port == 0)
        now = time.monotonic()
        found = guard.admission.known(plan, client.subject, now)
        if found is None:
            return None
        decision_id = guard.admission.ids.next()
        messages = self._tell(*found, now, scope["method"], decision_id)
        if guard.engine.stream is not None:
            sent = len(messages[1]["body"])
            guard.engine.stream.post(_noted(scope, client, plan, _counted(found[1], found[0]), sent, now, decision_id))
        return messages

    def _own_answer(self) -> bool:
        """Whether the application answers refusals in its own way."""
        handlers = self._guard.app.exception_handlers
        return handlers.get(RateLimited, handle) is not handle or handlers.get(RequestRefused, handle) is not handle

    def _tell(self, charge: Charge, denial: Denial, now: float, method: str, decision_id: str) -> tuple[Message, Message]:
        admission = self._guard.admission
        seconds = max(1, ceil(denial.until - now))
        written = self._written.get(charge.key)
        if written is None or written.denial is not denial or written.seconds != seconds:
            written = self._write(charge, denial, now, seconds)
        admission.count(_counted(denial, charge))
        body = b"%b%b%b" % (written.head, decision_id.encode(), written.tail)
        start = {
            "type": "http.response.start",
            "status": 429,
            "headers": [*written.headers, (b"content-length", b"%d" % len(body))],
        }
        return start, {"type": "http.response.body", "body": b"" if method == "HEAD" else body}

    def _write(self, charge: Charge, denial: Denial, now: float, seconds: int) -> Written:
        place = "decision-id"
        refused = RateLimited([aged(denial, charge, now, place)])
        _, headers, body = problem(refused, self._guard.engine.config.headers, time.time())
        head, _, tail = body.rpartition(place.encode())
        written = Written(denial, seconds, [pair for pair in headers if pair[0] != b"content-length"], head, tail)
        if len(self._written) >= _WRITTEN:
            self._written.clear()
        self._written[charge.key] = written
        return written


def entry_of(scope: Scope) -> Entry:
    """Method and path as they came in."""
    return scope["method"], scope.get("root_path", ""), scope["path"]


def _counted(denial: Denial, charge: Charge) -> Sequence[Decision]:
    name = charge.policy.name
    return (denial.decision if denial.decision.policy == name else denial.decision._replace(policy=name),)


def _noted(
    scope: Scope, client: Client, plan: Plan, decisions: Sequence[Decision], sent: int, began: float, decision_id: str
) -> Exchange:
    """Such a refusal for those that want events."""
    return Exchange(
        HTTP,
        "request",
        time.time_ns() // 1000,
        int((time.monotonic() - began) * 1e6),
        client,
        scope["method"],
        plan.scope.partition(":")[2],
        scope["path"],
        scope.get("query_string", b""),
        scope["headers"],
        RateLimited.status,
        sent,
        decisions,
        decision_id,
        refusal=RateLimited.code,
    )
