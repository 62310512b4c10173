"""The shortcut for known offenders of an ASGI application. Who is answered in another way goes the long one: a browser within CORS,
an application with a handler of its own.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from starlette.types import Message, Scope

from lockwatch import shortcut
from lockwatch.capture import Exchange
from lockwatch.client import Client
from lockwatch.errors import RateLimited, RequestRefused
from lockwatch.event import HTTP
from lockwatch.fastapi.refusal import handle
from lockwatch.limits.decision import Decision
from lockwatch.limits.plan import Plan
from lockwatch.shortcut import Entry
from lockwatch.stream import Stream

if TYPE_CHECKING:
    from lockwatch.fastapi.guard import Guard


class Shortcut(shortcut.Shortcut):
    """What one application remembers of known offenders."""

    _guard: Guard

    def answer(self, scope: Scope) -> tuple[Message, Message] | None:
        """The start and the body of the refusal of a known offender; None for anybody else."""
        entry = entry_of(scope)
        if not self.leads(entry) or any(name == b"origin" for name, _ in scope["headers"]) or self._own_answer():
            return None
        engine = self._guard.engine
        host, port = scope["client"] or (None, None)
        client = engine.clients.resolve(host, scope["headers"], port == 0)
        tell = None if engine.stream is None else partial(_note, engine.stream, scope, client, time.monotonic())
        found = self.refusal(entry, client.subject, tell)
        if found is None:
            return None
        headers, body = found
        start = {"type": "http.response.start", "status": 429, "headers": headers}
        return start, {"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body}

    def _own_answer(self) -> bool:
        """Whether the application answers refusals in its own way."""
        handlers = self._guard.app.exception_handlers
        return handlers.get(RateLimited, handle) is not handle or handlers.get(RequestRefused, handle) is not handle


def entry_of(scope: Scope) -> Entry:
    """Method and path as they came in."""
    return scope["method"], scope.get("root_path", ""), scope["path"]


def _note(
    stream: Stream,
    scope: Scope,
    client: Client,
    began: float,
    plan: Plan,
    decisions: Sequence[Decision],
    decision_id: str,
    sent: int,
) -> None:
    """Post such a refusal for those that want events."""
    stream.post(
        Exchange(
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
    )
