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
