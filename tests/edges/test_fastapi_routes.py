"""Where a limit applies in FastAPI, and when: routes, routers, mounts, methods, bodies, errors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Body, Depends, FastAPI, Form, HTTPException, Request, Response, WebSocket
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import PlainTextResponse, StreamingResponse
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from lockwatch import LockWatch, RateLimit, by_ip
from tests.edges.asgi import http, include_again, websocket

ONE = "1/minute"


def limited(limit: str = ONE, **options: Any) -> Any:
    return Depends(RateLimit(limit, **options))


async def statuses(app: Any, *requests: tuple[str, str], **extra: Any) -> list[int]:
    return [(await http(app, method, path, **extra)).status for method, path in requests]


def app_with(**options: Any) -> FastAPI:
    app = FastAPI()
    LockWatch(app, **options)
    return app


async def test_a_route_is_limited_and_says_so_on_every_response() -> None:
    app = app_with()

    @app.get("/a", dependencies=[limited("2/minute")])
    async def a() -> dict[str, bool]:
        return {"ok": True}

    first, second, third = [await http(app, "GET", "/a") for _ in range(3)]
    assert [first.status, second.status, third.status] == [200, 200, 429]
    assert first.header("ratelimit-policy") == '"2-per-minute";q=2;w=60'
    assert first.header("ratelimit") == '"2-per-minute";r=1;t=60'
    assert (first.header("x-ratelimit-limit"), first.header("x-ratelimit-remaining")) == ("2", "1")
    assert third.header("content-type") == "application/problem+json"
    assert 1 <= int(third.header("retry-after") or 0) <= 60
    problem = third.json()
    assert problem["type"].endswith("#quota-exceeded")
    assert (problem["status"], problem["error"], problem["violated-policies"]) == (429, "rate_limit_exceeded", ["2-per-minute"])
    assert problem["retry_after"] == int(third.header("retry-after") or 0)
    assert problem["decision"]


async def test_two_addresses_do_not_share_a_bucket() -> None:
    app = app_with()

    @app.get("/a", dependencies=[limited()])
    async def a() -> None: ...

    assert [(await http(app, "GET", "/a", peer=peer)).status for peer in ("192.0.2.1", "192.0.2.2", "192.0.2.1")] == [200, 200, 429]


@pytest.mark.parametrize("body", [b"{bad json", b"x" * 50_000_000], ids=["malformed", "50 MB"])
async def test_a_refused_request_is_refused_before_its_body_is_read(body: bytes) -> None:
    app = app_with()
    inner = APIRouter()
    outer = APIRouter(prefix="/v1")

    @inner.post("/items", dependencies=[limited()])
    async def items(x: dict[str, Any]) -> None: ...

    outer.include_router(inner, prefix="/in")
    app.include_router(outer, prefix="/api")
    json = {"content-type": "application/json"}
    first = await http(app, "POST", "/api/v1/in/items", body=b"{bad", headers=json)
    assert (first.status, first.header("ratelimit")) == (422, '"1-per-minute";r=0;t=60')
    second = await http(app, "POST", "/api/v1/in/items", body=body, headers=json)
    assert (second.status, second.reads) == (429, 0)


async def test_forms_raw_bodies_and_plain_requests_are_refused_unread() -> None:
    app = app_with()

    @app.post("/form", dependencies=[limited()])
    async def form(name: Annotated[str, Form()]) -> None: ...

    @app.post("/raw", dependencies=[limited()])
    async def raw(request: Request) -> int:
        return len(await request.body())

    for path, kind in (("/form", "application/x-www-form-urlencoded"), ("/raw", "application/octet-stream")):
        first = await http(app, "POST", path, body=b"name=x", headers={"content-type": kind})
        second = await http(app, "POST", path, body=b"name=x", headers={"content-type": kind})
        assert (first.status, second.status, second.reads) == (200, 429, 0)


async def test_path_parameters_share_the_bucket_of_their_template() -> None:
    app = app_with()

    @app.get("/u/{i}", dependencies=[limited("2/minute")])
    async def u(i: int) -> int:
        return i

    assert await statuses(app, ("GET", "/u/1"), ("GET", "/u/2"), ("GET", "/u/3")) == [200, 200, 429]


async def test_a_router_included_twice_has_a_bucket_per_prefix() -> None:
    app = app_with()
    router = APIRouter()

    @router.get("/a", dependencies=[limited()])
    async def a() -> None: ...

    app.include_router(router, prefix="/one")
    app.include_router(router, prefix="/two")
    assert await statuses(app, ("GET", "/one/a"), ("GET", "/two/a"), ("GET", "/one/a"), ("GET", "/two/a")) == [200, 200, 429, 429]


async def test_two_handlers_of_the_same_name_have_buckets_of_their_own() -> None:
    app = app_with()

    def make(path: str) -> None:
        @app.get(path, dependencies=[limited()])
        async def handler() -> None: ...

    make("/a")
    make("/b")
    assert await statuses(app, ("GET", "/a"), ("GET", "/b"), ("GET", "/a")) == [200, 200, 429]


async def test_methods_have_buckets_of_their_own_and_head_counts_as_get() -> None:
    app = app_with()

    @app.api_route("/a", methods=["GET", "HEAD", "POST", "OPTIONS"], dependencies=[limited()])
    async def a() -> None: ...

    requests = [("HEAD", "/a"), ("GET", "/a"), ("POST", "/a"), ("OPTIONS", "/a"), ("OPTIONS", "/a")]
    assert await statuses(app, *requests) == [200, 429, 200, 200, 429]


async def test_a_refused_head_request_has_no_body() -> None:
    app = app_with()

    @app.head("/a", dependencies=[limited("0/minute")])
    async def a() -> None: ...

    seen = await http(app, "HEAD", "/a")
    assert (seen.status, seen.body, seen.header("retry-after")) == (429, b"", None)


async def test_one_instance_at_application_router_and_route_counts_once() -> None:
    limit = RateLimit("2/minute")
    app = FastAPI(dependencies=[Depends(limit)])
    LockWatch(app)
    router = APIRouter(dependencies=[Depends(limit)])

    @router.get("/a", dependencies=[Depends(limit)])
    async def a() -> None: ...

    app.include_router(router)
    seen = [await http(app, "GET", "/a") for _ in range(3)]
    assert [s.status for s in seen] == [200, 200, 429]
    assert seen[0].header("ratelimit") == '"2-per-minute";r=1;t=60'


async def test_two_equal_instances_are_two_limits() -> None:
    app = app_with()

    @app.get("/a", dependencies=[limited("5/minute"), limited("5/minute")])
    async def a() -> None: ...

    seen = await http(app, "GET", "/a")
    assert seen.header("ratelimit") == '"5-per-minute";r=4;t=60, "5-per-minute-2";r=4;t=60'


async def test_limits_of_application_router_route_and_decorator_are_charged_together_or_not_at_all() -> None:
    app = FastAPI(dependencies=[limited("10/minute", name="app")])
    lockwatch = LockWatch(app)
    router = APIRouter(dependencies=[limited("10/minute", name="router")])

    @router.get("/a", dependencies=[limited("2/minute", name="route")])
    @lockwatch.limit("10/minute", name="decorator")
    async def a() -> None: ...

    app.include_router(router)
    for expected in (200, 200, 429, 429, 429):
        seen = await http(app, "GET", "/a")
        assert seen.status == expected
    assert seen.header("ratelimit") == '"app";r=8;t=60, "router";r=8;t=60, "route";r=0;t=60, "decorator";r=8;t=60'
    assert seen.json()["violated-policies"] == ["route"]
    assert (seen.header("x-ratelimit-limit"), seen.header("x-ratelimit-remaining")) == ("2", "0")


async def test_a_limit_inside_a_users_own_dependency_is_enforced_before_it_runs() -> None:
    app, ran = app_with(), []

    async def session(_: None = limited()) -> str:
        ran.append(1)
        return "session"

    @app.get("/a")
    async def a(s: str = Depends(session)) -> str:
        return s

    assert await statuses(app, ("GET", "/a"), ("GET", "/a")) == [200, 429]
    assert len(ran) == 1


async def test_mounted_applications_are_limited_by_their_full_template() -> None:
    app, sub = app_with(), FastAPI()

    @sub.get("/deep/{q}", dependencies=[limited()])
    async def deep(q: str) -> str:
        return q

    app.mount("/one", sub)
    app.mount("/two", sub)
    seen = [await http(app, "GET", path) for path in ("/one/deep/1", "/one/deep/2", "/two/deep/1")]
    assert [s.status for s in seen] == [200, 429, 200]
    assert seen[1].header("content-type") == "application/problem+json"


async def test_plain_asgi_mounts_and_starlette_routes_take_default_limits() -> None:
    async def plain(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("hi")(scope, receive, send)

    async def home(request: Request) -> Response:
        return PlainTextResponse("home")

    app = FastAPI(routes=[Mount("/plain", plain), Route("/home", home)])
    LockWatch(app, default_limits=ONE)
    assert await statuses(app, ("GET", "/plain/1"), ("GET", "/plain/2"), ("GET", "/home"), ("GET", "/home")) == [200, 429, 200, 429]


@pytest.mark.parametrize("root_path", ["", "/proxy"])
async def test_root_path_is_not_part_of_the_bucket(root_path: str) -> None:
    app = app_with()

    @app.get("/a", dependencies=[limited()])
    async def a() -> None: ...

    first = await http(app, "GET", "/a")
    second = await http(app, "GET", "/a", root_path=root_path)
    assert (first.status, second.status) == (200, 429)


async def test_unmatched_requests_share_one_bucket_and_cost_no_route_its_own() -> None:
    app = app_with(default_limits="2/minute")

    @app.get("/a")
    async def a() -> None: ...

    requests = [("GET", "/no"), ("GET", "/nope"), ("GET", "/never"), ("POST", "/a"), ("POST", "/a"), ("POST", "/a"), ("GET", "/a")]
    assert await statuses(app, *requests) == [404, 404, 429, 405, 405, 429, 200]


async def test_application_limits_are_one_bucket_for_everything() -> None:
    app = app_with(application_limits="3/minute")

    @app.get("/a")
    async def a() -> None: ...

    @app.post("/b", dependencies=[limited("10/minute")])
    async def b() -> None: ...

    assert await statuses(app, ("GET", "/a"), ("POST", "/b"), ("GET", "/404"), ("GET", "/a"), ("GET", "/404")) == [
        200,
        200,
        404,
        429,
        429,
    ]


async def test_responses_of_middleware_outside_ours_count_towards_the_application() -> None:
    app = app_with(application_limits="2/minute")

    @app.middleware("http")
    async def refuse(request: Request, call_next: Any) -> Response:
        return PlainTextResponse("who are you", status_code=401)

    assert await statuses(app, ("GET", "/a"), ("GET", "/a"), ("GET", "/a")) == [401, 401, 429]


async def test_declared_limits_replace_defaults_and_exempt_paths_pass_over_both() -> None:
    app = app_with(default_limits=ONE, application_limits="2/minute", exempt_paths=["/health", "/static/*"])

    @app.get("/own", dependencies=[limited("9/minute")])
    async def own() -> None: ...

    @app.get("/health")
    async def health() -> None: ...

    assert await statuses(app, *[("GET", "/health")] * 3, *[("GET", "/static/x")] * 3) == [200] * 3 + [404] * 3
    assert await statuses(app, *[("GET", "/own")] * 3) == [200, 200, 429]


async def test_an_exempt_endpoint_is_never_limited() -> None:
    app = FastAPI(dependencies=[limited("0/minute")])
    lockwatch = LockWatch(app, default_limits="0/minute", application_limits="0/minute")

    @app.get("/free")
    @lockwatch.exempt
    async def free() -> None: ...

    seen = await http(app, "GET", "/free")
    assert (seen.status, seen.header("ratelimit")) == (200, None)


@pytest.mark.parametrize("order", ["above", "below"])
async def test_the_decorator_works_above_and_below_the_route(order: str) -> None:
    app = FastAPI()
    lockwatch = LockWatch(app)

    def a() -> str:
        return "sync endpoints too"

    if order == "above":
        lockwatch.limit(ONE)(app.get("/a")(a))
    else:
        app.get("/a")(lockwatch.limit(ONE)(a))
    assert await statuses(app, ("GET", "/a"), ("GET", "/a")) == [200, 429]


async def test_shared_limits_fill_one_bucket() -> None:
    app = FastAPI()
    lockwatch = LockWatch(app)

    @app.get("/a")
    @lockwatch.shared_limit("2/minute", "search")
    async def a() -> None: ...

    @app.get("/b", dependencies=[limited("2/minute", shared="search")])
    async def b() -> None: ...

    assert await statuses(app, ("GET", "/a"), ("GET", "/b"), ("GET", "/a"), ("GET", "/b")) == [200, 200, 429, 429]


async def test_streams_own_responses_and_errors_carry_the_headers_once() -> None:
    app = app_with()
    reused = PlainTextResponse("mine")

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x"

    @app.get("/stream", dependencies=[limited("5/minute")])
    async def stream() -> Response:
        return StreamingResponse(chunks())

    @app.get("/own", dependencies=[limited("5/minute")])
    async def own() -> Response:
        return reused

    @app.get("/teapot", dependencies=[limited("5/minute")])
    async def teapot() -> None:
        raise HTTPException(418)

    for path, status in (("/stream", 200), ("/own", 200), ("/own", 200), ("/teapot", 418)):
        seen = await http(app, "GET", path)
        assert (seen.status, seen.starts, len(seen.all("ratelimit"))) == (status, 1, 1)


async def test_an_unhandled_error_carries_the_headers_too() -> None:
    app = app_with()

    @app.get("/bug", dependencies=[limited("5/minute")])
    async def bug() -> None:
        raise ZeroDivisionError

    answers = []

    async def send(message: Any) -> None:
        answers.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": "/bug",
        "headers": [],
        "client": ("192.0.2.1", 1),
        "query_string": b"",
    }
    with pytest.raises(ZeroDivisionError):
        await app({**scope, "root_path": "", "scheme": "http", "server": ("t", 1), "http_version": "1.1"}, receive, send)
    assert answers[0]["status"] == 500
    assert b"ratelimit" in dict(answers[0]["headers"])


async def test_refusals_pass_through_cors_and_preflights_are_never_limited() -> None:
    app = app_with(application_limits="1/minute")
    app.add_middleware(CORSMiddleware, allow_origins=["https://app.example"], allow_methods=["*"])

    @app.post("/a", dependencies=[limited()])
    async def a() -> None: ...

    origin = {"origin": "https://app.example"}
    asked = {**origin, "access-control-request-method": "POST"}
    assert await statuses(app, *[("OPTIONS", "/a")] * 3, headers=asked) == [200] * 3
    assert (await http(app, "POST", "/a", headers=origin)).status == 200
    for path in ("/a", "/404"):
        refused = await http(app, "POST", path, headers=origin)
        assert (refused.status, refused.header("access-control-allow-origin")) == (429, "https://app.example")


async def test_preflights_without_cors_middleware_are_not_limited_either() -> None:
    app = app_with(application_limits="1/minute", default_limits="1/minute")

    @app.post("/a", dependencies=[limited()])
    async def a() -> None: ...

    asked = {"origin": "https://app.example", "access-control-request-method": "POST"}
    assert await statuses(app, *[("OPTIONS", "/a")] * 3, headers=asked) == [405] * 3


async def test_a_middleware_that_reads_the_body_first_changes_nothing() -> None:
    app, read = app_with(), []

    async def reader(request: Request, call_next: Any) -> Response:
        read.append(await request.body())
        answer: Response = await call_next(request)
        return answer

    app.add_middleware(BaseHTTPMiddleware, dispatch=reader)

    @app.post("/a", dependencies=[limited()])
    async def a(x: Annotated[dict[str, int], Body()]) -> dict[str, int]:
        return x

    first, second = [await http(app, "POST", "/a", body=b'{"a":1}', headers={"content-type": "application/json"}) for _ in range(2)]
    assert (first.status, first.json(), second.status) == (200, {"a": 1}, 429)
    assert second.header("content-type") == "application/problem+json"


async def test_an_overridden_limit_is_switched_off_everywhere() -> None:
    app, limit = app_with(), RateLimit(ONE)

    @app.get("/a", dependencies=[Depends(limit), limited("2/minute")])
    async def a() -> None: ...

    app.dependency_overrides[limit] = lambda: None
    assert await statuses(app, *[("GET", "/a")] * 3) == [200, 200, 429]
    app.dependency_overrides.clear()
    assert await statuses(app, ("GET", "/a"), peer="192.0.2.9") == [200]
    assert await statuses(app, ("GET", "/a"), peer="192.0.2.9") == [429]


async def test_an_overridden_dependency_is_pruned_with_its_limits() -> None:
    app = app_with()

    async def guarded(_: None = limited("0/minute")) -> str:
        return "guarded"

    async def open_(_: None = limited("1/minute")) -> str:
        return "open"

    @app.get("/a")
    async def a(s: str = Depends(guarded)) -> str:
        return s

    assert await statuses(app, ("GET", "/a")) == [429]
    app.dependency_overrides[guarded] = open_
    assert await statuses(app, ("GET", "/a"), ("GET", "/a")) == [200, 429]


async def test_a_route_added_after_the_first_request_is_limited() -> None:
    app = app_with()
    router = APIRouter(prefix="/r")
    app.include_router(router)
    assert await statuses(app, ("GET", "/late")) == [404]

    @app.get("/late", dependencies=[limited()])
    async def late() -> None: ...

    @router.get("/later", dependencies=[limited()])
    async def later() -> None: ...

    app.include_router(router, prefix="/again")
    for path in ("/late", "/again/r/later"):
        assert await statuses(app, ("GET", path), ("GET", path)) == [200, 429]


async def test_a_late_route_of_an_included_router_takes_default_limits_under_its_own_name() -> None:
    app = app_with(default_limits=ONE)
    router = APIRouter()
    app.include_router(router)
    assert await statuses(app, ("GET", "/other")) == [404]

    @router.get("/late")
    async def late() -> None: ...

    include_again(app, router)
    assert await statuses(app, ("GET", "/late"), ("GET", "/late"), ("GET", "/unmatched")) == [200, 429, 429]


async def test_websocket_handshakes_are_limited() -> None:
    app = app_with()
    router = APIRouter()

    @router.websocket("/ws", dependencies=[limited()])
    async def ws(socket: WebSocket) -> None:
        await socket.accept()
        await socket.close()

    app.include_router(router, prefix="/v1")
    assert (await websocket(app, "/v1/ws")).accepted
    denied = await websocket(app, "/v1/ws", extensions={"websocket.http.response": {}})
    assert (denied.status, denied.accepted, denied.header("content-type")) == (429, False, "application/problem+json")
    assert int(denied.header("retry-after") or 0) >= 1
    closed = await websocket(app, "/v1/ws")
    assert (closed.closed, closed.accepted) == (1008, False)


async def test_an_application_answers_refusals_its_own_way() -> None:
    from lockwatch import RateLimited

    app = app_with()

    @app.exception_handler(RateLimited)
    async def mine(request: Request, refused: RateLimited) -> Response:
        return PlainTextResponse(f"slow down: {refused.violated[0].policy}", status_code=429, headers={"Retry-After": "7"})

    @app.get("/a", dependencies=[limited("0/minute")])
    async def a() -> None: ...

    seen = await http(app, "GET", "/a")
    assert (seen.status, seen.body, seen.header("retry-after")) == (429, b"slow down: 0-per-minute", "7")
    assert seen.header("ratelimit") is not None


async def test_state_carries_the_decisions() -> None:
    app = app_with()

    @app.get("/a", dependencies=[limited("5/minute", name="a")])
    async def a(request: Request) -> list[Any]:
        visit = request.state.lockwatch
        return [visit.decisions[0].policy, visit.decisions[0].remaining, by_ip(request), str(visit.client.address)]

    assert (await http(app, "GET", "/a")).json() == ["a", 4, "ip:192.0.2.1", "192.0.2.1"]


@pytest.mark.parametrize("root_path", ["", "/proxy"])
async def test_exempt_paths_are_those_of_the_application_whatever_the_root_path(root_path: str) -> None:
    app = app_with(default_limits="0/minute", exempt_paths=["/health"])
    sub = FastAPI()

    @app.get("/health")
    async def health() -> None: ...

    @sub.get("/health")
    async def other() -> None: ...

    app.mount("/sub", sub)
    assert await statuses(app, ("GET", "/health"), ("GET", "/sub/health"), root_path=root_path) == [200, 429]
