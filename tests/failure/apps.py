"""Applications with one route for each failure policy, and how to watch them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI

from lockwatch import LockWatch, RateLimit
from tests.edges.asgi import http

DEADLINE = 0.05
TICK = 0.0125
"""A quarter of the deadline: how late a call may notice that it is overdue."""
PATHS = ("/allow", "/deny", "/local")


async def serve() -> str:
    return "served"


def make(url: str, quota: int = 6, deadline: float = DEADLINE, **options: Any) -> tuple[FastAPI, LockWatch]:
    app = FastAPI()
    defaults = {"secret_key": "0123456789abcdef", "workers": 3, "store_timeout": deadline}
    lockwatch = LockWatch(app, redis_url=url, **(defaults | options))
    for path in PATHS:
        limit = RateLimit(f"{quota}/minute", on_store_error=path[1:])  # type: ignore[arg-type]
        app.add_api_route(path, serve, dependencies=[Depends(limit)])
    return app, lockwatch


async def ask(app: FastAPI, path: str, peer: str) -> int:
    return (await http(app, "GET", path, peer=peer)).status


async def asked_until(app: FastAPI, true: Callable[[], bool], seconds: float = 60) -> bool:
    """Ask every now and then until something is true; a breaker may pause for five seconds."""
    ends = time.monotonic() + seconds
    while not true() and time.monotonic() < ends:
        await ask(app, "/allow", "192.0.2.200")
        await asyncio.sleep(0.02)
    return true()


def clock() -> float:
    """Seconds in which this thread could have run: those it waited for a processor that others used are left out."""
    now = time.monotonic()
    try:
        waited = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat").read_text().split()[1]
    except OSError:
        return now
    return now - int(waited) / 1e9


@asynccontextmanager
async def heartbeat(period: float = 0.002) -> AsyncIterator[Callable[[], float]]:
    """How long the loop stood still at worst since it was asked last, because of what ran in it."""
    beats = [clock()]

    async def beat() -> None:
        while True:
            await asyncio.sleep(period)
            beats.append(clock())

    def worst() -> float:
        beats.append(clock())
        found = max(b - a for a, b in pairwise(beats)) - period
        del beats[:-1]
        return max(0.0, found)

    task = asyncio.ensure_future(beat())
    yield worst
    task.cancel()
    await asyncio.wait([task])
