"""What a FastAPI application tells those that want events: every outcome of every request, once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import Depends, FastAPI, HTTPException, Request, WebSocket
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import StreamingResponse
from starlette.testclient import TestClient

from lockwatch import JWTAuth, JWTConfig, LockWatch, RateLimit
from lockwatch.event import Event
from tests.edges.asgi import http, websocket

TRACE = "0af7651916cd43dd8448eb211c80319c"


class Heard(list[Event]):
    """A consumer that keeps what it gets."""

    async def __call__(self, events: list[Event]) -> None:
        self.extend(events)


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b"x" * 10
        await asyncio.sleep(0)


def make(**options: Any) -> tuple[FastAPI, LockWatch, Heard]:
    app = FastAPI()
    lockwatch = LockWatch(app, jwt=JWTConfig(jwt_secret="0123456789abcdef0123456789abcdef"), **options)
    heard = Heard()
    lockwatch.engine.listen(heard)

    @app.get("/items/{name}")
    async def item(name: str) -> str:
        return name

    @app.post("/items")
    async def post(body: dict[str, int]) -> None: ...

    @app.get("/limited", dependencies=[Depends(RateLimit("1/hour"))])
    async def limited() -> None: ...

    @app.get("/broken")
    async def broken() -> None:
        raise LookupError("a secret text")

    @app.get("/forbidden")
    async def forbidden() -> None:
        raise HTTPException(403)

    @app.get("/me", dependencies=[Depends(JWTAuth())])
    async def me() -> None: ...

    @app.get("/slow")
    async def slow() -> None:
        await asyncio.Event().wait()

    @app.get("/known")
    async def known(request: Request) -> str:
        request.state.user_id = "alice"
        return str(request.state.lockwatch.request_id)

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(endless())

    @app.websocket("/socket")
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        async for _ in websocket.iter_text():
            pass

    @app.websocket("/closed")
    async def closed(websocket: WebSocket) -> None:
        await websocket.close()

    return app, lockwatch, heard


async def one(path: str, method: str = "GET", times: int = 1, options: dict[str, Any] | None = None, **extra: Any) -> Event:
    """The event of the last of some requests; each has made one."""
    app, lockwatch, heard = make(**(options or {}))
    for _ in range(times):
        try:
            await http(app, method, path, **extra)
        except LookupError:
            pass
    assert await lockwatch.engine.flush()
    assert len(heard) == times
    await lockwatch.aclose()
    return heard[-1]


@pytest.mark.parametrize(
    ("path", "method", "status", "outcome", "route"),
    [
        ("/items/a", "GET", 200, "success", "/items/{name}"),
        ("/nowhere", "GET", 404, "failure", "<unmatched>"),
        ("/items/a", "DELETE", 405, "failure", "<unmatched>"),
        ("/broken", "GET", 500, "error", "/broken"),
        ("/forbidden", "GET", 403, "refused", "/forbidden"),
        ("/me", "GET", 401, "refused", "/me"),
    ],
)
async def test_each_outcome_is_one_event(path: str, method: str, status: int, outcome: str, route: str) -> None:
    event = await one(path, method)
    assert (event.status, event.outcome, event.route, event.method) == (status, outcome, route, method)
    assert (event.kind, event.action, event.path, event.ip) == ("http", "request", path, "192.0.2.1")
    assert event.latency_us is not None
    assert event.latency_us >= 0


@pytest.mark.parametrize("mode", ["observe", "off"])
async def test_every_mode_tells(mode: str) -> None:
    event = await one("/items/a", options={"mode": mode})
    assert (event.status, event.route) == (200, "/items/{name}")


async def test_a_body_that_is_no_json_is_told() -> None:
    assert (await one("/items", "POST", body=b"{", headers={"content-type": "application/json"})).status == 422


async def test_a_refusal_by_a_limit_says_which_and_an_exception_only_its_name() -> None:
    refused = await one("/limited", times=2)
    assert (refused.status, refused.decision, refused.policies) == (429, "limited", ("1-per-hour",))
    assert refused.reasons == ("rate_limit_exceeded",)
    broken = await one("/broken")
    assert broken.details == {"exception": "LookupError"}
    assert "secret" not in repr(broken)


async def test_a_refused_token_says_why_and_what_was_allowed_is_called_so() -> None:
    assert (await one("/me")).reasons == ("missing_token",)
    assert (await one("/limited")).decision == "allowed"
    assert (await one("/items/a")).decision is None


async def test_a_refusal_before_the_application_is_told_too() -> None:
    app, lockwatch, heard = make(application_limits="1/hour")
    app.add_middleware(CORSMiddleware, allow_origins=["https://shop.example.com"])
    for headers in ({}, {"origin": "https://shop.example.com"}):
        assert (await http(app, "GET", "/nowhere", headers=headers)).status in (404, 429)
    await lockwatch.engine.flush()
    assert [(event.status, event.decision) for event in heard] == [(404, "allowed"), (429, "limited")]
    await lockwatch.aclose()


async def test_a_known_offender_is_told_although_nothing_is_asked(redis_server: str) -> None:
    app, lockwatch, heard = make(redis_url=redis_server, store_timeout=2.0, secret_key="0123456789abcdef")
    bodies = [json.loads((await http(app, "GET", "/limited", query_string=b"n=1")).body or b"null") for _ in range(4)]
    await lockwatch.engine.flush()
    assert [event.status for event in heard] == [200, 429, 429, 429]
    assert [event.request_id for event in heard[1:]] == [body["decision"] for body in bodies[1:]]
    assert {(event.route, event.query, event.decision) for event in heard[1:]} == {("/limited", "n=1", "limited")}
    await lockwatch.aclose()


async def test_the_user_the_token_and_the_tenant_are_told() -> None:
    app, lockwatch, heard = make(tenant=lambda request: request.headers.get("host"))
    pair = await lockwatch.tokens.issue_token_pair("bob")
    await http(app, "GET", "/me", headers={"authorization": f"Bearer {pair.access_token}"})
    await http(app, "GET", "/known")
    await lockwatch.engine.flush()
    session = (await lockwatch.tokens.sessions("bob"))[0].id
    told = [(event.user, event.session, event.tenant) for event in heard if event.kind == "http"]
    assert told == [("bob", session, "test"), ("alice", None, "test")]
    await lockwatch.aclose()


async def test_a_function_for_the_user_that_fails_loses_no_event() -> None:
    def user(request: Any) -> str:
        raise ValueError

    assert (await one("/items/a", options={"user": user})).user is None


async def test_ids_of_the_client_are_carried_through_when_they_are_sane() -> None:
    headers = {"x-request-id": "shop-17", "traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "user-agent": "curl/8"}
    event = await one("/items/a", headers=headers)
    assert (event.request_id, event.trace_id, event.user_agent) == ("shop-17", TRACE, "curl/8")
    event = await one("/items/a", headers={"x-request-id": "a b\x00", "traceparent": f"00-{'0' * 32}-b7ad6b7169203331-01"})
    assert event.request_id is not None
    assert " " not in event.request_id
    assert event.trace_id is None


async def test_an_endpoint_knows_the_id_its_request_is_told_under() -> None:
    app, lockwatch, heard = make()
    told = [json.loads((await http(app, "GET", "/known", headers=headers)).body) for headers in ({}, {"x-request-id": "mine"})]
    await lockwatch.engine.flush()
    assert [event.request_id for event in heard] == told
    assert told[1] == "mine"
    await lockwatch.aclose()


async def test_a_client_that_goes_away_is_told() -> None:
    app, lockwatch, heard = make()
    scope = {"type": "http", "method": "GET", "path": "/stream", "headers": [], "client": ("192.0.2.1", 1), "query_string": b""}
    sent = 0

    async def receive() -> dict[str, Any]:
        while sent < 3:
            await asyncio.sleep(0)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal sent
        sent += 1

    await app({**scope, "asgi": {"version": "3.0", "spec_version": "2.3"}}, receive, send)
    await lockwatch.engine.flush()
    assert [(event.outcome, event.status) for event in heard] == [("disconnected", 200)]
    assert (heard[0].bytes_sent or 0) > 0
    await lockwatch.aclose()


async def test_a_client_that_goes_away_before_its_answer_is_told() -> None:
    app, lockwatch, heard = make()
    running = asyncio.create_task(http(app, "GET", "/slow"))
    for _ in range(10):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await lockwatch.engine.flush()
    assert [(event.outcome, event.status) for event in heard] == [("disconnected", 499)]
    await lockwatch.aclose()


def test_a_websocket_is_told_when_it_opens_and_when_it_closes() -> None:
    app, lockwatch, heard = make()
    with TestClient(app) as client:
        with client.websocket_connect("/socket") as socket:
            socket.send_text("hello")
        lockwatch.engine.flush_sync()
    assert [(event.kind, event.action, event.status, event.route) for event in heard] == [
        ("websocket", "open", 101, "/socket"),
        ("websocket", "close", 1000, "/socket"),
    ]


@pytest.mark.parametrize(("path", "route"), [("/closed", "/closed"), ("/nowhere", "<unmatched>")])
async def test_a_websocket_that_is_not_opened_is_told_once(path: str, route: str) -> None:
    app, lockwatch, heard = make()
    await websocket(app, path)
    await lockwatch.engine.flush()
    assert [(event.action, event.status, event.outcome, event.route) for event in heard] == [("open", 403, "refused", route)]
    await lockwatch.aclose()


async def test_nobody_is_told_where_nobody_listens() -> None:
    app = FastAPI()
    lockwatch = LockWatch(app)
    assert (await http(app, "GET", "/")).status == 404
    assert lockwatch.engine.stream is None
    assert await lockwatch.engine.flush()


async def test_a_consumer_that_fails_keeps_nothing_from_the_next(caplog: pytest.LogCaptureFixture) -> None:
    app, lockwatch, heard = make()

    async def failing(events: list[Event]) -> None:
        raise RuntimeError

    lockwatch.engine.listen(failing, first=True)
    await http(app, "GET", "/items/a")
    await lockwatch.engine.flush()
    assert len(heard) == 1
    assert "fails in the background" in caplog.text
    await lockwatch.aclose()


async def test_events_arrive_without_being_asked_for_and_again_after_a_close() -> None:
    app, lockwatch, heard = make()
    for times in (1, 2):
        await http(app, "GET", "/items/a")
        async with asyncio.timeout(20):
            while len(heard) < times:
                await asyncio.sleep(0.01)
        await lockwatch.aclose()
