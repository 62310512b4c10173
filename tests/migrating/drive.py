"""The same requests for any application, in our process or in that of a library we compare with. Standard library only."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.edges import asgi


@dataclass(frozen=True)
class Ask:
    """Requests to send: `copies` at once, after `wait` seconds of a clock that is moved, not waited for."""

    path: str
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    peer: str | None = "192.0.2.1"
    copies: int = 1
    texts: tuple[str, ...] | None = None
    """What a WebSocket client says, in turn."""
    wait: float = 0.0


@dataclass(frozen=True)
class Seen:
    """What came back: `reads` is how often the body was asked for, `error` what the application raised, `texts` what it said."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    reads: int = 0
    starts: int = 0
    error: str = ""
    texts: list[str] = field(default_factory=list)


def run(app: Any, asks: list[Ask], moved: Any = None) -> list[Seen]:
    """Send `asks` one after the other; one answer for each copy. `moved` is called with the seconds an ask waits."""
    if hasattr(app, "wsgi_app"):
        return [seen for ask in asks for seen in _wsgi(app, ask, moved)]
    return asyncio.run(_asgi(app, asks, moved))


async def _asgi(app: Any, asks: list[Ask], moved: Any) -> list[Seen]:
    seen: list[Seen] = []
    async with app.router.lifespan_context(app):
        for ask in asks:
            if ask.wait:
                moved(ask.wait)
            seen += await asyncio.gather(*(_request(app, ask) for _ in range(ask.copies)))
    return seen


async def _request(app: Any, ask: Ask) -> Seen:
    client = {"client": None} if ask.peer is None else {"peer": ask.peer}
    try:
        if ask.texts is not None:
            return await _talk(app, ask, ask.texts)
        got = await asgi.http(app, ask.method, ask.path, body=ask.body.encode(), headers=ask.headers, **client)
    except Exception as error:
        return Seen(500, error=f"{type(error).__name__}: {error}")
    return Seen(got.status, dict(got.headers), got.body.decode(), got.reads, got.starts)


async def _talk(app: Any, ask: Ask, texts: tuple[str, ...]) -> Seen:
    """Open a WebSocket, say each text once the one before was answered, hang up."""
    said: list[str] = []
    incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    incoming.put_nowait({"type": "websocket.connect"})
    left = list(texts)
    seen = {"status": 0}

    async def send(message: Any) -> None:
        if message["type"] == "websocket.close":
            seen["status"] = message.get("code", 1000)
            return
        if message["type"] == "websocket.http.response.start":
            seen["status"] = message["status"]
        if message["type"] == "websocket.accept":
            seen["status"] = 101
        if message["type"] == "websocket.send":
            said.append(message["text"])
        if message["type"] in ("websocket.accept", "websocket.send"):
            text = left.pop(0) if left else None
            ended = {"type": "websocket.disconnect", "code": 1000}
            incoming.put_nowait(ended if text is None else {"type": "websocket.receive", "text": text})

    await app(_handshake(ask), incoming.get, send)
    return Seen(seen["status"], texts=said)


def _handshake(ask: Ask) -> dict[str, Any]:
    return {
        "type": "websocket",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "path": ask.path,
        "raw_path": ask.path.encode(),
        "root_path": "",
        "scheme": "ws",
        "query_string": b"",
        "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in {"host": "test", **ask.headers}.items()],
        "client": (ask.peer, 50_000),
        "server": ("test", 80),
        "subprotocols": [],
        "state": {},
        "extensions": {"websocket.http.response": {}},
    }


def _wsgi(app: Any, ask: Ask, moved: Any) -> list[Seen]:
    if ask.wait:
        moved(ask.wait)
    if ask.copies == 1:
        return [_view(app, ask)]
    with ThreadPoolExecutor(ask.copies) as threads:
        return list(threads.map(lambda _: _view(app, ask), range(ask.copies)))


def _view(app: Any, ask: Ask) -> Seen:
    with app.test_client() as client:
        got = client.open(
            ask.path, method=ask.method, headers=ask.headers, data=ask.body, environ_overrides={"REMOTE_ADDR": ask.peer}
        )
        return Seen(got.status_code, {k.lower(): v for k, v in got.headers.items()}, got.get_data(as_text=True))


def as_json(value: Ask | Seen) -> dict[str, Any]:
    """For the pipe between two processes."""
    return asdict(value)
