"""Sees how a request ends, whatever ends it, and posts that as an event. There is one only where somebody wants events."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic_ns, time_ns
from typing import Any, Final

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from lockwatch.capture import DECIDED, NOTHING, Exchange
from lockwatch.event import HTTP, WEBSOCKET
from lockwatch.fastapi.plan import seen_in
from lockwatch.fastapi.visit import Visit
from lockwatch.limits.plan import UNMATCHED
from lockwatch.stream import Stream

_ACCEPTED: Final = 101
_DENIED: Final = 403
_ABNORMAL: Final = 1006
"""The code of a WebSocket that ended without a close frame (RFC 6455, section 7.1.5)."""
"""What was decided where no limit did, by the code of the refusal."""
_GONE: Final = (OSError, ClientDisconnect, CancelledError)


class Witness:
    """What one request received and sent.

    Args:
        stream: where the event goes.
        visit: of the request.

    Attributes:
        error: what ended it.
    """

    __slots__ = (
        "_began",
        "_by",
        "_bytes",
        "_complete",
        "_gone",
        "_opened",
        "_receive",
        "_scope",
        "_send",
        "_status",
        "_stream",
        "_visit",
        "error",
    )

    def __init__(self, stream: Stream, visit: Visit, scope: Scope, receive: Receive, send: Send) -> None:
        self._stream, self._visit, self._scope = stream, visit, scope
        self._receive, self._send = receive, send
        self._began = monotonic_ns()
        self._bytes = 0
        self._status: int | None = None
        self._complete = self._gone = self._opened = False
        self._by = "server"
        self.error: BaseException | None = None

    @property
    def blocked(self) -> bool:
        """Whether what happens cannot be recorded, and nothing may happen then."""
        return bool(self._stream.blocked)

    async def receive(self) -> Message:
        """A message of the client's."""
        message = await self._receive()
        kind = message["type"]
        if kind == "http.disconnect":
            self._gone = not self._complete
        elif kind == "websocket.disconnect" and not self._complete:
            self._complete, self._by, self._status = True, "client", message.get("code", _ABNORMAL)
        return message

    def send(self, message: Message) -> Awaitable[None]:
        """A message to the client."""
        kind = message["type"]
        if kind == "http.response.body":
            self._bytes += len(message.get("body", b""))
            self._complete = not message.get("more_body", False)
        elif kind == "http.response.start":
            self._status = message["status"]
        else:
            self._note(kind, message)
        return self._send(message)

    def tell(self) -> None:
        """The request is over."""
        if self._opened:
            closed = self._exchange("close", _ABNORMAL if self.error is not None else self._status, False, {"by": self._by})
        elif self._scope["type"] == "websocket":
            closed = self._exchange("open", _DENIED if self._complete and (self._status or 1000) >= 1000 else self._status)
        else:
            closed = self._exchange("request", self._status, self._left())
        self._stream.post(closed)

    def _left(self) -> bool:
        """Whether the client went away before it had the whole answer."""
        if self._gone or self.error is not None:
            return self._gone or isinstance(self.error, _GONE)
        return self._status is not None and not self._complete

    def _note(self, kind: str, message: Message) -> None:
        """The rarer messages: of WebSockets, and of servers that send files themselves."""
        if kind == "websocket.accept":
            self._stream.post(self._exchange("open", _ACCEPTED))
            self._opened = True
        elif kind == "websocket.close" and not self._complete:
            self._complete, self._status = True, message.get("code", 1000)
        elif kind == "websocket.http.response.start":
            self._status = message["status"]
        elif kind == "websocket.http.response.body":
            self._bytes += len(message.get("body", b""))
        elif kind == "http.response.pathsend":
            self._complete = True

    def _exchange(self, action: str, status: int | None, gone: bool = False, details: Mapping[str, Any] = NOTHING) -> Exchange:
        visit, scope, error = self._visit, self._scope, self.error
        token = visit.trusted
        return Exchange(
            WEBSOCKET if scope["type"] == "websocket" else HTTP,
            action,
            time_ns() // 1000,
            (monotonic_ns() - self._began) // 1000,
            visit.client,
            visit.method,
            route_of(visit, scope),
            scope["path"],
            scope.get("query_string", b""),
            scope["headers"],
            status,
            self._bytes,
            visit.decisions,
            visit.made_id,
            _asked(visit.known_user),
            None if token is None else token.family,
            None if visit.guard.engine.config.tenant is None else _asked(visit.tenant),
            None if error is None else type(error).__name__,
            gone,
            DECIDED.get(visit.refusal),
            visit.refusal,
            details,
        )


def route_of(visit: Visit, scope: Scope) -> str:
    """The template of the route that a request matched, ``<unmatched>`` for none."""
    plan = visit.plan
    if plan is not None and plan.scope and "~" not in plan.scope:
        return plan.scope.partition(":")[2]
    seen = seen_in(scope, visit.prefix)
    if seen is None or (seen.methods and scope.get("method") not in seen.methods):
        return UNMATCHED
    return visit.prefix + seen.path


def _asked(question: Callable[[], str | None]) -> str | None:
    """What a function of the application says; one that fails says nothing, because the answer is on its way already."""
    try:
        return question()
    except Exception:
        return None
