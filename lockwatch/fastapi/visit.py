"""One request as lockwatch sees it: `scope["lockwatch"]` and `request.state.lockwatch`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from starlette.requests import HTTPConnection, Request
from starlette.types import Message, Scope

from lockwatch.client import UNKNOWN, Client
from lockwatch.headers import quota_headers
from lockwatch.limits.decision import Decision

if TYPE_CHECKING:
    from lockwatch.fastapi.guard import Guard
    from lockwatch.limits.declaration import Plan

_ENDED: Scope = {"type": "http", "method": "GET", "path": "", "headers": (), "client": None, "state": {}}
_NOBODY = Client(None, f"ip:{UNKNOWN}", None)
STARTS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})


class Visit:
    """What is known and decided about one request.

    Attributes:
        decisions: one `Decision` per policy, in the order they were declared; empty before.
        plan: what applied to the request, None before its route is known.
        prefix: the templates of the mounts it passed.
        outer: another visit began within this one.
        inside: it came through every middleware of the application, to the router.
    """

    __slots__ = ("_client", "_scope", "decisions", "guard", "inside", "outer", "plan", "prefix")

    def __init__(self, guard: Guard, scope: Scope) -> None:
        self.guard = guard
        self._scope = scope
        self._client: Client | None = None
        self.decisions: tuple[Decision, ...] = ()
        self.plan: Plan | None = None
        self.prefix = ""
        self.inside = False
        self.outer = False
        within: Any = scope.get("lockwatch")
        if isinstance(within, Visit):
            within.outer = True
        scope["lockwatch"] = self
        scope.setdefault("state", {})["lockwatch"] = self

    def end(self) -> None:
        """Let go of the scope, which holds this visit: a cycle would keep the whole request until the garbage collector runs."""
        self._scope = _ENDED

    def __repr__(self) -> str:
        return f"Visit(decisions={self.decisions!r})"

    @property
    def lockwatch(self) -> Visit:
        """Itself: key functions take a visit as well as a request."""
        return self

    @property
    def client(self) -> Client:
        """Who sent the request."""
        if self._client is None:
            if self._scope is _ENDED:
                return _NOBODY
            peer = self._scope.get("client")
            host, port = peer or (None, None)
            engine = self.guard.engine
            self._client = engine.clients.resolve(host, self._scope["headers"], port == 0)
            if self._client.warning is not None:
                engine.warn(self._client.warning)
        return self._client

    @property
    def user(self) -> str | None:
        """Whom the application says it is: `LockWatch(user=...)`, else `request.state.user_id`."""
        ask = self.guard.engine.config.user
        user = ask(self.request) if ask is not None else None
        user = user or self._scope["state"].get("user_id")
        return str(user) if user else None

    @property
    def request(self) -> HTTPConnection:
        """The request as functions of the application take it; its body cannot be read yet."""
        return Request(self._scope) if self._scope["type"] == "http" else HTTPConnection(self._scope)

    def header(self, name: bytes) -> str | None:
        """The first header of that lower-case name."""
        return next((value.decode("latin-1") for key, value in self._scope["headers"] if key == name), None)

    def announce(self, message: Message) -> None:
        """Put the quota headers on the start of a response."""
        if self.decisions:
            added = quota_headers(self.decisions, self.guard.engine.config.headers, time.time())
            if self.outer:  # an application mounted in another, each with a LockWatch: the inner one speaks first
                said = {name for name, _ in message.get("headers", ())}
                added = [header for header in added if header[0] not in said]
            # A new list: the one in the message may belong to a Response object that is sent again.
            message["headers"] = [*message.get("headers", ()), *added]


def visit_in(scope: Scope) -> Visit | None:
    """The visit of a scope, None when no middleware of ours has seen it."""
    visit: Any = scope.get("lockwatch")
    return visit if isinstance(visit, Visit) else None
