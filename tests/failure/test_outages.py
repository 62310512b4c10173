"""What a request gets while the store fails, and that everything returns by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from fastapi import Depends, FastAPI

from lockwatch import LockWatch, RateLimit
from tests.edges.asgi import http
from tests.failure.faults import ANSWERING, FAULTS, PASSWORD, Fault

DEADLINE = 0.05
TICK = 0.0125
QUOTA = 6
PATHS = ("/allow", "/deny", "/local")
DURING = {"/allow": [200] * 5, "/deny": [503] * 5, "/local": [200, 200, 429, 429, 429]}
"""Five requests of one client while nothing answers; three processes share the quota of six."""
WHILE_FULL = DURING | {"/allow": DURING["/local"]}


@pytest.fixture(params=FAULTS)
def fault(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Fault]]:
    made = FAULTS[request.param](monkeypatch)
    yield request.param, made
    made.close()


@pytest.fixture
async def heart() -> AsyncIterator[list[float]]:
    """Beats every two milliseconds while the loop is free; when it did."""
    beats = [time.monotonic()]

    async def beat() -> None:
        while True:
            await asyncio.sleep(0.002)
            beats.append(time.monotonic())

    task = asyncio.ensure_future(beat())
    yield beats
    task.cancel()
    await asyncio.wait([task])


def lag(beats: list[float]) -> float:
    """How long the loop stood still at worst."""
    return max((b - a for a, b in pairwise(beats)), default=0.0) - 0.002


async def serve() -> str:
    return "served"


def make(url: str, **options: Any) -> tuple[FastAPI, LockWatch]:
    app = FastAPI()
    lockwatch = LockWatch(app, redis_url=url, secret_key="0123456789abcdef", workers=3, store_timeout=DEADLINE, **options)
    for path in PATHS:
        limit = RateLimit(f"{QUOTA}/minute", on_store_error=path[1:])  # type: ignore[arg-type]
        app.add_api_route(path, serve, dependencies=[Depends(limit)])
    return app, lockwatch


async def ask(app: FastAPI, path: str, peer: str) -> int:
    return (await http(app, "GET", path, peer=peer)).status


async def asked_until(app: FastAPI, true: Callable[[], bool], seconds: float = 15) -> bool:
    """Ask every now and then until something is true; a breaker may pause for five seconds."""
    ends = time.monotonic() + seconds
    while not true() and time.monotonic() < ends:
        await ask(app, "/allow", "192.0.2.200")
        await asyncio.sleep(0.02)
    return true()


async def test_each_policy_decides_while_the_store_fails_and_the_store_again_when_it_is_back(
    fault: tuple[str, Fault], heart: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    name, broken = fault
    app, lockwatch = make(broken.url)
    for path in PATHS:
        assert await ask(app, path, "192.0.2.1") == 200
    assert lockwatch.health().status == "ok"
    caplog.clear()

    broken.begin()
    expected = WHILE_FULL if name == "full" else DURING
    for path in PATHS:
        for wanted in expected[path]:
            began, before = time.monotonic(), len(heart)
            assert await ask(app, path, "192.0.2.1") == wanted, (path, lockwatch.health())
            assert time.monotonic() - began < DEADLINE + TICK + 0.03 + lag(heart[before - 1 :])
    health = lockwatch.health()
    assert (health.status, health.store_ok) == ("degraded", False)
    assert health.store_error
    assert health.store == lockwatch.engine.store_name
    opens = await asked_until(app, lambda: lockwatch.health().breaker != "closed", 0.2 if name in ANSWERING else 5)
    assert opens is (name not in ANSWERING)

    broken.end()
    assert await asked_until(app, lambda: lockwatch.health().status == "ok"), lockwatch.health()
    assert lockwatch.health().breaker == "closed"
    for path in PATHS:
        # One was charged before the outage, unless the server forgot; what it received and never answered may count too.
        found = [await ask(app, path, "192.0.2.1") for _ in range(QUOTA)]
        assert found[0] == 200
        assert sorted(found) == found
        assert [await ask(app, path, "192.0.2.2") for _ in range(QUOTA + 1)] == [200] * QUOTA + [429]
    said = [record for record in caplog.records if health.store in record.message]
    assert [record.levelname for record in said] == ["ERROR", "WARNING"]
    assert PASSWORD not in f"{caplog.text} {health}"
    await lockwatch.aclose()
