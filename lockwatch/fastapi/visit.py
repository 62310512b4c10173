"""One request of an ASGI application: `scope["lockwatch"]` and `request.state.lockwatch`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.requests import HTTPConnection, Request
from starlette.types import Message, Scope

from lockwatch import visit
from lockwatch.client import Headers
from lockwatch.headers import quota_headers
from lockwatch.keys import by_ip
from lockwatch.limits.decision import Decision, tightest

if TYPE_CHECKING:
    from lockwatch.fastapi.guard import Guard

_ENDED: Scope = {"type": "http", "method": "GET", "path": "", "headers": (), "client": None, "state": {}}
_ACCEPTED: Final = 101
STARTS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})


class Visit(visit.Visit):
    """What is known and decided about one request.

    Attributes:
        entry: method and path as they came in, noted while there are known offenders.
        prefix: the templates of the mounts it passed.
        outer: another visit began within this one.
        inside: it came through every middleware of the application, to the router.
    """

    guard: Guard
    entry: tuple[str, str, str] | None = None
    prefix = ""
    inside = False
    outer = False

    def __init__(self, guard: Guard, scope: Scope) -> None:
        self.guard = guard
        self._scope = scope
        within: Any = scope.get("lockwatch")
        if isinstance(within, Visit):
            within.outer = True
        scope["lockwatch"] = self
        scope.setdefault("state", {})["lockwatch"] = self

    def start(self, message: Message, announces: bool) -> None:
        """A response starts, with the quota headers of what was decided where it `announces` that."""
        self.started(message.get("status", _ACCEPTED))
        if announces and self.decisions:
            self._announce(message)

    def end(self) -> None:
        """Conclude, and let go of the scope."""
        if self.receipts:
            self.conclude(ended=True)
        self._gone = True
        self._scope = _ENDED

    async def settle(self, actual: int) -> None:
        """Set the real cost of this request, for the limits that declare a `cost`: tokens, bytes, rows.

        It takes effect when the response has ended; until then the last call counts. Less than was charged is given back, more is
        charged whatever the quota.

        Raises: LookupError when no limit of the route has a cost to settle, ValueError.
        """
        self.cost_really(actual)

    async def take(self, limits: Any, *, key: Any = by_ip, cost: int = 1, name: str = "message") -> Decision:
        """Charge a limit of your own on this route, for example for each message of an open WebSocket.

        Returns the decision that refuses, else the one with the least left; nothing is refused for you.
        """
        plan = self.plan_by_hand(limits, key, cost, name)
        return tightest((await self.guard.engine.link.pursue(self.guard.admission.deciding, plan, self)).decisions)

    @property
    def request(self) -> HTTPConnection:
        """The request as functions of the application take it; its body cannot be read yet."""
        return Request(self._scope) if self._scope["type"] == "http" else HTTPConnection(self._scope)

    def header(self, name: bytes) -> str | None:
        """The first header of that lower-case name."""
        return next((value.decode("latin-1") for key, value in self._scope["headers"] if key == name), None)

    @property
    def method(self) -> str:
        """The method of the request, ``WEBSOCKET`` for a handshake."""
        return "WEBSOCKET" if self._scope["type"] == "websocket" else str(self._scope["method"])

    def headers(self, name: bytes) -> list[str]:
        """All headers of that lower-case name."""
        return [value.decode("latin-1") for key, value in self._scope["headers"] if key == name]

    def _announce(self, message: Message) -> None:
        """Put the quota headers on the start of a response."""
        added = quota_headers(self.decisions, self.guard.engine.config.headers, self.guard.engine.clock.time())
        if self.outer:  # an application mounted in another, each with a LockWatch: the inner one speaks first
            said = {name for name, _ in message.get("headers", ())}
            added = [header for header in added if header[0] not in said]
        # A new list: the one in the message may belong to a Response object that is sent again.
        message["headers"] = [*message.get("headers", ()), *added]

    def _peer(self) -> tuple[str | None, Headers, bool]:
        host, port = self._scope.get("client") or (None, None)
        return host, self._scope["headers"], port == 0

    def _said(self, name: str) -> Any:
        return self._scope["state"].get(name)


def visit_in(scope: Scope) -> Visit | None:
    """The visit of a scope, None when no middleware of ours has seen it."""
    found: Any = scope.get("lockwatch")
    return found if isinstance(found, Visit) else None
