"""Every statement of docs/migrating/slowapi.md, on both sides."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, WebSocket
from fastapi.responses import JSONResponse

from lockwatch import ConfigurationError, LockWatch, RateLimit, RateLimited
from tests import servers
from tests.migrating.conftest import Peer
from tests.migrating.drive import Ask, run
from tests.migrating.ours import MOVED, MOVES, TREE, application, limited, statuses

BEGIN = """
from fastapi import APIRouter, Depends, FastAPI, Request, Response, WebSocket
from slowapi import Limiter, _rate_limit_exceeded_handler
from slowapi.errors import RateLimitExceeded
from slowapi.middleware import SlowAPIMiddleware
from slowapi.util import get_ipaddr, get_remote_address

def application(**options):
    global limiter
    options.setdefault("key_func", get_remote_address)
    limiter = Limiter(**options)
    app = FastAPI()
    app.state.limiter = limiter
    app.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)
    if options.get("default_limits") or options.get("application_limits"):
        app.add_middleware(SlowAPIMiddleware)
    return app

"""


# ------------------------------------------------------------ whom and what is counted
def test_a_path_parameter_buys_a_bucket_there_and_not_here(slowapi: Peer) -> None:
    asks = [Ask(f"/users/{number}") for number in range(4)]
    theirs = slowapi.run(
        BEGIN
        + """
app = application()

@app.get("/users/{user}")
@limiter.limit("2/minute")
async def read(request: Request, user: int) -> int:
    return user
""",
        *asks,
    )
    named = slowapi.run(
        BEGIN
        + """
app = application(key_style="endpoint")

@app.get("/users/{user}")
@limiter.limit("2/minute")
async def read(request: Request, user: int) -> int:
    return user
""",
        *asks,
    )
    app = application()

    @app.get("/users/{user}", dependencies=[limited("2/minute")])
    async def read(user: int) -> int:
        return user

    assert theirs.statuses == [200, 200, 200, 200]
    assert named.statuses == [200, 200, 429, 429]
    assert statuses(app, *asks) == [200, 200, 429, 429]


def test_two_methods_of_one_url_share_a_bucket_there_and_not_here(slowapi: Peer) -> None:
    asks = [Ask("/notes"), Ask("/notes", "POST")]
    theirs = slowapi.run(
        BEGIN
        + """
app = application()

@app.get("/notes")
@limiter.limit("1/minute")
async def read(request: Request) -> None: ...

@app.post("/notes")
@limiter.limit("1/minute")
async def write(request: Request) -> None: ...
""",
        *asks,
    )
    app, joined = application(), application()

    @app.get("/notes", dependencies=[limited("1/minute")])
    @app.post("/notes", dependencies=[limited("1/minute")])
    async def notes() -> None: ...

    both = limited("1/minute", shared="notes")

    @joined.get("/notes", dependencies=[both])
    @joined.post("/notes", dependencies=[both])
    async def joined_notes() -> None: ...

    assert theirs.statuses == [200, 429]
    assert statuses(app, *asks) == [200, 200]
    assert statuses(joined, *asks) == [200, 429]


def test_two_handlers_of_one_name_add_up_there_and_not_here(slowapi: Peer) -> None:
    asks = [Ask("/a"), Ask("/a"), Ask("/a")]
    theirs = slowapi.run(
        BEGIN
        + """
app = application()

def make(path):
    @app.get(path)
    @limiter.limit("2/minute")
    async def read(request: Request) -> None: ...

make("/a")
make("/b")
""",
        *asks,
    )
    app = application()
    for path in ("/a", "/b"):

        @app.get(path, dependencies=[limited("2/minute")])
        async def read() -> None: ...

    assert theirs.statuses == [200, 429, 429]
    assert statuses(app, *asks) == [200, 200, 429]


def test_an_ipv6_client_changes_its_bucket_within_its_network_there_and_not_here(slowapi: Peer) -> None:
    asks = [Ask("/a", peer=f"2001:db8::{number}") for number in (1, 2, 3)]
    theirs = slowapi.run(BEGIN + ONE, *asks)
    assert theirs.statuses == [200, 200, 200]
    assert statuses(one(), *asks) == [200, 429, 429]


ONE = """
app = application()

