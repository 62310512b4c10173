"""`LockWatchMiddleware`: the inner half alone, for any ASGI application. Pure ASGI."""

from __future__ import annotations

from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lockwatch.fastapi.guard import Guard, is_preflight, method_in
from lockwatch.fastapi.refusal import Refusal
from lockwatch.fastapi.visit import STARTS, Visit
from lockwatch.fastapi.witness import Witness
from lockwatch.first_release import engine_of
from lockwatch.limits.plan import EXEMPT, UNMATCHED


class LockWatchMiddleware:
    """Limits every request of an application, ``app.add_middleware(LockWatchMiddleware, redis_url=...)``, as lockwatch 0.1 did.

    100 requests in 60 seconds by address, unless `rate_limit_requests` and `rate_limit_window_seconds` say otherwise; bursts of 50
    requests in 10 seconds are told. `LockWatch(app)` knows routes, and limits nothing until told.

    Args:
        app: what is protected.
        options: those of `LockWatchConfig`; `key_func`: whom to count; `alert_cooldown_seconds`.

    Raises: ConfigurationError.
    """

    def __init__(self, app: ASGIApp, **options: Any) -> None:
        self.app = app
        self.engine = engine_of(options, burst_threshold=50, blocking=False)
        self.guard = Guard(self.engine, self)
        self.exception_handlers: dict[Any, Any] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        visit = self._visit(scope)
        stream = self.engine.stream
        witness = None if stream is None else Witness(stream, visit, scope, receive, send)
        if witness is not None:
            receive, send = witness.receive, witness.send
        try:
            await self._serve(visit, scope, receive, send)
        except BaseException as error:
            if witness is not None:
                witness.error = error
            raise
        finally:
            if witness is not None:
                witness.tell()
            visit.end()

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Open before the application starts; close when it has shut down."""

        async def opening(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                await self.engine.open()
            await send(message)

        try:
            await self.app(scope, receive, opening)
        finally:
            await self.engine.aclose()

    def _visit(self, scope: Scope) -> Visit:
        """Ours; what a LockWatch of the application has noted stays where it is."""
        before, state = scope.get("lockwatch"), scope.setdefault("state", {})
        visit = Visit(self.guard, scope)
        if before is not None:
            scope["lockwatch"] = state["lockwatch"] = before
        return visit

    async def _serve(self, visit: Visit, scope: Scope, receive: Receive, send: Send) -> None:
        async def deliver(message: Message) -> None:
            if message["type"] in STARTS:
                visit.start(message, announces=True)
            await send(message)

        doorkeeper = self.guard.doorkeeper
        refused = None if doorkeeper is None else doorkeeper.turned_away(visit)
        if refused is None and not is_preflight(scope):
            exempt = self.engine.mode == "off" or self.guard.is_exempt(scope)
            plan = EXEMPT if exempt else self.guard.compose((), (), method_in(scope), UNMATCHED, False)
            refused = await self.guard.check(visit, plan)  # type: ignore[assignment]  # no token is required
        if refused is not None:
            visit.refusal = refused.code
            await Refusal(refused, "off")(scope, receive, deliver)
            return
        await self.app(scope, receive, deliver)
