"""Requests sent to an ASGI application by hand, to see what it reads and what it sends."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import fastapi.routing


@dataclass
class Exchange:
    """What came back, and how many times the body was asked for."""

    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    reads: int = 0
    starts: int = 0
    closed: int | None = None
    accepted: bool = False

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    def json(self) -> Any:
        return json.loads(self.body)


async def http(app: Any, method: str, path: str, *, body: bytes = b"", peer: str = "192.0.2.1", **extra: Any) -> Exchange:
    """Send one request; `headers` and `root_path` may be given."""
    seen = Exchange()
    headers = [(k.lower().encode(), v.encode("latin-1")) for k, v in {"host": "test", **extra.pop("headers", {})}.items()]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": extra.get("root_path", "") + path,
        "raw_path": path.encode(),
        "root_path": "",
        "scheme": "http",
        "query_string": b"",
        "headers": headers,
        "client": (peer, 50000),
        "server": ("test", 80),
        "state": {},
    } | extra

    async def receive() -> dict[str, Any]:
        seen.reads += 1
        return {"type": "http.request", "body": body, "more_body": False} if seen.reads == 1 else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        _record(seen, message)

    await app(scope, receive, send)
    return seen


async def websocket(app: Any, path: str, *, extensions: dict[str, Any] | None = None) -> Exchange:
    """Open a WebSocket and disconnect at once."""
    seen = Exchange()
    scope = {
        "type": "websocket",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "scheme": "ws",
        "query_string": b"",
        "headers": [(b"host", b"test")],
        "client": ("192.0.2.1", 50000),
        "server": ("test", 80),
        "subprotocols": [],
        "state": {},
        "extensions": {} if extensions is None else extensions,
    }

    async def receive() -> dict[str, Any]:
        seen.reads += 1
        return {"type": "websocket.connect"} if seen.reads == 1 else {"type": "websocket.disconnect", "code": 1000}

    async def send(message: Any) -> None:
        _record(seen, message)

    await app(scope, receive, send)
    return seen


def include_again(app: Any, router: Any) -> None:
    """Let an application know of routes its router got late. FastAPI since 0.137 knows by itself, before it copied them."""
    if not hasattr(fastapi.routing, "iter_route_contexts"):
        app.include_router(router)


def _record(seen: Exchange, message: dict[str, Any]) -> None:
    kind = message["type"]
    if kind.endswith("http.response.start"):
        seen.starts += 1
        seen.status = message["status"]
    if kind.endswith("http.response.body"):
        seen.body += message.get("body", b"")
    if kind == "websocket.close":
        seen.closed = message.get("code")
    if kind == "websocket.accept":
        seen.accepted = True
    if "headers" in message:
        seen.headers = [(k.decode("latin-1").lower(), v.decode("latin-1")) for k, v in message["headers"]]