@app.get("/a")
@limiter.limit("1/minute")
async def a(request: Request) -> None: ...
"""


def one(limits: str = "1/minute", **options: Any) -> FastAPI:
    app = application(**options)

    @app.get("/a", dependencies=[limited(limits)])
    async def a() -> None: ...

    return app


def test_get_ipaddr_reads_a_header_that_no_proxy_sends(slowapi: Peer) -> None:
    code = BEGIN + ONE.replace("application()", "application(key_func=get_ipaddr)")
    behind = [Ask("/a", peer="10.0.0.5", headers={"x-forwarded-for": f"198.51.100.{number}"}) for number in (1, 2)]
    forged = [Ask("/a", headers={"x_forwarded_for": f"203.0.113.{number}"}) for number in (1, 2)]
    assert slowapi.run(code, *behind).statuses == [200, 429]
    assert slowapi.run(code, *forged).statuses == [200, 200]
    assert statuses(one(trusted_proxies=["10.0.0.0/24"]), *behind) == [200, 200]
    assert statuses(one(trusted_proxies=["10.0.0.0/24"]), *forged) == [200, 429]


# ------------------------------------------------------------ where limits reach
def test_default_limits_reach_included_routers(slowapi: Peer) -> None:
    asks = [Ask("/v1/a")] * 3
    theirs = slowapi.run(
        BEGIN
        + """
app = application(default_limits=["1/minute"])
router = APIRouter(prefix="/v1")

@router.get("/a")
async def a() -> None: ...

app.include_router(router)
""",
        *asks,
    )
    app = application(default_limits="1/minute")
    router = APIRouter(prefix="/v1")

    @router.get("/a")
    async def a() -> None: ...

    app.include_router(router)
    assert theirs.statuses == ([200, 200, 200] if TREE else [200, 429, 429])
    assert statuses(app, *asks) == [200, 429, 429]


def test_default_limits_reach_404_and_405(slowapi: Peer) -> None:
    asks = [Ask("/nowhere")] * 2 + [Ask("/a", "POST")] * 2
    theirs = slowapi.run(
        BEGIN
        + """
app = application(default_limits=["1/minute"])

@app.get("/a")
async def a() -> None: ...
""",
        *asks,
    )
    app = application(default_limits="1/minute")

    @app.get("/a")
    async def a() -> None: ...

    assert theirs.statuses == [404, 404, 405, 405]
    assert statuses(app, *asks) == [404, 429, 405, 429]


def test_application_limits_reach_a_route_with_a_limit_of_its_own(slowapi: Peer) -> None:
    asks = [Ask("/own")] * 3
    theirs = slowapi.run(
        BEGIN
        + """
app = application(application_limits=["2/minute"])

@app.get("/own")
@limiter.limit("9/minute")
async def own(request: Request) -> None: ...
""",
        *asks,
    )
    app = application(application_limits="2/minute")

    @app.get("/own", dependencies=[limited("9/minute")])
    async def own() -> None: ...

    assert theirs.statuses == [200, 200, 200]
    assert statuses(app, *asks) == [200, 200, 429]


def test_the_decorator_limits_in_either_place(slowapi: Peer) -> None:
    asks = [Ask("/a")] * 2
    theirs = slowapi.run(
        BEGIN
        + """
app = application()

@limiter.limit("1/minute")
@app.get("/a")
async def a(request: Request) -> None: ...
""",
        *asks,
    )
    app = FastAPI()
    lockwatch = LockWatch(app)

    @lockwatch.limit("1/minute")
    @app.get("/a")
    async def a() -> None: ...

    assert theirs.statuses == [200, 200]
    assert statuses(app, *asks) == [200, 429]


def test_websocket_handshakes_are_limited(slowapi: Peer) -> None:
    asks = [Ask("/feed", texts=())] * 2
    theirs = slowapi.run(
        BEGIN
        + """
app = application()

