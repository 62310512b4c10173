"""The answer to the banned, within the application's CORS and in its own way of answering."""

from __future__ import annotations

from typing import Any

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from lockwatch.errors import Banned
from lockwatch.fastapi.refusal import answer


async def turn_away(banned: Banned, app: Any, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer outside of all middleware but CORS: a page of the application's own may read why."""

    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(banned, scope, receive, send, app.exception_handlers)

    await _within_cors(refuse, app)(scope, receive, send)


def _within_cors(inner: ASGIApp, app: Any) -> ASGIApp:
    for middleware in app.user_middleware:
        if isinstance(middleware.cls, type) and issubclass(middleware.cls, CORSMiddleware):
            wrapped: ASGIApp = middleware.cls(inner, *middleware.args, **middleware.kwargs)
            return wrapped
    return inner
