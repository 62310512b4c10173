"""Known offenders: who was refused is refused again without a word to Redis, until a reset or until it is over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import redis.asyncio
from fastapi import Depends, FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import PlainTextResponse

from lockwatch import Decision, LockWatch, RateLimit, RateLimited
from tests.edges.asgi import Exchange, http

told: list[Decision] = []
seen: list[str] = []


def note(request: Request, decision: Decision) -> None:
    told.append(decision)


def make(url: str, **options: Any) -> tuple[FastAPI, LockWatch]:
    app = FastAPI()
    lockwatch = LockWatch(app, redis_url=url, store_timeout=2.0, secret_key="0123456789abcdef", **options)
    app.add_middleware(CORSMiddleware, allow_origins=["https://shop.example.com"])

    @app.middleware("http")
    async def look(request: Request, call_next: Callable[[Request], Awaitable[Any]]) -> Any:
        seen.append(request.url.path)
        return await call_next(request)

    @app.get("/a", dependencies=[Depends(RateLimit("2/hour"))])
    async def a() -> None: ...

    @app.get("/told", dependencies=[Depends(RateLimit("2/hour", on_breach=note))])
    async def told() -> None: ...

    @app.get("/b", dependencies=[Depends(RateLimit("9/hour"))])
    async def b() -> None: ...

    return app, lockwatch


@pytest.fixture
async def offended(redis_server: str) -> AsyncIterator[tuple[FastAPI, LockWatch]]:
    """An application in which 192.0.2.1 is known on `/a`."""
    app, lockwatch = make(redis_server)
    await offend(app, lockwatch)
    told.clear()
    seen.clear()
    yield app, lockwatch
    await lockwatch.aclose()


async def offend(app: FastAPI, lockwatch: LockWatch, path: str = "/a", peer: str = "192.0.2.1") -> None:
    """Ask until the refusal comes from this process: until the store was heard, it is asked."""
    for _ in range(2):
        assert (await http(app, "GET", path, peer=peer)).status == 200
    await until(lambda: known(app, lockwatch, path, peer))


async def known(app: FastAPI, lockwatch: LockWatch, path: str = "/a", peer: str = "192.0.2.1") -> bool:
    before = await commands(lockwatch)
    refused = await http(app, "GET", path, peer=peer)
    return refused.status == 429 and await commands(lockwatch) == before


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> float:
    """How long it takes until something holds."""
    began = time.monotonic()
    while not await holds():
        assert time.monotonic() - began < seconds
        await asyncio.sleep(0.02)
    return time.monotonic() - began


async def commands(lockwatch: LockWatch) -> int:
    """How many scripts that charge the server has run: those of the background ask for the epoch and say that we live."""
    async with redis.asyncio.Redis.from_url(lockwatch.config.redis_url) as client:
        return int((await client.info("commandstats")).get("cmdstat_getrange", {}).get("calls", 0))


async def test_a_known_offender_costs_redis_nothing(offended: tuple[FastAPI, LockWatch]) -> None:
    app, lockwatch = offended

    async def free() -> bool:
        before = await commands(lockwatch)
        found = [await http(app, "GET", "/a") for _ in range(50)]
        assert {e.status for e in found} == {429}
        return await commands(lockwatch) == before

    await until(free)  # where the background was kept from reading the epoch for a second, the store is asked


async def test_the_refusal_says_what_it_said_before(offended: tuple[FastAPI, LockWatch]) -> None:
    app, _ = offended
    refused = await http(app, "GET", "/a")
    wait = int(refused.header("retry-after") or 0)
    assert 3500 < wait <= 3600
    assert refused.header("ratelimit-policy") == '"2-per-hour";q=2;w=3600'
    assert refused.header("ratelimit") == f'"2-per-hour";r=0;t={wait}'
    assert refused.json()["violated-policies"] == ["2-per-hour"]
    assert len({(await http(app, "GET", "/a")).json()["decision"] for _ in range(3)}) == 3


async def test_breaches_are_still_told(offended: tuple[FastAPI, LockWatch]) -> None:
    app, lockwatch = offended
    await offend(app, lockwatch, "/told")
    told.clear()
    for _ in range(3):
        await http(app, "GET", "/told")
    assert [d.refuses for d in told] == [True] * 3


async def test_what_is_counted_is_counted_all_the_same(offended: tuple[FastAPI, LockWatch]) -> None:
    app, lockwatch = offended

    def refused() -> int:
        counted = {(policy, outcome): n for policy, outcome, n in lockwatch.engine.link.meter.decisions()}
        return counted["2-per-hour", "refused"]

    before = refused()
    for _ in range(3):
        await http(app, "GET", "/a")
    assert refused() == before + 3


async def test_the_answer_counts_down(offended: tuple[FastAPI, LockWatch]) -> None:
    app, _ = offended
    began = time.monotonic()
    first = await http(app, "GET", "/a")
    await asyncio.sleep(1.1)
    later = await http(app, "GET", "/a")
    less = int(first.header("retry-after") or 0) - int(later.header("retry-after") or 0)
    assert 1 <= less <= 1 + (time.monotonic() - began)
    assert later.json()["retry_after"] == int(later.header("retry-after") or 0)
    assert int(later.header("content-length") or 0) == len(later.body)
    assert abs(int(later.header("x-ratelimit-reset") or 0) - int(first.header("x-ratelimit-reset") or 0)) <= 1


async def test_it_is_refused_before_routing_unless_a_browser_needs_cors(offended: tuple[FastAPI, LockWatch]) -> None:
    app, lockwatch = offended
    await until(lambda: known(app, lockwatch))
    seen.clear()

    async def unseen() -> bool:
        seen.clear()
        await http(app, "GET", "/a")
        return not seen

    await until(unseen)
    seen.clear()
    refused = await http(app, "GET", "/a", headers={"origin": "https://shop.example.com"})
    assert (refused.status, refused.header("access-control-allow-origin")) == (429, "https://shop.example.com")
    assert seen == ["/a"]


async def test_what_is_remembered_of_paths_is_bounded(offended: tuple[FastAPI, LockWatch]) -> None:
    app, lockwatch = offended

    @app.get("/items/{name}", dependencies=[Depends(RateLimit("0/hour", shared="nothing"))])
    async def items(name: str) -> None: ...

    for n in range(5000):
        assert (await http(app, "GET", f"/items/{n}")).status == 429
    shortcut = lockwatch.guards[0].shortcut
    before = len(shortcut)
    assert 0 < before <= 4096
    for n in range(3):
        assert (await http(app, "GET", f"/items/{n}" + "x" * 60_000)).status == 429
    assert len(shortcut) == before


async def test_a_path_under_two_hosts_is_two_routes(redis_server: str) -> None:
    app, lockwatch = make(redis_server)
    other = FastAPI()

    @other.get("/a")
    async def a() -> str:
        return "another"

    app.host("other.example.com", other)
    app.router.routes.insert(0, app.router.routes.pop())
    await offend(app, lockwatch)
    assert (await http(app, "GET", "/a", headers={"host": "other.example.com"})).status == 200
    assert (await http(app, "GET", "/a")).status == 429
    await lockwatch.aclose()


async def test_others_and_other_routes_are_not_refused(offended: tuple[FastAPI, LockWatch]) -> None:
    app, _ = offended
    assert (await http(app, "GET", "/a", peer="192.0.2.2")).status == 200
    assert (await http(app, "GET", "/b")).status == 200
    assert (await http(app, "POST", "/a")).status == 405


async def test_the_application_answers_a_known_offender_its_own_way(redis_server: str) -> None:
    app, lockwatch = make(redis_server)

    @app.exception_handler(RateLimited)
    async def slow_down(request: Request, error: RateLimited) -> PlainTextResponse:
        assert request.app is app
        return PlainTextResponse("slow down", 429)

    await offend(app, lockwatch)
    refused = await http(app, "GET", "/a")
    assert (refused.body, refused.header("ratelimit-policy")) == (b"slow down", '"2-per-hour";q=2;w=3600')
    await lockwatch.aclose()


@pytest.mark.timing
async def test_a_reset_anywhere_is_heard_within_a_second(redis_server: str) -> None:
    app, lockwatch = make(redis_server)
    _, elsewhere = make(redis_server)

    @app.get("/c", dependencies=[Depends(RateLimit("2/hour", key=lambda request: "ann", shared="exports"))])
    async def c() -> None: ...

    await offend(app, lockwatch, "/c")
    assert await elsewhere.reset("exports", "ann", "2/hour")

    async def admitted() -> bool:
        return (await http(app, "GET", "/c")).status == 200

    assert await until(admitted) < 5  # a second, and what a busy machine adds
    await elsewhere.aclose()
    await lockwatch.aclose()


async def test_who_may_be_admitted_sooner_is_asked_for_each_time(redis_server: str) -> None:
    app = FastAPI()
    lockwatch = LockWatch(app, redis_url=redis_server, store_timeout=2.0)

    @app.get("/login", dependencies=[Depends(RateLimit("2/hour", count="failures"))])
    async def login() -> PlainTextResponse:
        return PlainTextResponse("no", 401)

    for _ in range(2):
        await http(app, "GET", "/login")
        await lockwatch.flush()
    for _ in range(20):
        before = await commands(lockwatch)
        refused: Exchange = await http(app, "GET", "/login")
        assert refused.status == 429
        assert await commands(lockwatch) > before
        await asyncio.sleep(0.05)
    await lockwatch.aclose()


async def test_with_a_limit_on_refusals_each_refusal_is_charged(redis_server: str) -> None:
    app, lockwatch = make(redis_server, meta_limits="20/hour")
    for _ in range(2):
        await http(app, "GET", "/a")
    found = []
    for _ in range(40):
        found.append((await http(app, "GET", "/a")).json()["violated-policies"])
        await asyncio.sleep(0.03)
    assert found[:20] == [["2-per-hour"]] * 20
    assert all("meta" in names for names in found[20:])
    await lockwatch.aclose()


async def test_observing_refuses_nobody_who_is_known(offended: tuple[FastAPI, LockWatch]) -> None:
    app, lockwatch = offended
    for mode in ("observe", "off"):
        with lockwatch.override(mode=mode):
            assert (await http(app, "GET", "/a")).status == 200
    assert (await http(app, "GET", "/a")).status == 429
