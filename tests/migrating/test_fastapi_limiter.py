"""Every statement of docs/migrating/fastapi-limiter.md, on both sides: of 0.1.6, which counts in Redis, and of 0.2.0."""

from __future__ import annotations

from math import ceil
from typing import Any

import pytest
import redis
from fastapi import APIRouter, FastAPI, Request, WebSocket
from fastapi.responses import JSONResponse

from lockwatch import Limit, LockWatch, RateLimited
from tests import servers
from tests.migrating.conftest import Peer
from tests.migrating.drive import Ask, run
from tests.migrating.ours import EDGE, EDGES, MOVED, MOVES, TREE, application, limited, statuses

OLD = """
from contextlib import asynccontextmanager
from fastapi import APIRouter, Depends, FastAPI, Request, WebSocket
from fastapi_limiter import FastAPILimiter
from fastapi_limiter.depends import RateLimiter, WebSocketRateLimiter
import redis.asyncio

@asynccontextmanager
async def lifespan(app):
    await FastAPILimiter.init(redis.asyncio.Redis.from_url(URL))
    yield
    await FastAPILimiter.close()

app = FastAPI(lifespan=lifespan)
"""
NEW = """
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, WebSocket
from fastapi_limiter.decorators import skip_limiter
from fastapi_limiter.depends import RateLimiter, WebSocketRateLimiter
from pyrate_limiter import Duration, Limiter, Rate

def limited(times, seconds, **options):
    return RateLimiter(limiter=Limiter(Rate(times, Duration.SECOND * seconds)), **options)

app = FastAPI()
"""


def old(code: str, url: str) -> str:
    return f"URL = {url!r}\n{OLD}{code}"


def times(amount: int, seconds: int, **options: Any) -> Any:
    return limited(Limit(amount, seconds), **options)


def one(amount: int = 2, seconds: int = 5, **options: Any) -> FastAPI:
    app = application(**options)

    @app.get("/", dependencies=[times(amount, seconds)])
    async def index() -> None: ...

    return app


OLD_ONE = """
@app.get("/", dependencies=[Depends(RateLimiter(times=2, seconds=5))])
async def index() -> None: ...
"""
NEW_ONE = """
@app.get("/", dependencies=[Depends(limited(2, 5))])
async def index() -> None: ...
"""


# ------------------------------------------------------------ whom and what is counted
def test_every_client_shares_one_bucket_in_0_2(fastapi_limiter: Peer, fastapi_limiter_01: Peer, redis_server: str) -> None:
    asks = [Ask("/", peer=f"192.0.2.{number}") for number in (1, 2, 3)]
    assert fastapi_limiter.run(NEW + NEW_ONE, *asks).statuses == [200, 200, 429]
    assert fastapi_limiter_01.run(old(OLD_ONE, redis_server), *asks).statuses == [200, 200, 200]
    assert statuses(one(), *asks) == [200, 200, 200]


def test_an_identifier_is_not_used_in_0_2(fastapi_limiter: Peer) -> None:
    asks = [Ask("/", headers={"x-user": user}) for user in ("alice", "bob")]
    theirs = fastapi_limiter.run(
        NEW
        + """
async def user(request):
    return request.headers["x-user"]

@app.get("/", dependencies=[Depends(limited(1, 5, identifier=user))])
async def index() -> None: ...
""",
        *asks,
    )
    app = application()

    async def user(request: Request) -> str:
        return request.headers["x-user"]

    @app.get("/", dependencies=[times(1, 5, key=user)])
    async def index() -> None: ...

    assert theirs.statuses == [200, 429]
    assert statuses(app, *asks) == [200, 200]


def test_a_client_that_writes_x_forwarded_for_is_believed_by_0_1(fastapi_limiter_01: Peer, redis_server: str) -> None:
    forged = [Ask("/", headers={"x-forwarded-for": f"203.0.113.{number}, 192.0.2.1"}) for number in range(4)]
    theirs = fastapi_limiter_01.run(old(OLD_ONE, redis_server), *forged)
    assert theirs.statuses == [200, 200, 200, 200]
    assert statuses(one(), *forged) == [200, 200, 429, 429]
    behind = [Ask("/", headers=ask.headers, peer="10.0.0.5") for ask in forged]
    assert statuses(one(trusted_proxies=["10.0.0.0/24"]), *behind) == [200, 200, 429, 429]


