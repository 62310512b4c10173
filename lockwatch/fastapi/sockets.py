"""Open WebSockets that live no longer than the token they were opened with."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeAlias

from starlette.types import Message, Receive, Send

PERIOD: Final = 1.0
"""Seconds between two looks at the sockets of an event loop."""
MOST: Final = 256
"""Sockets whose revocation is asked for in one look; the others wait for the next."""
UNAUTHORIZED: Final = 4401
"""The code of a close: log in again. Codes from 4000 on are for applications (RFC 6455, section 7.4.2)."""
Ask: TypeAlias = Callable[[], Awaitable[bool]]


class Socket:
    """One socket, between the server and the application.

    Args:
        until: the epoch time at which its token ends.
        revoked: says whether its token was revoked.
        subprotocol: which one to accept, where the application chooses none.
    """

    def __init__(self, receive: Receive, send: Send, until: float, revoked: Ask, subprotocol: str | None = None) -> None:
        self.until, self.revoked = until, revoked
        self.opened: Callable[[Socket], None] | None = None
        self._receive, self._send, self._subprotocol = receive, send, subprotocol
        self._closed = False
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def receive(self) -> Message:
        """A message of the client's; a disconnect when its token has ended."""
        receiving = asyncio.ensure_future(self._receive())
        try:
            await asyncio.wait((receiving, self._over), return_when=asyncio.FIRST_COMPLETED)
            if receiving.done():
                message = receiving.result()
                self._closed = self._closed or message["type"] == "websocket.disconnect"
                return message
            return {"type": "websocket.disconnect", "code": UNAUTHORIZED}
        finally:
            receiving.cancel()

    async def send(self, message: Message) -> None:
        """A message of the application's. Raises: OSError, as for a client that has gone, when its token has ended."""
        if self._over.done():
            if message["type"] == "websocket.close":
                return
            raise OSError("the token of this socket has ended")
        if message["type"] == "websocket.accept":
            if self._subprotocol and not message.get("subprotocol"):
                message = {**message, "subprotocol": self._subprotocol}
            if self.opened is not None:
                self.opened(self)
        self._closed = self._closed or message["type"] == "websocket.close"
        await self._send(message)

    async def end(self, reason: str) -> None:
        """Close it, unless one of the two has. The application hears of a disconnect."""
        if not self._closed and not self._over.done():
            self._over.set_result(None)
            with suppress(OSError):  # the client has gone a moment ago
                await self._send({"type": "websocket.close", "code": UNAUTHORIZED, "reason": reason})


class Watch:
    """Looks after the open sockets of one application, with one task for each event loop that has any.

    Args:
        now: epoch seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._sockets: dict[asyncio.AbstractEventLoop, deque[Socket]] = {}
        self._tasks: dict[asyncio.AbstractEventLoop, asyncio.Task[None]] = {}

    def add(self, socket: Socket) -> None:
        """Look after a socket of the running loop."""
        loop = asyncio.get_running_loop()
        self._sockets.setdefault(loop, deque()).append(socket)
        if loop not in self._tasks:
            self._tasks[loop] = loop.create_task(self._run())

    def discard(self, socket: Socket) -> None:
        """It is closed."""
        loop = asyncio.get_running_loop()
        sockets = self._sockets.get(loop, deque())
        if socket in sockets:
            sockets.remove(socket)
        if not sockets and loop in self._tasks:
            self._tasks.pop(loop).cancel()
            self._sockets.pop(loop, None)

    async def look(self) -> None:
        """Close the sockets of the running loop whose tokens have expired, and some of those whose tokens were revoked."""
        sockets = self._sockets.get(asyncio.get_running_loop(), deque())
        now = self._now()
        for socket in [socket for socket in sockets if now >= socket.until]:
            await socket.end("the token has expired")
        asked = [sockets[i] for i in range(min(MOST, len(sockets)))]
        sockets.rotate(-len(asked))
        for socket, revoked in zip(asked, await asyncio.gather(*[socket.revoked() for socket in asked]), strict=True):
            if revoked:
                await socket.end("the token was revoked")

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(PERIOD)
            await self.look()
