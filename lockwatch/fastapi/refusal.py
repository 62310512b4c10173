"""The answer to a refused request, over HTTP and to a WebSocket handshake."""

from __future__ import annotations

import time
from collections.abc import Mapping
from inspect import iscoroutinefunction
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection, Request
from starlette.types import Receive, Scope, Send

from lockwatch.errors import OUTAGES, RequestRefused, TokenError, outage
from lockwatch.headers import RawHeaders, problem

POLICY_VIOLATION = 1008


class Refusal:
    """A response for a refusal: a problem document; a denial response or a close for a WebSocket.

    Args:
        refused: why.
        dialect: which quota headers to add; ``off`` where the entrance adds them.
    """

    def __init__(self, refused: RequestRefused | TokenError, dialect: str) -> None:
        self._refused = refused
        self._dialect = dialect

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        websocket = scope["type"] == "websocket"
        if websocket and "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": _reason(self._refused)})
            return
        status, headers, body = _rendered(self._refused, self._dialect)
        prefix = "websocket." if websocket else ""
        await send({"type": f"{prefix}http.response.start", "status": status, "headers": headers})
        await send({"type": f"{prefix}http.response.body", "body": b"" if scope.get("method") == "HEAD" else body})


def _rendered(refused: RequestRefused | TokenError, dialect: str) -> tuple[int, RawHeaders, bytes]:
    if isinstance(refused, RequestRefused):
        return problem(refused, dialect, time.time())
    from lockwatch.tokens.refusals import token_problem

    return token_problem(refused)


def _reason(refused: RequestRefused | TokenError) -> str:
    if isinstance(refused, RequestRefused):
        return refused.code
    from lockwatch.tokens.refusals import public_name

    return public_name(refused)


async def answer(
    refused: RequestRefused | TokenError, scope: Scope, receive: Receive, send: Send, handlers: Mapping[Any, Any]
) -> None:
    """Answer with the application's own handler for the error, else with a problem document."""
    handler = next((handlers[kind] for kind in type(refused).__mro__ if kind in handlers), handle)
    if handler is handle:
        await Refusal(refused, "off")(scope, receive, send)
        return
    connection = Request(scope, receive, send) if scope["type"] == "http" else HTTPConnection(scope)
    call = handler(connection, refused) if _is_async(handler) else run_in_threadpool(handler, connection, refused)
    response = await call
    await response(scope, receive, send)


async def handle(connection: HTTPConnection, refused: Exception) -> Any:
    """The exception handler for refusals raised where no gate answers them, and for outages that an endpoint meets."""
    refused = outage(refused) if isinstance(refused, OUTAGES) else refused
    visit = connection.scope.get("lockwatch")
    entered = visit is not None and visit.guard.app is not None
    if visit is not None:
        visit.refusal = getattr(refused, "code", "")
    return Refusal(refused, "off" if entered else "both")  # type: ignore[arg-type]  # registered for these alone


def ensure_handled(scope: Scope) -> None:
    """Make the application that is running answer refusals, where it has no handler for them."""
    registered = scope.get("starlette.exception_handlers")
    if registered:
        for error in (RequestRefused, TokenError, *OUTAGES):
            registered[0].setdefault(error, handle)


def _is_async(handler: Any) -> bool:
    return iscoroutinefunction(handler) or iscoroutinefunction(getattr(handler, "__call__", None))  # noqa: B004
