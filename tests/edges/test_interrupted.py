"""Answers that end otherwise than planned: clients that leave in the middle, redirects on the way to a route."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import Depends, FastAPI
from fastapi.responses import StreamingResponse

from lockwatch import LockWatch, RateLimit
from tests.edges.asgi import http

SCOPE = {"asgi": {"version": "3.0", "spec_version": "2.4"}}
"""A server whose `send` raises when the client has gone."""


@pytest.fixture(params=("memory", "redis"))
def options(request: pytest.FixtureRequest, redis_server: str) -> dict[str, Any]:
    return {} if request.param == "memory" else {"redis_url": redis_server, "store_timeout": 2.0}


def streaming(limit: RateLimit, status: int = 200, **options: Any) -> tuple[FastAPI, LockWatch, asyncio.Event]:
    """An application with a stream that has begun when the event is set, and does not end."""
    app, flowing = FastAPI(), asyncio.Event()
    lockwatch = LockWatch(app, **options)

    @app.get("/stream", dependencies=[Depends(limit)])
    async def view() -> StreamingResponse:
        async def parts() -> AsyncIterator[str]:
            yield "a"
            flowing.set()
            await asyncio.Event().wait()
            yield "b"

        return StreamingResponse(parts(), status)

    return app, lockwatch, flowing


async def leave(app: FastAPI, lockwatch: LockWatch, flowing: asyncio.Event) -> None:
    """Ask for the stream, and go when it has begun."""
    leaving = asyncio.create_task(http(app, "GET", "/stream", **SCOPE))
    await asyncio.wait_for(flowing.wait(), 5)
    flowing.clear()
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    await lockwatch.flush()


async def test_a_client_that_leaves_in_the_middle_of_a_stream_gives_its_place_back(options: dict[str, Any]) -> None:
    app, lockwatch, flowing = streaming(RateLimit("1 concurrent"), **options)
    for _ in range(3):
        await leave(app, lockwatch, flowing)
    await lockwatch.aclose()


@pytest.mark.parametrize(("status", "used"), [(200, 0), (500, 1)])
async def test_the_status_of_a_stream_that_was_left_has_decided(options: dict[str, Any], status: int, used: int) -> None:
    app, lockwatch, flowing = streaming(RateLimit("5/minute", count="failures"), status, **options)
    await leave(app, lockwatch, flowing)
    assert sum(usage.used for usage in await lockwatch.limits_of("ip:192.0.2.1")) == used
    await lockwatch.aclose()


async def test_a_redirect_to_the_route_costs_the_application_and_not_the_route(options: dict[str, Any]) -> None:
    app = FastAPI()
    lockwatch = LockWatch(app, application_limits="all=9/minute", **options)

    @app.get("/items", dependencies=[Depends(RateLimit("route=2/minute"))])
    async def items() -> None: ...

    redirect = await http(app, "GET", "/items/")
    assert (redirect.status, redirect.starts, redirect.all("ratelimit")) == (307, 1, ['"all";r=8;t=60'])
    assert (await http(app, "GET", "/items")).all("ratelimit") == ['"all";r=7;t=60, "route";r=1;t=60']
    await lockwatch.aclose()
