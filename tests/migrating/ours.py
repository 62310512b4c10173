"""Applications of ours, made in a line."""

from __future__ import annotations

from typing import Any

import fastapi
from fastapi import Depends, FastAPI

from lockwatch import LockWatch, RateLimit
from tests.migrating.drive import Ask, run

TREE = tuple(map(int, fastapi.__version__.split(".")[:2])) >= (0, 137)
"""Included routers are nodes of a tree in this FastAPI."""
MOVED = """
from fastapi import Depends, FastAPI
from lockwatch import LockWatch, RateLimit

app = FastAPI()
LockWatch(app)

@app.get("/a", dependencies=[Depends(RateLimit("4/minute"))])
async def a() -> None: ...
"""
"""For a process whose clock can be moved."""
MOVES = [Ask("/a"), Ask("/a", wait=59), *[Ask("/a")] * 3, Ask("/a", wait=1.5), *[Ask("/a")] * 3]
"""Up to the edge of a minute's window that began with the first, and over it."""
EDGE = """
import asyncio
import redis as blocking

@app.get("/half")
async def half() -> None:
    await asyncio.sleep(0.5)

@app.get("/gone")
async def gone() -> None:
    with blocking.Redis.from_url(URL) as client:
        while client.keys("PREFIX:*"):
            await asyncio.sleep(0.01)
"""
EDGES = [Ask("/a"), Ask("/half"), *[Ask("/a")] * 3, Ask("/gone"), *[Ask("/a")] * 4]
"""The same over the edge of a second's window in Redis, whose clock cannot be moved: seven in the second half and after it."""


def limited(limits: Any, **options: Any) -> Any:
    """A limit among `dependencies`."""
    return Depends(RateLimit(limits, **options))


def application(**options: Any) -> FastAPI:
    """An application with lockwatch."""
    app = FastAPI()
    LockWatch(app, **options)
    return app


def statuses(app: FastAPI, *asks: Ask) -> list[int]:
    """What each request got."""
    return [seen.status for seen in run(app, list(asks))]
