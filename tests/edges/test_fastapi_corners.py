"""Corners of FastAPI where a limit could be walked around: late routes, wrapped mounts, hosts, nested applications."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import PlainTextResponse
from starlette.routing import Host
from starlette.types import Receive, Scope, Send

from lockwatch import LockWatch, RateLimit
from tests.edges.asgi import http

ONE = "1/minute"


def limited(limit: str = ONE, **options: Any) -> Any:
    return Depends(RateLimit(limit, **options))


async def statuses(app: Any, *requests: tuple[str, str], **extra: Any) -> list[int]:
    return [(await http(app, method, path, **extra)).status for method, path in requests]


# ----------------------------------------------------------------------- mounts
async def test_an_application_mounted_inside_a_middleware_keeps_its_limits() -> None:
    app, sub = FastAPI(), FastAPI()
    lockwatch = LockWatch(app, default_limits="2/minute")

    @sub.get("/decorated/{item}")
    @lockwatch.limit(ONE)
    async def decorated(item: int) -> None: ...

    @sub.get("/declared", dependencies=[limited("3/minute")])
    async def declared() -> None: ...

    @sub.get("/default")
    async def default() -> None: ...

    app.mount("/sub", CORSMiddleware(sub, allow_origins=["*"]))
    assert await statuses(app, ("GET", "/sub/decorated/1"), ("GET", "/sub/decorated/2")) == [200, 429]
    assert await statuses(app, *[("GET", "/sub/declared")] * 4) == [200, 200, 200, 429]
    assert await statuses(app, *[("GET", "/sub/default")] * 3) == [200, 200, 429]


async def test_what_is_mounted_from_another_framework_is_one_route() -> None:
    class Foreign:
        routes = ("neither", "a list", "nor of Starlette")
        ran = 0

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            self.ran += 1
            await PlainTextResponse("foreign")(scope, receive, send)

    app, foreign = FastAPI(), Foreign()
    LockWatch(app, default_limits=ONE)
    app.mount("/foreign", foreign)
    assert await statuses(app, ("GET", "/foreign/a"), ("GET", "/foreign/b")) == [200, 429]
    assert foreign.ran == 1


async def test_hosts_have_buckets_of_their_own() -> None:
    app = FastAPI()
    LockWatch(app)
    for host in ("a.example", "b.example"):
        site = FastAPI()

        @site.get("/x", dependencies=[limited()])
        async def x() -> None: ...

        app.router.routes.append(Host(host, site))
    first, second, third = [(await http(app, "GET", "/x", headers={"host": f"{h}.example"})).status for h in "aba"]
    assert (first, second, third) == (200, 200, 429)


async def test_a_404_inside_a_mount_of_an_included_router_is_like_any_other() -> None:
    app, router, sub = FastAPI(), APIRouter(), FastAPI()
    LockWatch(app, default_limits="9/minute")
    router.mount("/sub", sub)
    app.include_router(router)
    assert await statuses(app, ("GET", "/sub/nowhere")) == [404]
    assert ((await http(app, "GET", "/nowhere")).header("ratelimit") or "").startswith('"9-per-minute";r=7')


# --------------------------------------------------- applications in each other
async def test_the_limits_of_the_outer_application_come_before_a_mounted_one_with_a_lockwatch_of_its_own() -> None:
    app, sub = FastAPI(), FastAPI()
    LockWatch(app, application_limits="2/minute")
    LockWatch(sub)
    ran: list[str] = []

    @sub.get("/x", dependencies=[limited("9/minute")])
    async def x() -> None:
        ran.append("x")

    app.mount("/sub", sub)
    assert await statuses(app, *[("GET", "/sub/x")] * 3) == [200, 200, 429]
    assert ran == ["x", "x"]
