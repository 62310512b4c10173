"""Under load: what an outage costs those who have nothing to do with it, and what a busy loop does not count as one."""

from __future__ import annotations

import asyncio
import signal
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest
import redis
from fastapi import FastAPI

from lockwatch import LockWatch
from tests import servers
from tests.edges.asgi import http
from tests.failure.apps import DEADLINE, TICK, ask, asked_until, clock, heartbeat, make

STALL = 0.02
CLIENTS = 10
BLOCKED = 0.4
"""Longer than the deadline of the same test; and both longer than a busy machine makes an answer take."""


@pytest.fixture
def server() -> Iterator[servers.Proc]:
    process = servers.start_redis()
    yield process
    process.popen.send_signal(signal.SIGCONT)
    process.stop()


def url(server: servers.Proc) -> str:
    return f"redis://127.0.0.1:{server.port}/0"


async def best_of(rounds: int, measure: Callable[[], Awaitable[tuple[float, float]]], good: tuple[float, float]) -> list[float]:
    """The best of each in several rounds, until it is good: neighbours disturb the machine, and never for the better."""
    best = [float("inf"), float("inf")]
    for _ in range(rounds):
        best = [min(pair) for pair in zip(best, await measure(), strict=True)]
        if best[0] < good[0] and best[1] < good[1]:
            break
    return best


# ------------------------------------------------------------------ a pause of one second
@pytest.mark.timing
async def test_a_pause_of_a_second_holds_up_no_loop_and_no_request_past_its_deadline(server: servers.Proc) -> None:
    app, lockwatch = make(url(server), quota=10**6)
    admin = redis.Redis(port=server.port)

    async def client(number: int, ends: float, waits: list[float]) -> None:
        while time.monotonic() < ends:
            began = clock()
            assert await ask(app, "/allow", f"192.0.2.{number}") == 200
            waits.append(clock() - began)
            await asyncio.sleep(0.005)

    async def measure() -> tuple[float, float]:
        assert await asked_until(app, lambda: lockwatch.health().status == "ok")
        waits: list[float] = []
        async with heartbeat() as stood_still:
            admin.client_pause(1000)
            stood_still()
            ends = time.monotonic() + 1.2
            await asyncio.gather(*[client(number, ends, waits) for number in range(CLIENTS)])
            stalled = stood_still()
        assert len(waits) > 5 * CLIENTS
        return stalled, max(waits)

    good = (STALL, DEADLINE + TICK + STALL)
    stalled, waited = await best_of(6, measure, good)
    assert stalled < good[0]
    assert waited < good[1]
    admin.close()
    await lockwatch.aclose()


# ------------------------------------------------------------------ while nobody answers
@pytest.mark.timing
async def test_a_dead_store_costs_requests_almost_nothing(server: servers.Proc) -> None:
    app, lockwatch = make(url(server))
    await ask(app, "/allow", "192.0.2.1")
    server.popen.send_signal(signal.SIGSTOP)
    assert await asked_until(app, lambda: lockwatch.health().breaker == "open")
    link, costs = lockwatch.engine.link, []
    for _ in range(2000):
        began = time.perf_counter()
        with pytest.raises(Exception, match="not asked"):
            link.breaker.enter(0.0)
        costs.append(time.perf_counter() - began)
    assert statistics.median(costs) < 50e-6
    waits = []
    for _ in range(200):
        began = time.perf_counter()
        assert await ask(app, "/deny", "192.0.2.1") == 503
        waits.append(time.perf_counter() - began)
    assert statistics.median(waits) < 0.01
    assert sum(wait > DEADLINE for wait in waits) <= 3  # the probes
    await lockwatch.aclose()


async def test_a_probe_whose_request_went_away_does_not_keep_the_store_away(server: servers.Proc) -> None:
    app, lockwatch = make(url(server))
    assert await ask(app, "/allow", "192.0.2.1") == 200
    server.popen.send_signal(signal.SIGSTOP)
    link = lockwatch.engine.link
    assert await asked_until(app, lambda: link.breaker.state == "open")
    for _ in range(100):
        probe = asyncio.ensure_future(ask(app, "/allow", "192.0.2.1"))
        await asyncio.sleep(0)
        probe.cancel()
        await asyncio.wait([probe])
        if link.breaker.state == "probing":
            break
        await asyncio.sleep(0.02)
    server.popen.send_signal(signal.SIGCONT)
    assert await asked_until(app, lambda: lockwatch.health().status == "ok")
    await lockwatch.aclose()


# ------------------------------------------------------------------ our own loop is blocked
def blocking(url: str) -> tuple[FastAPI, LockWatch]:
    app, lockwatch = make(url, 5, BLOCKED - 0.01)

    @app.get("/block")
    async def block() -> str:
        time.sleep(BLOCKED)
        return "done"

    return app, lockwatch


@pytest.mark.timing
@pytest.mark.parametrize("path", ["/allow", "/deny", "/local"])
@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
async def test_a_handler_that_blocks_the_loop_does_not_let_anybody_through(server: servers.Proc, path: str, warm: bool) -> None:
    app, lockwatch = blocking(url(server))
    if warm:
        await ask(app, path, "192.0.2.9")
    for number in range(3):
        peer = f"192.0.2.{10 + number}"
        asked = [asyncio.ensure_future(http(app, "GET", path, peer=peer)) for _ in range(12)]
        for _ in range(number):
            await asyncio.sleep(0)
        assert await ask(app, "/block", "192.0.2.8") == 200
        found = await asyncio.gather(*asked)
        assert sorted(seen.status for seen in found) == [200] * 5 + [429] * 7
        assert all(seen.header("ratelimit") for seen in found)
        if not warm:
            await lockwatch.aclose()
    assert lockwatch.health().status == "ok"
    await lockwatch.aclose()
