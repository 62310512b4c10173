"""Reservations at a real application's doors: failures that count, costs that are known later, requests in flight."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import Depends, FastAPI, Request, WebSocket
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.testclient import TestClient, WebSocketDenialResponse

from lockwatch import LockWatch, RateLimit
from tests.edges.asgi import http

STORES = ("memory", "redis")


@pytest.fixture(params=STORES)
def options(request: pytest.FixtureRequest, redis_server: str) -> dict[str, Any]:
    return {} if request.param == "memory" else {"redis_url": redis_server, "store_timeout": 2.0}


class Bar:
    """A login that knows when its guests are served: everybody waits until `together` are there."""

    def __init__(self, together: int) -> None:
        self.reached = 0
        self._together = together
        self._all = asyncio.Event()

    async def serve(self) -> None:
        self.reached += 1
        if self.reached >= self._together:
            self._all.set()
        await asyncio.wait_for(self._all.wait(), 5)


# --------------------------------------------------------------- failures count
def login(answer: Any, limit: RateLimit, **options: Any) -> tuple[FastAPI, LockWatch]:
    app = FastAPI()
    lockwatch = LockWatch(app, **options)

    @app.post("/login", dependencies=[Depends(limit)])
    async def view() -> Any:
        return await answer()

    return app, lockwatch


async def test_forty_failing_logins_at_once_reach_the_view_five_times(options: dict[str, Any]) -> None:
    bar = Bar(5)

    async def answer() -> Any:
        await bar.serve()
        return JSONResponse({}, 401)

    app, lockwatch = login(answer, RateLimit("5/minute", count="failures"), **options)
    found = await asyncio.gather(*[http(app, "POST", "/login") for _ in range(40)])
    assert sorted(e.status for e in found) == [401] * 5 + [429] * 35
    assert bar.reached == 5
    await lockwatch.flush()
    assert (await http(app, "POST", "/login")).status == 429
    await lockwatch.aclose()


async def test_what_succeeds_costs_nothing(options: dict[str, Any]) -> None:
    async def answer() -> Any:
        return {"token": "t"}

    app, lockwatch = login(answer, RateLimit("2/minute", count="failures"), **options)
    for _ in range(12):
        assert (await http(app, "POST", "/login")).status == 200
        await lockwatch.flush()
    await lockwatch.aclose()


async def test_failures_count_and_successes_between_them_do_not(options: dict[str, Any]) -> None:
    statuses = iter([401, 200, 403, 204, 500, 200])

    async def answer() -> Any:
        return JSONResponse(None, next(statuses))

    app, lockwatch = login(answer, RateLimit("3/minute", count="failures"), **options)
    found = []
    for _ in range(6):
        found.append((await http(app, "POST", "/login")).status)
        await lockwatch.flush()
    assert found == [401, 200, 403, 204, 500, 429]
    await lockwatch.aclose()


async def test_five_slow_successes_in_flight_lock_nobody_out_afterwards(options: dict[str, Any]) -> None:
    gate = asyncio.Event()
    started = 0

    async def answer() -> Any:
        nonlocal started
        started += 1
        await asyncio.wait_for(gate.wait(), 5)
        return {}

    app, lockwatch = login(answer, RateLimit("5/minute", count="failures"), **options)
    slow = [asyncio.create_task(http(app, "POST", "/login")) for _ in range(5)]
    while started < 5:
        await asyncio.sleep(0)
    assert (await http(app, "POST", "/login")).status == 429
    gate.set()
    assert [e.status for e in await asyncio.gather(*slow)] == [200] * 5
    await lockwatch.flush()
    assert (await http(app, "POST", "/login")).status == 200
    await lockwatch.aclose()


async def test_an_exception_is_a_failure(options: dict[str, Any]) -> None:
    async def answer() -> Any:
        raise RuntimeError("the database is away")

    app, lockwatch = login(answer, RateLimit("1/minute", count="failures"), **options)
    with pytest.raises(RuntimeError):
        await http(app, "POST", "/login")
    await lockwatch.flush()
    assert (await http(app, "POST", "/login")).status == 429
    await lockwatch.aclose()


async def test_a_client_that_leaves_before_the_answer_is_a_failure(options: dict[str, Any]) -> None:
    started = asyncio.Event()

    async def answer() -> Any:
        started.set()
        await asyncio.Event().wait()

    app, lockwatch = login(answer, RateLimit("1/minute", count="failures"), **options)
    leaving = asyncio.create_task(http(app, "POST", "/login"))
    await asyncio.wait_for(started.wait(), 5)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    await lockwatch.flush()
    assert (await http(app, "POST", "/login")).status == 429
    await lockwatch.aclose()


async def test_a_callable_says_which_status_counts(options: dict[str, Any]) -> None:
    statuses = iter([500, 404, 401])

    async def answer() -> Any:
        return JSONResponse(None, next(statuses))

    app, lockwatch = login(answer, RateLimit("1/minute", count=lambda status: status == 401), **options)
    found = []
    for _ in range(4):
        found.append((await http(app, "POST", "/login")).status)
        await lockwatch.flush()
    assert found == [500, 404, 401, 429]
    await lockwatch.aclose()


async def test_a_malformed_body_on_a_guarded_route_is_a_failure(options: dict[str, Any]) -> None:
    app = FastAPI()
    lockwatch = LockWatch(app, **options)

    @app.post("/login", dependencies=[Depends(RateLimit("2/minute", count="failures"))])
    async def view(data: dict[str, str]) -> dict[str, str]:
        return data

    headers = {"content-type": "application/json"}
    for expected in (422, 422, 429):
        assert (await http(app, "POST", "/login", body=b"{", headers=headers)).status == expected
        await lockwatch.flush()
    await lockwatch.aclose()


# ------------------------------------------------------------ a cost known later
def chat(**options: Any) -> tuple[FastAPI, LockWatch]:
    app = FastAPI()
    lockwatch = LockWatch(app, **options)

    def estimate(request: Request) -> int:
        return int(request.headers["x-estimate"])

    @app.get("/chat", dependencies=[Depends(RateLimit("tokens=1000/hour", cost=estimate)), Depends(RateLimit("requests=100/hour"))])
    async def view(request: Request, real: int) -> int:
        await request.state.lockwatch.settle(real)
        return real

    return app, lockwatch


async def left(app: FastAPI, estimate: int, real: int) -> tuple[int, int]:
    answer = await http(app, "GET", "/chat", headers={"x-estimate": str(estimate)}, query_string=f"real={real}".encode())
    tokens, requests = (answer.header("ratelimit") or "").split(", ")
    return answer.status, int(tokens.split("r=")[1].split(";")[0]) * 1000 + int(requests.split("r=")[1].split(";")[0])


@pytest.mark.parametrize(
    ("real", "following"),
    [(100, 899 * 1000 + 98), (0, 999 * 1000 + 98), (400, 599 * 1000 + 98), (1400, 0 * 1000 + 99)],
)
async def test_settling_sets_the_real_cost_of_this_request_only(options: dict[str, Any], real: int, following: int) -> None:
    app, lockwatch = chat(**options)
    assert await left(app, 400, real) == (200, 600 * 1000 + 99)
    status, found = await left(app, 1, 1)
    assert status == (429 if real > 1000 else 200)
    assert found == following
    await lockwatch.aclose()


async def test_the_last_settlement_counts(options: dict[str, Any]) -> None:
    app = FastAPI()
    lockwatch = LockWatch(app, **options)

    @app.get("/chat", dependencies=[Depends(RateLimit("1000/hour", cost=500))])
    async def view(request: Request) -> None:
        for so_far in (10, 700, 30, 30):
            await request.state.lockwatch.settle(so_far)

    assert (await http(app, "GET", "/chat")).header("x-ratelimit-remaining") == "500"
    assert (await http(app, "GET", "/chat")).header("x-ratelimit-remaining") == "470"
    await lockwatch.aclose()


async def test_settling_after_a_stream_ended_counts(options: dict[str, Any]) -> None:
    app = FastAPI()
    lockwatch = LockWatch(app, **options)

    @app.get("/chat", dependencies=[Depends(RateLimit("1000/hour", cost=500))])
    async def view(request: Request) -> StreamingResponse:
        async def tokens() -> AsyncIterator[str]:
            for n in range(5):
                yield str(n)
            await request.state.lockwatch.settle(5)

        return StreamingResponse(tokens())

    assert (await http(app, "GET", "/chat")).body == b"01234"
    assert (await http(app, "GET", "/chat")).header("x-ratelimit-remaining") == "495"
    await lockwatch.aclose()


async def test_settling_where_nothing_has_a_cost_says_what_to_declare() -> None:
    app = FastAPI()
    LockWatch(app)
    seen: list[Exception] = []

    @app.get("/chat", dependencies=[Depends(RateLimit("1000/hour"))])
    async def view(request: Request) -> None:
        for actual in (5, -1, True, "5"):
            try:
                await request.state.lockwatch.settle(actual)
            except (LookupError, ValueError) as error:
                seen.append(error)

    await http(app, "GET", "/chat")
    assert [type(e) for e in seen] == [LookupError, ValueError, ValueError, ValueError]
    assert "cost=estimate" in str(seen[0])


# ------------------------------------------------------------------ in flight
async def test_no_more_than_the_limit_are_in_flight(options: dict[str, Any]) -> None:
    closing = asyncio.Event()

    async def answer() -> Any:
        await asyncio.wait_for(closing.wait(), 20)
        return {}

    app, lockwatch = login(answer, RateLimit("3 concurrent"), **options)
    visits = [asyncio.ensure_future(http(app, "POST", "/login")) for _ in range(20)]
    async with asyncio.timeout(20):
        while sum(visit.done() for visit in visits) < 17:
            await asyncio.wait([visit for visit in visits if not visit.done()], return_when=asyncio.FIRST_COMPLETED)
    closing.set()
    found = await asyncio.gather(*visits)
    assert sorted(e.status for e in found) == [200] * 3 + [429] * 17
    refused = next(e for e in found if e.status == 429)
    assert refused.header("ratelimit-policy") == '"3-concurrent";q=3;qu="concurrent-requests"'
    assert refused.header("retry-after") == "1"
    assert refused.json()["detail"] == "3 requests at once used up; try again in 1 second"
    await lockwatch.flush()
    assert (await http(app, "POST", "/login")).status == 200
    await lockwatch.aclose()


async def test_a_stream_is_in_flight_until_its_last_byte(options: dict[str, Any]) -> None:
    app = FastAPI()
    lockwatch = LockWatch(app, **options)
    gate, flowing = asyncio.Event(), asyncio.Event()

    @app.get("/stream", dependencies=[Depends(RateLimit("1 concurrent"))])
    async def view() -> StreamingResponse:
        async def parts() -> AsyncIterator[str]:
            yield "a"
            flowing.set()
            await asyncio.wait_for(gate.wait(), 5)
            yield "b"

        return StreamingResponse(parts())

    asgi = {"version": "3.0", "spec_version": "2.4"}  # a server that says so does not have to be asked whether the client has gone
    first = asyncio.create_task(http(app, "GET", "/stream", asgi=asgi))
    await asyncio.wait_for(flowing.wait(), 5)
    assert (await http(app, "GET", "/stream")).status == 429
    gate.set()
    assert (await first).body == b"ab"
    await lockwatch.flush()
    assert (await http(app, "GET", "/stream")).status == 200
    await lockwatch.aclose()


async def test_an_exception_ends_what_was_in_flight(options: dict[str, Any]) -> None:
    async def answer() -> Any:
        raise RuntimeError("no")

    app, lockwatch = login(answer, RateLimit("1 concurrent"), **options)
    for _ in range(3):
        with pytest.raises(RuntimeError):
            await http(app, "POST", "/login")
        await lockwatch.flush()
    await lockwatch.aclose()


def test_a_websocket_is_in_flight_for_its_life(options: dict[str, Any]) -> None:
    app = FastAPI()
    lockwatch = LockWatch(app, **options)

    @app.websocket("/ws", dependencies=[Depends(RateLimit("1 concurrent"))])
    async def view(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    with TestClient(app) as client:
        with client.websocket_connect("/ws") as open_one:
            open_one.send_text("hello")
            assert open_one.receive_text() == "hello"
            with pytest.raises(WebSocketDenialResponse) as caught, client.websocket_connect("/ws"):
                pass
            assert caught.value.status_code == 429
        client.portal.call(lockwatch.flush)  # type: ignore[union-attr]
        with client.websocket_connect("/ws") as again:
            again.send_text("again")
            assert again.receive_text() == "again"


def test_messages_of_an_open_websocket_have_limits_of_their_own(options: dict[str, Any]) -> None:
    app = FastAPI()
    LockWatch(app, **options)

    @app.websocket("/ws/{room}")
    async def view(websocket: WebSocket, room: str) -> None:
        await websocket.accept()
        async for _ in websocket.iter_text():
            decision = await websocket.state.lockwatch.take("3/minute")
            await websocket.send_text(f"{decision.allowed} {decision.remaining}")

    with TestClient(app) as client:
        for room in ("a", "b"):
            with client.websocket_connect(f"/ws/{room}") as messages:
                found = []
                for _ in range(4):
                    messages.send_text("x")
                    found.append(messages.receive_text())
            assert found == (["True 2", "True 1", "True 0", "False 0"] if room == "a" else ["False 0"] * 4)