def test_a_path_parameter_buys_a_bucket_in_0_1(fastapi_limiter: Peer, fastapi_limiter_01: Peer, redis_server: str) -> None:
    asks = [Ask(f"/users/{number}") for number in range(3)]
    theirs = fastapi_limiter_01.run(
        old(
            """
@app.get("/users/{user}", dependencies=[Depends(RateLimiter(times=1, minutes=1))])
async def read(user: int) -> None: ...
""",
            redis_server,
        ),
        *asks,
    )
    newer = fastapi_limiter.run(
        NEW
        + """
@app.get("/users/{user}", dependencies=[Depends(limited(1, 60))])
async def read(user: int) -> None: ...
""",
        *asks,
    )
    app = application()

    @app.get("/users/{user}", dependencies=[times(1, 60)])
    async def read(user: int) -> None: ...

    assert theirs.statuses == [200, 200, 200]
    assert newer.statuses == [200, 429, 429]
    assert statuses(app, *asks) == [200, 429, 429]


def test_two_limits_of_a_route_with_a_path_parameter_share_a_bucket_in_0_1(fastapi_limiter_01: Peer, redis_server: str) -> None:
    asks = [Ask("/users/1")] * 4
    theirs = fastapi_limiter_01.run(
        old(
            """
limits = [Depends(RateLimiter(times=4, minutes=1)), Depends(RateLimiter(times=100, hours=1))]

@app.get("/users/{user}", dependencies=limits)
async def read(user: int) -> None: ...
""",
            redis_server,
        ),
        *asks,
    )
    app = application()

    @app.get("/users/{user}", dependencies=[times(4, 60), times(100, 3600)])
    async def read(user: int) -> None: ...

    assert theirs.statuses == [200, 200, 429, 429]
    assert statuses(app, *asks) == [200, 200, 200, 200]


def test_a_quota_of_nothing_admits_one_in_0_1(fastapi_limiter_01: Peer, redis_server: str) -> None:
    theirs = fastapi_limiter_01.run(old(OLD_ONE.replace("times=2", "times=0"), redis_server), Ask("/"), Ask("/"))
    assert theirs.statuses == [200, 429]
    assert statuses(one(0), Ask("/"), Ask("/")) == [429, 429]


def test_a_window_without_a_length_is_an_error(fastapi_limiter_01: Peer, redis_server: str) -> None:
    theirs = fastapi_limiter_01.run(old(OLD_ONE.replace("times=2, seconds=5", "times=2"), redis_server), Ask("/"))
    assert theirs.seen[0].error.startswith("ResponseError")
    with pytest.raises(ValueError, match="window"):
        Limit(2, 0)


def test_the_edge_of_a_window(fastapi_limiter: Peer, fastapi_limiter_01: Peer, here: Peer, redis_server: str) -> None:
    older = fastapi_limiter_01.run(
        old(
            EDGE.replace("PREFIX", "fastapi-limiter")
            + """
@app.get("/a", dependencies=[Depends(RateLimiter(times=4, seconds=1))])
async def a() -> None: ...
""",
            redis_server,
        ),
        *EDGES,
    )
    newer = fastapi_limiter.run(NEW + NEW_ONE.replace('"/"', '"/a"').replace("2, 5", "4, 60"), *MOVES)
    assert older.statuses == [200] * len(EDGES)
    assert newer.statuses == here.run(MOVED, *MOVES).statuses == [200, 200, 200, 200, 429, 200, 429, 429, 429]


# ------------------------------------------------------------ where limits reach
ROUTER = """
router = APIRouter(prefix="/v1")

@router.get("/a", dependencies=[Depends(LIMIT)])
async def a() -> None: ...

app.include_router(router)
"""


def test_limits_on_included_routers(fastapi_limiter: Peer, fastapi_limiter_01: Peer, redis_server: str) -> None:
    asks = [Ask("/v1/a")] * 2
    older = fastapi_limiter_01.run(old(ROUTER.replace("LIMIT", "RateLimiter(times=1, minutes=1)"), redis_server), *asks)
    newer = fastapi_limiter.run(NEW + ROUTER.replace("LIMIT", "limited(1, 60)"), *asks)
    app, router = application(), APIRouter(prefix="/v1")

    @router.get("/a", dependencies=[times(1, 60)])
    async def a() -> None: ...

    app.include_router(router)
    assert older.statuses == newer.statuses == ([500, 500] if TREE else [200, 429])
    if TREE:
        assert {seen.error.partition(":")[0] for seen in [*older.seen, *newer.seen]} == {"AttributeError"}
    assert statuses(app, *asks) == [200, 429]


