"""The shortcut for known offenders of an ASGI application. Who is answered in another way goes the long one: a browser within CORS,
an application with a handler of its own.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from starlette.types import Message, Scope

from lockwatch import shortcut
from lockwatch.capture import Exchange
from lockwatch.client import Client
from lockwatch.errors import RateLimited, RequestRefused
from lockwatch.event import HTTP
from lockwatch.fastapi.refusal import handle
from lockwatch.shortcut import Entry, Turned

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
        host, port = scope["client"] or (None, None)
        guard = self._guard
        client = guard.engine.clients.resolve(host, scope["headers"], port == 0)
        turned = self.refusal(entry, client.subject)
        if turned is None:
            return None
        if guard.engine.stream is not None:
            guard.engine.stream.post(_noted(scope, client, turned))
        start = {"type": "http.response.start", "status": 429, "headers": turned.headers}
        return start, {"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else turned.body}

    def _own_answer(self) -> bool:
        """Whether the application answers refusals in its own way."""
        handlers = self._guard.app.exception_handlers
        return handlers.get(RateLimited, handle) is not handle or handlers.get(RequestRefused, handle) is not handle


def entry_of(scope: Scope) -> Entry:
    """Method and path as they came in."""
    return scope["method"], scope.get("root_path", ""), scope["path"]


def _noted(scope: Scope, client: Client, turned: Turned) -> Exchange:
    """Such a refusal for those that want events."""
    return Exchange(
        HTTP,
        "request",
        time.time_ns() // 1000,
        int((time.monotonic() - turned.began) * 1e6),
        client,
        scope["method"],
        turned.route,
        scope["path"],
        scope.get("query_string", b""),
        scope["headers"],
        RateLimited.status,
        0 if scope["method"] == "HEAD" else len(turned.body),
        turned.decisions,
        turned.decision_id,
        refusal=RateLimited.code,
    )
