"""What a gate decides, FastAPI is spared the solving of; where no gate decides, it solves as ever."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI

from lockwatch import LockWatch, RateLimit, by_json
from tests.edges.asgi import http

asked: list[RateLimit] = []


class Noticed(RateLimit):
    """A limit that notes when FastAPI calls it."""

    async def __call__(self, connection: Any, subject: Any = None) -> None:
        asked.append(self)
        await super().__call__(connection, subject)


@pytest.fixture(autouse=True)
def nobody_asked() -> None:
    asked.clear()


def routed(limit: RateLimit) -> APIRouter:
    router = APIRouter()

    @router.get("/a", dependencies=[Depends(limit)])
    async def a() -> str:
        return "a"

    return router


async def statuses(app: Any, count: int = 3) -> list[int]:
    return [(await http(app, "GET", "/a")).status for _ in range(count)]


async def test_a_limit_of_a_route_is_decided_without_being_called() -> None:
    app = FastAPI()
    LockWatch(app)
    app.include_router(routed(Noticed("2/minute")))
    assert await statuses(app) == [200, 200, 429]
    assert asked == []


async def test_a_limit_whose_result_is_used_is_still_called() -> None:
    app = FastAPI()
    LockWatch(app)
    limit = Noticed("2/minute")

    def session(limited: None = Depends(limit)) -> str:
        return "session"

    @app.get("/a")
    async def a(limited: None = Depends(limit), found: str = Depends(session)) -> str:
        return found

    assert await statuses(app) == [200, 200, 429]
    assert asked


async def test_a_limit_decided_with_the_body_or_by_a_dependency_is_not_spared() -> None:
    app = FastAPI()
    LockWatch(app)

    def account() -> str:
        return "ann"

    @app.get("/a", dependencies=[Depends(Noticed("2/minute", key=Depends(account))), Depends(Noticed("9/hour", key=by_json("x")))])
    async def a() -> None: ...

    assert await statuses(app) == [200, 200, 429]
    assert len(asked) >= 3


async def test_past_the_entrance_the_routes_own_dependency_decides() -> None:
    app = FastAPI()
    LockWatch(app)
    app.include_router(routed(Noticed("2/minute", shared="past-the-entrance")))
    assert await statuses(app, 1) == [200]

    async def inside(scope: Any, receive: Any, send: Any) -> None:
        bare = FastAPI()
        bare.mount("", app.router)
        await bare(scope, receive, send)

    assert await statuses(inside) == [200, 200, 429]
    assert asked


async def test_an_override_is_called_in_place_of_the_limit() -> None:
    app = FastAPI()
    LockWatch(app)
    limit = Noticed("1/minute")
    app.include_router(routed(limit))
    assert await statuses(app, 2) == [200, 429]
    called: list[int] = []
    app.dependency_overrides[limit] = lambda: called.append(1)
    assert await statuses(app) == [200] * 3
    assert len(called) == 3
    app.dependency_overrides.clear()
    assert await statuses(app, 1) == [429]


async def test_two_applications_with_one_router_each_decide_for_themselves() -> None:
    router = routed(Noticed("2/minute"))
    first, second, bare = FastAPI(), FastAPI(), FastAPI()
    LockWatch(first)
    LockWatch(second)
    for app in (first, second, bare):
        app.include_router(router)
    assert await statuses(first) == [200, 200, 429]
    assert await statuses(second) == [200, 200, 429]
    assert await statuses(bare) == [200, 200, 429]


async def test_switched_off_and_on_again_it_decides() -> None:
    app = FastAPI()
    lockwatch = LockWatch(app)
    app.include_router(routed(Noticed("1/minute")))
    with lockwatch.override(mode="off"):
        assert await statuses(app) == [200] * 3
    assert await statuses(app, 2) == [200, 429]