def test_limits_beside_an_included_router(fastapi_limiter: Peer) -> None:
    theirs = fastapi_limiter.run(NEW + NEW_ONE + "app.include_router(APIRouter(prefix='/v1'))", Ask("/"))
    assert theirs.statuses == ([500] if TREE else [200])
    app = one()
    app.include_router(APIRouter(prefix="/v1"))
    assert statuses(app, Ask("/")) == [200]


# ------------------------------------------------------------ when a request is checked, and what it costs
def test_malformed_bodies_and_refused_uploads(fastapi_limiter: Peer, fastapi_limiter_01: Peer, redis_server: str) -> None:
    json = {"content-type": "application/json"}
    malformed, upload = [Ask("/a", "POST", json, "{bad")] * 3, [Ask("/a", "POST", json, "[1]")] * 2
    code = """
@app.post("/a", dependencies=[Depends(LIMIT)])
async def a(items: list[int]) -> None: ...
"""
    older = old(code.replace("LIMIT", "RateLimiter(times=1, minutes=1)"), redis_server)
    newer = NEW + code.replace("LIMIT", "limited(1, 60)")

    def app() -> FastAPI:
        made = application()

        @made.post("/a", dependencies=[times(1, 60)])
        async def a(items: list[int]) -> None: ...

        return made

    for peer, theirs in ((fastapi_limiter_01, older), (fastapi_limiter, newer)):
        assert peer.run(theirs, *malformed).statuses == [422, 422, 422]
        assert [(seen.status, seen.reads > 0) for seen in peer.run(theirs, *upload).seen] == [(200, True), (429, True)]
    assert statuses(app(), *malformed) == [422, 429, 429]
    assert [(seen.status, seen.reads > 0) for seen in run(app(), upload)] == [(200, True), (429, False)]


def test_a_refused_request_is_charged_to_another_limit(fastapi_limiter: Peer, fastapi_limiter_01: Peer, redis_server: str) -> None:
    asks = [Ask("/report")] * 5 + [Ask("/list")]
    newer = fastapi_limiter.run(
        NEW
        + """
together = limited(5, 60)

@app.get("/report", dependencies=[Depends(together), Depends(limited(2, 3600))])
async def report() -> None: ...

@app.get("/list", dependencies=[Depends(together)])
async def list_() -> None: ...
""",
        *asks,
    )
    older = fastapi_limiter_01.run(
        old(
            """
@app.get("/report", dependencies=[Depends(RateLimiter(times=5, minutes=1)), Depends(RateLimiter(times=2, hours=1))])
async def report() -> None: ...
""",
            redis_server,
        ),
        *asks[:5],
    )
    with redis.Redis.from_url(redis_server) as client:
        counted = sorted(int(client.get(key) or 0) for key in client.keys("fastapi-limiter:*"))
    app = application()
    together = times(5, 60, shared="all")

    @app.get("/report", dependencies=[together, times(2, 3600)])
    async def report() -> None: ...

    @app.get("/list", dependencies=[together])
    async def list_() -> None: ...

    assert newer.statuses == [200, 200, 429, 429, 429, 429]
    assert (older.statuses, counted) == ([200, 200, 429, 429, 429], [2, 5])
    assert statuses(app, *asks) == [200, 200, 429, 429, 429, 200]


# ------------------------------------------------------------ answers
def test_headers_of_answers(fastapi_limiter: Peer, fastapi_limiter_01: Peer, redis_server: str) -> None:
    asks = [Ask("/")] * 3
    older, newer = fastapi_limiter_01.run(old(OLD_ONE, redis_server), *asks), fastapi_limiter.run(NEW + NEW_ONE, *asks)
    ours = run(one(), asks)
    for theirs in (older, newer):
        assert theirs.statuses == [200, 200, 429]
        assert not [name for seen in theirs.seen for name in seen.headers if "ratelimit" in name]
        assert theirs.seen[2].body == '{"detail":"Too Many Requests"}'
    assert older.seen[2].headers["retry-after"] == "5"
    assert "retry-after" not in newer.seen[2].headers
    assert ours[0].headers["ratelimit"] == '"2-per-5-seconds";r=1;t=5'
    assert ours[2].headers["retry-after"] == "5"
    assert ours[2].headers["content-type"] == "application/problem+json"


def test_the_body_of_a_refusal_can_stay_as_it_was(fastapi_limiter_01: Peer, redis_server: str) -> None:
    asks = [Ask("/")] * 3
    app = one()

    @app.exception_handler(RateLimited)
    async def as_before(request: Request, error: RateLimited) -> JSONResponse:
        wait = {} if error.retry_after is None else {"Retry-After": str(ceil(error.retry_after))}
        return JSONResponse({"detail": "Too Many Requests"}, status_code=429, headers=wait)

    theirs, ours = fastapi_limiter_01.run(old(OLD_ONE, redis_server), *asks).seen[2], run(app, asks)[2]
    assert (theirs.body, theirs.headers["retry-after"]) == (ours.body, ours.headers["retry-after"])


