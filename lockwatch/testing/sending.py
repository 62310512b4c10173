"""Requests straight into an application, with bytes that no HTTP client would send. ASGI and WSGI, no framework."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

Headers = Sequence[tuple[bytes, bytes]]
CRASHED = 599
"""Instead of a status, where an exception came out of the application."""


class Line(Protocol):
    """A way into an application."""

    def send(self, method: str, path: str, headers: Headers, peer: str) -> int:
        """The status of the answer; 101 for a WebSocket that was accepted, 403 for one that was closed."""
        ...


@contextmanager
def line_to(app: Any) -> Iterator[Line]:
    """A way into an application, which is started before and stopped after. It needs an event loop of its own."""
    if hasattr(app, "wsgi_app"):
        yield Blocking(app)
        return
    with asyncio.Runner() as runner:
        served = Lifespan(app)
        runner.run(served.begin())
        try:
            yield Waiting(app, runner)
        finally:
            runner.run(served.end())


class Blocking:
    """Into a WSGI application."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def send(self, method: str, path: str, headers: Headers, peer: str) -> int:
        """As `Line` has it."""
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": peer,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        environ |= {f"HTTP_{name.decode().upper().replace('-', '_')}": value.decode("latin-1") for name, value in headers}
        told: list[int] = []
        try:
            body = self._app(environ, lambda status, heads, failed=None: told.append(int(status[:3])))
            try:
                for _ in body:
                    pass
            finally:
                getattr(body, "close", lambda: None)()
        except Exception:  # PROPAGATE_EXCEPTIONS, as tests have it
            return CRASHED
        return told[-1]


class Waiting:
    """Into an ASGI application."""

    def __init__(self, app: Any, runner: asyncio.Runner) -> None:
        self._app, self._runner = app, runner

    def send(self, method: str, path: str, headers: Headers, peer: str) -> int:
        """As `Line` has it."""
        return self._runner.run(self._exchange(method, path, headers, peer))

    async def _exchange(self, method: str, path: str, headers: Headers, peer: str) -> int:
        websocket = method == "WEBSOCKET"
        scope: dict[str, Any] = {
            "type": "websocket" if websocket else "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "scheme": "ws" if websocket else "http",
            "query_string": b"",
            "headers": list(headers),
            "client": (peer, 50_000),
            "server": ("localhost", 80),
            "state": {},
            **({"subprotocols": []} if websocket else {"method": method}),
        }
        first = {"type": "websocket.connect"} if websocket else {"type": "http.request", "body": b"", "more_body": False}
        last = {"type": "websocket.disconnect", "code": 1000} if websocket else {"type": "http.disconnect"}
        coming, told = [last, first], list[int]()

        async def receive() -> dict[str, Any]:
            return coming.pop() if len(coming) > 1 else last

        async def send(message: dict[str, Any]) -> None:
            known = {"websocket.accept": 101, "websocket.close": 403}.get(message["type"])
            if known is not None or "status" in message:
                told.append(known or message["status"])

        try:
            await self._app(scope, receive, send)
        except Exception:
            return told[0] if told and told[0] >= 500 else CRASHED
        return told[0] if told else CRASHED


class Lifespan:
    """Starts and stops an ASGI application as a server does."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._coming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._told: asyncio.Queue[str] = asyncio.Queue()
        self._serving: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Raises: RuntimeError, where the application says that it cannot start."""
        self._serving = asyncio.create_task(self._serve())
        await self._tell("startup")

    async def end(self) -> None:
        """Stop it, and wait for it."""
        await self._tell("shutdown")
        if self._serving is not None:
            await self._serving

    async def _tell(self, what: str) -> None:
        self._coming.put_nowait({"type": f"lifespan.{what}"})
        said = await self._told.get()
        if said.endswith(".failed"):
            raise RuntimeError(f"the application says {said}")

    async def _serve(self) -> None:
        async def send(message: dict[str, Any]) -> None:
            self._told.put_nowait(message["type"])

        try:
            await self._app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, self._coming.get, send)
        finally:
            self._told.put_nowait("ended")
            self._told.put_nowait("ended")
