"""Where a request comes in and its answer goes out: around the application, and inside of its middleware."""

from __future__ import annotations

from collections.abc import Awaitable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lockwatch.errors import AuditUnavailable
from lockwatch.fastapi.banned import turn_away
from lockwatch.fastapi.guard import Guard, is_preflight
from lockwatch.fastapi.plan import seen_in
from lockwatch.fastapi.shortcut import entry_of
from lockwatch.fastapi.visit import STARTS, Visit
from lockwatch.fastapi.witness import Witness
from lockwatch.limits.plan import EXEMPT
from lockwatch.visit import CURRENT


class Threshold:
    """The inner half: notes that a request came through every middleware. Where the application's CORS waits for the answer,
    what no route answered for (404, 405) is charged here, so that a refusal passes through it.
    """

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self.app = app
        self.guard = guard

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Pass on."""
        visit = scope.get("lockwatch")
        if type(visit) is Visit:
            visit.inside = True
            for name, _ in scope["headers"]:
                if name == b"origin":
                    send = Doorman(self.guard, visit, scope, receive, send, announces=False).deliver
                    break
        return self.app(scope, receive, send)


class Entrance:
    """The outer half, outside the whole stack: begins a visit, and puts quota headers on whatever is answered."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self.app = app
        self.guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Begin a visit for HTTP and WebSocket; pass the rest through."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        guard, admission = self.guard, self.guard.admission
        if guard.doorkeeper is not None or guard.engine.stream is not None or admission.denied.known or admission.mode == "off":
            await self._attend(scope, receive, send)
            return
        visit = Visit(guard, scope)
        guard.place_gates()
        try:
            await self.app(scope, receive, Doorman(guard, visit, scope, receive, send).deliver)
        finally:
            visit.end()

    async def _attend(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A visit where somebody may be banned or known for an offence, or where somebody wants to hear of it."""
        guard = self.guard
        offended = bool(guard.admission.denied.known) and scope["type"] == "http"
        visit = None if guard.doorkeeper is None else Visit(guard, scope)
        banned = None if visit is None or guard.doorkeeper is None else guard.doorkeeper.turned_away(visit)
        if offended and banned is None and await self._shorten(scope, send):
            return
        visit = visit or Visit(guard, scope)
        witness = before = None
        if (stream := guard.engine.stream) is not None:
            witness = Witness(stream, visit, scope, receive, send)
            receive, send = witness.receive, witness.send
            before = CURRENT.set(visit) if guard.engine.identity is not None else None
        if offended:
            visit.entry = entry_of(scope)
        try:
            if banned is not None:
                visit.refusal = banned.code
                await turn_away(banned, guard.app, scope, receive, send)
            elif witness is not None and witness.blocked and guard.admission.mode == "enforce":
                await guard.refuse(AuditUnavailable(), scope, receive, send)
            else:
                self._prepare(visit)
                await self.app(scope, receive, Doorman(guard, visit, scope, receive, send).deliver)
        except BaseException as error:
            if witness is not None:
                witness.error = error
            raise
        finally:
            if witness is not None:
                witness.tell()
            if before is not None:
                CURRENT.reset(before)
            visit.end()

    def _prepare(self, visit: Visit) -> None:
        if self.guard.admission.mode == "off":
            visit.plan = EXEMPT
        else:
            self.guard.place_gates()

    async def _shorten(self, scope: Scope, send: Send) -> bool:
        """Answer a known offender; whether it is one."""
        guard = self.guard
        if not guard.shortcut:
            return False
        guard.place_gates()
        messages = guard.shortcut.answer(scope)
        for message in messages or ():
            await send(message)
        return messages is not None


class Doorman:
    """The way out: a response that starts before any plan was decided is charged first, and replaced when refused."""

    __slots__ = ("announces", "guard", "receive", "replaced", "scope", "send", "visit")

    def __init__(self, guard: Guard, visit: Visit, scope: Scope, receive: Receive, send: Send, announces: bool = True) -> None:
        self.guard, self.visit, self.scope, self.receive, self.send = guard, visit, scope, receive, send
        self.announces = announces
        self.replaced = False

    def deliver(self, message: Message) -> Awaitable[None]:
        """Send a message of the application's. No coroutine: what the server makes of it is awaited."""
        visit, kind = self.visit, message["type"]
        if self.replaced:
            return _nothing()
        if kind in STARTS or kind == "websocket.close":
            if visit.plan is None and (self.guard.general or seen_in(self.scope, "") is not None):
                return self._charge(message)
            if kind in STARTS:
                visit.start(message, self.announces)
        elif visit.receipts and kind == "http.response.body" and not message.get("more_body"):
            visit.conclude(ended=True)
        return self.send(message)

    async def _charge(self, message: Message) -> None:
        """Charge a response that comes from no route, and send it, or a refusal in its place."""
        if not is_preflight(self.scope):
            refused = await self.guard.check(self.visit, self.guard.plan_ungated(self.scope, self.visit))
            if refused is not None:
                await self.guard.refuse(refused, self.scope, self.receive, self._send)
                self.replaced = True
                return
        await self._send(message)

    async def _send(self, message: Message) -> None:
        if message["type"] in STARTS:
            self.visit.start(message, self.announces)
        await self.send(message)


async def _nothing() -> None:
    """What a refusal has taken the place of goes nowhere."""