def test_messages_of_a_websocket(fastapi_limiter: Peer, fastapi_limiter_01: Peer, redis_server: str) -> None:
    said = Ask("/ws", texts=("a", "a", "b"))
    code = """
@app.websocket("/ws")
async def chat(socket: WebSocket) -> None:
    await socket.accept()
    async for text in socket.iter_text():
        try:
            await ratelimit(socket, context_key=text)
        except HTTPException:
            await socket.send_text("slow down")
        else:
            await socket.send_text(text)
"""
    older = fastapi_limiter_01.run(
        old("from fastapi import HTTPException\nratelimit = WebSocketRateLimiter(times=1, seconds=5)" + code, redis_server), said
    )
    newer = fastapi_limiter.run(
        NEW + "ratelimit = WebSocketRateLimiter(limiter=Limiter(Rate(1, Duration.SECOND * 5)))" + code, said
    )
    app = application()

    @app.websocket("/ws")
    async def chat(socket: WebSocket) -> None:
        await socket.accept()
        async for text in socket.iter_text():
            decision = await socket.state.lockwatch.take("1/5s", name=text)
            await socket.send_text("slow down" if decision.refuses else text)

    assert older.seen[0].texts == ["a", "slow down", "b"]
    assert newer.seen[0].texts == ["a", "slow down", "slow down"]
    assert run(app, [said])[0].texts == ["a", "slow down", "b"]


def test_an_exempt_route(fastapi_limiter: Peer) -> None:
    theirs = fastapi_limiter.run(
        NEW
        + """
@app.get("/", dependencies=[Depends(limited(1, 5))])
@skip_limiter
async def index() -> None: ...

@app.get("/users/{user}", dependencies=[Depends(limited(1, 5))])
@skip_limiter
async def read(user: int) -> None: ...
""",
        *[Ask("/")] * 2,
        *[Ask("/users/1")] * 2,
    )
    app = FastAPI()
    lockwatch = LockWatch(app)

    @app.get("/users/{user}", dependencies=[times(1, 5)])
    @lockwatch.exempt
    async def read(user: int) -> None: ...

    assert theirs.statuses == [200, 200, 200, 429]
    assert statuses(app, *[Ask("/users/1")] * 2) == [200, 200]


def test_waiting_instead_of_refusing_is_only_there(fastapi_limiter: Peer) -> None:
    waiting = NEW_ONE.replace("limited(2, 5)", "RateLimiter(limiter=Limiter(Rate(1, 300)), blocking=True)")
    assert fastapi_limiter.run(NEW + waiting, Ask("/"), Ask("/")).statuses == [200, 200]
    app = one(1)
    refused = run(app, [Ask("/"), Ask("/")])[1]
    assert (refused.status, refused.headers["retry-after"]) == (429, "5")


# ------------------------------------------------------------ outages
def test_a_redis_that_is_down(fastapi_limiter_01: Peer, redis_server: str) -> None:
    url = f"redis://127.0.0.1:{servers.free_port()}/0"
    stopping = """
@app.get("/stop")
async def stop() -> None:
    FastAPILimiter.redis = redis.asyncio.Redis.from_url(DOWN)
"""
    theirs = fastapi_limiter_01.run(f"DOWN = {url!r}\n" + old(OLD_ONE + stopping, redis_server), Ask("/stop"), Ask("/"))
    assert theirs.seen[1].error.startswith("ConnectionError")
    key = "0123456789abcdef"
    for failure, expected in (("allow", [200] * 3), ("local", [200, 200, 429]), ("deny", [503] * 3)):
        assert statuses(one(redis_url=url, on_redis_failure=failure, secret_key=key), *[Ask("/")] * 3) == expected


def test_a_limit_without_its_start_up_call(fastapi_limiter_01: Peer) -> None:
    theirs = fastapi_limiter_01.run(
        "from fastapi import Depends, FastAPI\nfrom fastapi_limiter import FastAPILimiter\n"
        "from fastapi_limiter.depends import RateLimiter\nFastAPILimiter.redis = None\napp = FastAPI()\n" + OLD_ONE,
        Ask("/"),
    )
    assert "FastAPILimiter.init" in theirs.seen[0].error
    assert statuses(one(), *[Ask("/")] * 3) == [200, 200, 429]
