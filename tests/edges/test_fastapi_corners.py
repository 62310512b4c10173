"""Corners of FastAPI where a limit could be walked around: late routes, wrapped mounts, hosts, nested applications."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request, WebSocket
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import PlainTextResponse
from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute, Host, Match, Router
from starlette.types import Receive, Scope, Send

from lockwatch import LockWatch, RateLimit
from tests.edges.asgi import http, include_again, websocket

ONE = "1/minute"


def limited(limit: str = ONE, **options: Any) -> Any:
    return Depends(RateLimit(limit, **options))


async def statuses(app: Any, *requests: tuple[str, str], **extra: Any) -> list[int]:
    return [(await http(app, method, path, **extra)).status for method, path in requests]


# ------------------------------------------------------------------ late routes
async def test_a_late_decorated_route_of_an_included_router_is_limited() -> None:
    app = FastAPI()
    lockwatch = LockWatch(app)
    router = APIRouter()
    app.include_router(router)
    assert await statuses(app, ("GET", "/late")) == [404]

    @router.get("/late")
    @lockwatch.limit(ONE)
    async def late() -> None: ...

    include_again(app, router)
    assert await statuses(app, ("GET", "/late"), ("GET", "/late")) == [200, 429]


async def test_a_late_route_leaves_the_gates_of_its_neighbours_where_they_are() -> None:
    app = FastAPI()
    lockwatch = LockWatch(app)
    inner, outer = APIRouter(), APIRouter()
    ran: list[str] = []

    @inner.post("/dependency", dependencies=[limited()])
    async def dependency(x: dict[str, Any]) -> None: ...

    @inner.get("/decorator")
    @lockwatch.limit(ONE)
    async def decorator() -> None:
        ran.append("decorator")

    outer.include_router(inner)
    app.include_router(outer)
    assert await statuses(app, ("POST", "/dependency"), ("GET", "/decorator")) == [422, 200]

    @inner.get("/late")
    async def late() -> None: ...

    refused = await http(app, "POST", "/dependency", body=b"{}")
    assert (refused.status, refused.reads) == (429, 0)
    assert await statuses(app, ("GET", "/decorator")) == [429]
    assert ran == ["decorator"]


async def test_a_late_route_of_a_mounted_application_is_limited_before_it_runs() -> None:
    app, sub = FastAPI(), FastAPI()
    lockwatch = LockWatch(app, application_limits=ONE)
    app.mount("/sub", sub)
    ran: list[str] = []
    assert await statuses(app, ("GET", "/")) == [404]

    @sub.get("/late")
    @lockwatch.limit("5/minute")
    async def late() -> None:
        ran.append("late")

    assert await statuses(app, ("GET", "/sub/late")) == [429]
    assert ran == []


async def test_routes_of_a_router_that_was_mounted_empty_are_limited() -> None:
    app, router = FastAPI(), Router()
    lockwatch = LockWatch(app)
    app.mount("/sub", router)
    assert await statuses(app, ("GET", "/sub/late")) == [404]

    @lockwatch.limit(ONE)
    async def late(request: Any) -> PlainTextResponse:
        return PlainTextResponse("late")

    router.add_route("/late", late)
    assert await statuses(app, ("GET", "/sub/late"), ("GET", "/sub/late")) == [200, 429]


async def test_a_decorated_route_put_in_the_place_of_another_is_limited_at_the_latest_on_its_way_out() -> None:
    app = FastAPI()
    lockwatch = LockWatch(app)

    @app.get("/x")
    async def before() -> None: ...

    assert await statuses(app, ("GET", "/x")) == [200]

    @lockwatch.limit(ONE)
    async def after() -> None: ...

    app.router.routes.pop()
    app.get("/x")(after)
    assert await statuses(app, *[("GET", "/x")] * 3) == [200, 429, 429]


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


async def test_applications_that_share_routes_each_have_one_gate_before_them() -> None:
    shared = FastAPI()

    @shared.get("/x", dependencies=[limited("100/minute")])
    async def x() -> None: ...

    apps = [FastAPI(), FastAPI()]
    for app in apps:
        LockWatch(app, default_limits="100/minute")
        app.mount("/shared", shared)
    for turn in range(10):
        for app in apps:
            assert await statuses(app, ("GET", "/shared/x")) == [200]
            app.add_api_route(f"/{turn}", x)
    route: Any = next(route for route in shared.routes if getattr(route, "path", "") == "/x")
    depth, inside = 0, route.app
    while hasattr(type(inside), "__slots__"):
        depth, inside = depth + 1, inside.app
    assert depth == 2


# ------------------------------------------------- what only a dependency can see
class Bare(BaseRoute):
    """A route without an application of its own, as FastAPI serves frontends: no gate can stand before it."""

    def __init__(self, *limits: RateLimit) -> None:
        self.limits = limits

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return Match.FULL if scope["path"] == "/bare" else Match.NONE, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        for limit in self.limits:
            await limit(HTTPConnection(scope))
        await PlainTextResponse("bare")(scope, receive, send)


async def test_what_only_a_dependency_limits_counts_for_the_application_too() -> None:
    app = FastAPI()
    LockWatch(app, application_limits="3/minute")
    app.router.routes.append(Bare(RateLimit("9/hour"), RateLimit("2/minute")))
    seen = [await http(app, "GET", "/bare") for _ in range(3)]
    assert [s.status for s in seen] == [200, 200, 429]
    assert [s.split(";")[0] for s in (seen[0].header("ratelimit") or "").split(", ")] == [
        '"3-per-minute"',
        '"9-per-hour"',
        '"2-per-minute"',
    ]
    assert await statuses(app, ("GET", "/nowhere")) == [429]


async def test_limits_called_by_hand_have_buckets_of_their_own() -> None:
    app = FastAPI()
    LockWatch(app)
    second, third = RateLimit("second=3/minute"), RateLimit("2/minute")

    @app.get("/x", dependencies=[limited("9/minute")])
    async def x(request: Request) -> None:
        for limit in (second, RateLimit("5/minute"), third):
            await limit(request)

    seen = [await http(app, "GET", "/x") for _ in range(3)]
    assert [s.status for s in seen] == [200, 200, 429]
    assert [item.split("=")[1].split(";")[0] for item in (seen[0].header("ratelimit") or "").split(", ")] == ["8", "2", "4", "1"]


async def test_a_preflight_that_the_application_answers_itself_is_not_limited() -> None:
    app = FastAPI(dependencies=[limited()])
    LockWatch(app, application_limits=ONE)

    @app.options("/{path:path}")
    async def preflight(path: str) -> None: ...

    asked = {"origin": "https://shop.example.com", "access-control-request-method": "POST"}
    assert await statuses(app, *[("OPTIONS", "/x")] * 3, headers=asked) == [200] * 3
    assert await statuses(app, *[("OPTIONS", "/x")] * 2) == [200, 429]


# ------------------------------------------------------------------ WebSockets
async def test_handshakes_that_match_no_route_count_for_the_application() -> None:
    app = FastAPI()
    LockWatch(app, application_limits="2/minute")
    denial: dict[str, Any] = {"websocket.http.response": {}}
    seen = [await websocket(app, "/nowhere", extensions=denial) for _ in range(3)]
    assert [(s.closed, s.status, s.accepted) for s in seen] == [(1000, 0, False), (1000, 0, False), (None, 429, False)]
    assert (await websocket(app, "/nowhere")).closed == 1008
    assert await statuses(app, ("GET", "/nowhere")) == [429]


async def test_a_decorated_websocket_put_in_the_place_of_another_is_refused_when_it_accepts() -> None:
    app = FastAPI()
    lockwatch = LockWatch(app)

    @app.websocket("/x")
    async def before(socket: WebSocket) -> None:
        await socket.close()

    await websocket(app, "/x")

    @lockwatch.limit("0/minute")
    async def after(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("secret")
        await socket.close()

    app.router.routes.pop()
    app.websocket("/x")(after)
    for _ in range(2):
        refused = await websocket(app, "/x")
        assert (refused.accepted, refused.closed) == (False, 1008)


# ------------------------------------------------------------------ afterwards
async def test_what_is_asked_of_a_request_that_has_ended_is_no_problem_of_the_set_up() -> None:
    app = FastAPI()
    lockwatch = LockWatch(app)
    kept: list[Any] = []

    @app.get("/x")
    async def x(request: Request) -> None:
        kept.append(request.state.lockwatch)

    assert await statuses(app, ("GET", "/x")) == [200]
    assert (kept[0].client.address, kept[0].user, kept[0].header(b"host")) == (None, None, None)
    assert lockwatch.health().warnings == ()