@app.websocket("/feed")
@limiter.limit("1/minute")
async def feed(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close()
""",
        *asks,
    )
    app = application()

    @app.websocket("/feed", dependencies=[limited("1/minute")])
    async def feed(socket: WebSocket) -> None:
        await socket.accept()
        await socket.close()

    assert [seen.error.partition(":")[0] for seen in theirs.seen] == ["Exception", "Exception"]
    assert [seen.status for seen in run(app, asks)] == [1000, 429]


def test_the_endpoint_needs_no_request_parameter(slowapi: Peer) -> None:
    code = BEGIN + ONE.replace("request: Request", "")
    assert 'No "request" or "websocket" argument' in slowapi.error(code)
    assert statuses(one(), Ask("/a"), Ask("/a")) == [200, 429]


def test_a_limit_that_cannot_be_read_is_an_error_and_not_no_limit(slowapi: Peer) -> None:
    theirs = slowapi.run(BEGIN + ONE.replace("1/minute", "1/fortnight"), *[Ask("/a")] * 3)
    assert theirs.statuses == [200, 200, 200]
    with pytest.raises(ConfigurationError, match="fortnight"):
        RateLimit("1/fortnight")


# ------------------------------------------------------------ when a request is checked, and what it costs
def test_malformed_bodies_and_refused_uploads(slowapi: Peer) -> None:
    json = {"content-type": "application/json"}
    malformed, upload = [Ask("/a", "POST", json, "{bad")] * 3, [Ask("/a", "POST", json, "[1]")] * 2
    code = (
        BEGIN
        + """
app = application()

@app.post("/a")
@limiter.limit("1/minute")
async def a(request: Request, items: list[int]) -> None: ...
"""
    )

    def app() -> FastAPI:
        made = application()

        @made.post("/a", dependencies=[limited("1/minute")])
        async def a(items: list[int]) -> None: ...

        return made

    assert slowapi.run(code, *malformed).statuses == [422, 422, 422]
    assert statuses(app(), *malformed) == [422, 429, 429]
    assert [(seen.status, seen.reads > 0) for seen in slowapi.run(code, *upload).seen] == [(200, True), (429, True)]
    assert [(seen.status, seen.reads > 0) for seen in run(app(), upload)] == [(200, True), (429, False)]


def test_a_dependency_runs_for_a_refused_request_there_and_not_here(slowapi: Peer) -> None:
    asks = [Ask("/a")] * 3
    theirs = slowapi.run(
        BEGIN
        + """
app, ran = application(), []

@app.get("/a", dependencies=[Depends(lambda: ran.append(1))])
@limiter.limit("1/minute")
async def a(request: Request) -> None: ...

def observe():
    return len(ran)
""",
        *asks,
    )
    app, ran = application(), []

    @app.get("/a", dependencies=[Depends(lambda: ran.append(1)), limited("1/minute")])
    async def a() -> None: ...

    assert (theirs.statuses, theirs.observed) == ([200, 429, 429], 3)
    assert (statuses(app, *asks), len(ran)) == ([200, 429, 429], 1)


def test_a_refused_request_is_charged_to_another_limit_there_and_not_here(slowapi: Peer) -> None:
    asks = [Ask("/report")] * 5 + [Ask("/list")]
    theirs = slowapi.run(
        BEGIN
        + """
app = application()

@app.get("/report")
@limiter.limit("2/hour")
@limiter.shared_limit("5/minute", scope="all")
async def report(request: Request) -> None: ...

@app.get("/list")
@limiter.shared_limit("5/minute", scope="all")
async def list_(request: Request) -> None: ...
""",
        *asks,
    )
    app = application()
    together = limited("5/minute", shared="all")

    @app.get("/report", dependencies=[together, limited("2/hour")])
    async def report() -> None: ...

    @app.get("/list", dependencies=[together])
    async def list_() -> None: ...

    assert theirs.statuses == [200, 200, 429, 429, 429, 429]
    assert statuses(app, *asks) == [200, 200, 429, 429, 429, 200]


def test_a_fixed_window_admits_twice_the_quota_across_its_edge(slowapi: Peer, here: Peer) -> None:
    theirs = slowapi.run(BEGIN + ONE.replace("1/minute", "4/minute"), *MOVES)
    ours = here.run(MOVED, *MOVES)
    assert theirs.statuses == [200, 200, 200, 200, 429, 200, 200, 200, 200]
    assert ours.statuses == [200, 200, 200, 200, 429, 200, 429, 429, 429]


# ------------------------------------------------------------ answers
def test_quota_headers(slowapi: Peer) -> None:
    theirs = slowapi.run(BEGIN + ONE, Ask("/a"))
    named = slowapi.run(BEGIN + ONE.replace("application()", "application(headers_enabled=True)"), Ask("/a"))
    kept = BEGIN + ONE.replace("application()", "application(headers_enabled=True)").replace(
        "request: Request", "request: Request, response: Response"
    )
    seen = slowapi.run(kept, Ask("/a")).seen[0]
    assert not [name for name in theirs.seen[0].headers if "ratelimit" in name]
    assert "must be an instance of starlette.responses.Response" in named.seen[0].error
    assert seen.headers["x-ratelimit-limit"] == "1"
    assert "." in seen.headers["x-ratelimit-reset"]
    ours = run(one(), [Ask("/a")])[0].headers
    assert ours["ratelimit"] == '"1-per-minute";r=0;t=60'
    assert ours["x-ratelimit-reset"].isdigit()
    assert not [name for name in run(one(headers="off"), [Ask("/a")])[0].headers if "ratelimit" in name]


def test_the_body_of_a_refusal_can_stay_as_it_was(slowapi: Peer) -> None:
    asks = [Ask("/a")] * 2
    app = one()

    @app.exception_handler(RateLimited)
    async def as_before(request: object, error: RateLimited) -> JSONResponse:
        limit = error.violated[0].limit
        return JSONResponse({"error": f"Rate limit exceeded: {limit.amount} per 1 minute"}, status_code=429)

    theirs, ours = slowapi.run(BEGIN + ONE, *asks).seen[1], run(app, asks)[1]
    assert (theirs.status, theirs.body) == (ours.status, ours.body) == (429, '{"error":"Rate limit exceeded: 1 per 1 minute"}')


# ------------------------------------------------------------ outages
def test_a_store_that_is_down(slowapi: Peer) -> None:
    url = f"redis://127.0.0.1:{servers.free_port()}/0"
    theirs = slowapi.run(BEGIN + ONE.replace("application()", f"application(storage_uri={url!r})"), Ask("/a"))
    whole = slowapi.run(
        BEGIN
        + f"""
app = application(storage_uri={url!r}, default_limits=["1/minute"])

@app.get("/a")
async def a() -> None: ...
""",
        Ask("/a"),
    )
    assert theirs.seen[0].error.startswith("ConnectionError")
    assert whole.seen[0].error.startswith("AttributeError")
    key = "0123456789abcdef"
    for failure, expected in (("allow", [200, 200]), ("local", [200, 429]), ("deny", [503, 503])):
        app = one(redis_url=url, on_redis_failure=failure, secret_key=key)
        assert statuses(app, Ask("/a"), Ask("/a")) == expected


@pytest.mark.timing
def test_the_event_loop_runs_on_while_redis_is_slow(slowapi: Peer, redis_server: str) -> None:
    pause = """
import asyncio, time
import redis

gaps = []

async def beat():
    before = time.monotonic()
    while True:
        await asyncio.sleep(0.005)
        gaps.append(time.monotonic() - before)
        before = time.monotonic()

@app.get("/pause")
async def pause() -> None:
    app.state.beat = asyncio.create_task(beat())
    await asyncio.sleep(0.05)
    with redis.Redis.from_url(URL) as client:
        client.execute_command("CLIENT", "PAUSE", 1000)

@app.get("/rest")
async def rest() -> None:
    await asyncio.sleep(1.1)
    app.state.beat.cancel()

def observe():
    return max(gaps)
"""
    asks = [Ask("/a"), Ask("/pause"), Ask("/a"), Ask("/rest")]
    stated = f"URL = {redis_server!r}\n"
    theirs = slowapi.run(
        stated + BEGIN + ONE.replace("application()", "application(storage_uri=URL)").replace("1/minute", "9/minute") + pause, *asks
    )
    ours: dict[str, Any] = {"app": one("9/minute", redis_url=redis_server), "URL": redis_server}
    exec(pause, ours)
    assert statuses(ours["app"], *asks) == theirs.statuses == [200] * 4
    assert theirs.observed > 0.7
    assert ours["observe"]() < 0.7
