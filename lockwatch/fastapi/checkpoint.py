"""Tokens of ASGI applications: a WebSocket lives as long as its token."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Receive, Scope, Send

from lockwatch.engine import Engine
from lockwatch.errors import TokenError
from lockwatch.fastapi.guard import Guard
from lockwatch.fastapi.sockets import Socket, Watch
from lockwatch.fastapi.visit import Visit
from lockwatch.inspection import PROTOCOLS, Inspector
from lockwatch.tokens.bearer import SUBPROTOCOL, offers_bearer
from lockwatch.tokens.requirement import Access, Requirement

if TYPE_CHECKING:
    from lockwatch.identity import Identity
    from lockwatch.tokens.claims import Claims


def make_guard(engine: Engine, app: Any) -> Guard:
    """The guard of an application: one that knows of tokens only where tokens are."""
    return Guard(engine, app) if engine.identity is None else Checkpoint(engine, engine.identity, app)


class Checkpoint(Guard):
    """A guard that also asks for tokens."""

    inspector: Inspector

    def __init__(self, engine: Engine, identity: Identity, app: Any) -> None:
        super().__init__(engine, app)
        self.identity = identity
        self.watch = Watch(identity.now)

    async def check_alone(self, visit: Visit, requirement: Requirement) -> None:
        """Check one token where no gate did. Raises: TokenError."""
        await self.engine.link.drive(self.inspector.checking_alone(visit, requirement))

    async def attend(self, visit: Visit, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Run a WebSocket until it ends by itself, or its token expires or is revoked."""
        held = [(claims, r) for r, claims in visit.believed.items() if claims is not None]
        if not held:
            await app(scope, receive, send)
            return
        until = min(claims.expires_at for claims, _ in held) + self.identity.leeway
        asks = any("subprotocol" in r.locations for _, r in held) and offers_bearer(visit.headers(PROTOCOLS))
        revoked = partial(self._revoked, [claims for claims, _ in held])
        socket = Socket(receive, send, until, revoked, SUBPROTOCOL if asks else None)
        socket.opened = self.watch.add
        try:
            await app(scope, socket.receive, socket.send)
        finally:
            self.watch.discard(socket)

    def demand(self, access: Access, claims: Claims | None) -> None:
        """Raises: InsufficientScope, StaleLogin."""
        self.inspector.demand(access, claims)

    async def _revoked(self, held: Sequence[Claims]) -> bool:
        """Whether a token was revoked since; what nobody can know now was not."""
        try:
            for question in self.inspector.questions(held):
                await self.engine.link.drive(self.inspector.standing(question, "allow"))
        except TokenError:
            return True
        return False
