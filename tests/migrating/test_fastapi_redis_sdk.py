"""Every statement of docs/migrating/fastapi-redis-sdk.md, on both sides."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from fastapi import APIRouter, FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse

from lockwatch import ConfigurationError, LockWatch, RateLimit, RateLimitConfig, RateLimited, RateLimiter
from lockwatch.limits import parse
from tests import servers
from tests.migrating.conftest import Peer
from tests.migrating.drive import Ask, run
from tests.migrating.ours import EDGE, EDGES, MOVED, MOVES, TREE, application, limited, statuses

BEGIN = """
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from redis_fastapi import FastAPIRedis, RateLimitBackendDep, get_settings, parse_rate, rate_limit

get_settings.cache_clear()
get_settings().url = URL

def limited(rate, **options):
    return Depends(rate_limit(rate, **options))

app = FastAPI()
"""
END = """
FastAPIRedis(app).lifespan().rate_limiting(**globals().get("options", {}))
"""


def theirs(code: str, url: str) -> str:
    return f"URL = {url!r}\n{BEGIN}{code}{END}"


ONE = """
@app.get("/a", dependencies=[limited("1/minute")])
async def a() -> None: ...
"""


def one(limits: str = "1/minute", **options: Any) -> FastAPI:
    app = application(**options)

    @app.get("/a", dependencies=[limited(limits)])
    async def a() -> None: ...

    return app


# ------------------------------------------------------------ whom and what is counted
def test_two_limits_of_a_route_share_a_counter_there_and_not_here(redis_sdk: Peer, redis_server: str) -> None:
    code = """
@app.get("/a", dependencies=[limited("4/minute"), limited("100/hour")])
async def a() -> None: ...
"""
    app = application()

    @app.get("/a", dependencies=[limited("4/minute"), limited("100/hour")])
    async def a() -> None: ...

    assert redis_sdk.run(theirs(code, redis_server), *[Ask("/a")] * 4).statuses == [200, 200, 429, 429]
    assert statuses(app, *[Ask("/a")] * 5) == [200, 200, 200, 200, 429]


def test_two_methods_of_a_path_share_a_counter_there_and_not_here(redis_sdk: Peer, redis_server: str) -> None:
    code = """
@app.get("/a", dependencies=[limited("1/minute")])
@app.post("/a", dependencies=[limited("1/minute")])
async def a() -> None: ...
"""
    app = application()

    @app.get("/a", dependencies=[limited("1/minute")])
    @app.post("/a", dependencies=[limited("1/minute")])
    async def a() -> None: ...

    asks = [Ask("/a"), Ask("/a", "POST")]
    assert redis_sdk.run(theirs(code, redis_server), *asks).statuses == [200, 429]
    assert statuses(app, *asks) == [200, 200]


def test_a_router_included_twice(redis_sdk: Peer, redis_server: str) -> None:
    code = """
router = APIRouter()

@router.get("/a", dependencies=[limited("1/minute")])
async def a() -> None: ...

app.include_router(router, prefix="/v1")
app.include_router(router, prefix="/v2")
"""
    app, router = application(), APIRouter()

    @router.get("/a", dependencies=[limited("1/minute")])
    async def a() -> None: ...

    app.include_router(router, prefix="/v1")
    app.include_router(router, prefix="/v2")
    asks = [Ask("/v1/a"), Ask("/v2/a")]
    assert redis_sdk.run(theirs(code, redis_server), *asks).statuses == ([200, 429] if TREE else [200, 200])
    assert statuses(app, *asks) == [200, 200]


def test_a_client_without_an_address_is_not_limited_there(redis_sdk: Peer, redis_server: str) -> None:
    asks = [Ask("/a", peer=None)] * 3
    assert redis_sdk.run(theirs(ONE, redis_server), *asks).statuses == [200, 200, 200]
    app = one()
    assert statuses(app, *asks) == [200, 429, 429]
    assert app.state.lockwatch.health().warnings


def test_an_ipv6_client_changes_its_bucket_within_its_network_there_and_not_here(redis_sdk: Peer, redis_server: str) -> None:
    asks = [Ask("/a", peer=f"2001:db8::{number}") for number in (1, 2, 3)]
    assert redis_sdk.run(theirs(ONE, redis_server), *asks).statuses == [200, 200, 200]
    assert statuses(one(), *asks) == [200, 429, 429]


def test_forwarded_headers(redis_sdk: Peer, redis_server: str) -> None:
    forged = [Ask("/a", headers={"x-forwarded-for": f"203.0.113.{number}, 198.51.100.7"}) for number in (1, 2)]
    behind = [Ask("/a", headers={"x-forwarded-for": f"198.51.100.{number}"}, peer="10.0.0.5") for number in (1, 2)]
    assert redis_sdk.run(theirs(ONE, redis_server), *forged, *behind).statuses == [200, 429, 200, 429]
    assert statuses(one(), *forged) == [200, 429]
    assert statuses(one(trusted_proxies=["10.0.0.0/24"]), *behind) == [200, 200]


def test_what_redis_gets_to_see(redis_sdk: Peer, redis_server: str) -> None:
    redis_sdk.run(theirs(ONE, redis_server), Ask("/a"))
    with redis.Redis.from_url(redis_server, decode_responses=True) as client:
        readable = list(client.keys("*"))
        client.flushdb()
        run(one(redis_url=redis_server), [Ask("/a")])
        hashed = list(client.keys("lockwatch:*:{*"))
    assert [key for key in readable if "192.0.2.1" in key]
    assert hashed
    assert not [key for key in hashed if "192.0.2.1" in key]


def test_rates_that_mean_something_else(redis_sdk: Peer, redis_server: str) -> None:
    code = """
def observe():
    texts = "100/minute", "5 per 2 hours", "10/15s", "7/hr", "9/d", "3/mins", "100/ms"
    return {text: (parse_rate(text).limit, parse_rate(text).window) for text in texts}
"""
    found = redis_sdk.run(theirs(code, redis_server)).observed
    ours = {text: [parse(text)[0].amount, parse(text)[0].window] for text in found}
    assert {text: rate for text, rate in found.items() if ours[text] != rate} == {"100/ms": [100, 60]}
    assert ours["100/ms"] == [100, 0.001]


def test_the_edge_of_a_window(redis_sdk: Peer, here: Peer, redis_server: str) -> None:
    code = EDGE.replace("PREFIX", "*ratelimit") + ONE.replace("1/minute", "4/second")
    assert redis_sdk.run(theirs(code, redis_server), *EDGES).statuses == [200] * len(EDGES)
    assert here.run(MOVED, *MOVES).statuses == [200, 200, 200, 200, 429, 200, 429, 429, 429]


# ------------------------------------------------------------ when a request is checked, and what it costs
def test_malformed_bodies_and_refused_uploads(redis_sdk: Peer, redis_server: str) -> None:
    json = {"content-type": "application/json"}
    malformed, upload = [Ask("/a", "POST", json, "{bad")] * 3, [Ask("/b", "POST", json, "[1]")] * 2
    code = """
@app.post("/a", dependencies=[limited("1/minute")])
@app.post("/b", dependencies=[limited("1/minute")])
async def a(items: list[int]) -> None: ...
"""
    app = application()

    @app.post("/a", dependencies=[limited("1/minute")])
    @app.post("/b", dependencies=[limited("1/minute")])
    async def a(items: list[int]) -> None: ...

    found = redis_sdk.run(theirs(code, redis_server), *malformed, *upload).seen
    assert [seen.status for seen in found] == [422, 422, 422, 200, 429]
    assert found[-1].reads > 0
    seen = run(app, [*malformed, *upload])
    assert [s.status for s in seen] == [422, 429, 429, 200, 429]
    assert seen[-1].reads == 0


def test_a_refused_request_is_charged_to_another_limit_there_and_not_here(redis_sdk: Peer, redis_server: str) -> None:
    asks = [Ask("/report")] * 5 + [Ask("/list")]
    code = """
@app.get("/report", dependencies=[limited("5/minute", scope="all"), limited("2/hour", scope="report")])
async def report() -> None: ...

@app.get("/list", dependencies=[limited("5/minute", scope="all")])
async def list_() -> None: ...
"""
    app = application()
    together = limited("5/minute", shared="all")

    @app.get("/report", dependencies=[together, limited("2/hour")])
    async def report() -> None: ...

    @app.get("/list", dependencies=[together])
    async def list_() -> None: ...

    assert redis_sdk.run(theirs(code, redis_server), *asks).statuses == [200, 200, 429, 429, 429, 429]
    assert statuses(app, *asks) == [200, 200, 429, 429, 429, 200]


def test_a_cost_of_nothing_or_too_much(redis_sdk: Peer, redis_server: str) -> None:
    code = ONE.replace('limited("1/minute")', 'limited("1/minute", cost=COST)')
    assert "cost must be >= 1" in redis_sdk.error("COST = 0\n" + theirs(code, redis_server))
    assert redis_sdk.run("COST = 2\n" + theirs(code, redis_server), Ask("/a")).statuses == [429]
    with pytest.raises(ConfigurationError, match="can never be admitted"):
        RateLimit("1/minute", cost=2)
    app = application()

    @app.get("/a", dependencies=[limited("1/minute", cost=0)])
    async def a() -> None: ...

    assert statuses(app, *[Ask("/a")] * 3) == [200, 200, 200]


GLOBAL = """
options = {"global_rate": "2/minute"}
app.add_middleware(CORSMiddleware, allow_origins=["https://shop.example.com"], allow_methods=["POST"])

@app.post("/a")
async def a() -> None: ...
"""


def test_preflights_and_refusals_of_a_limit_for_everything(redis_sdk: Peer, redis_server: str) -> None:
    origin = {"origin": "https://shop.example.com"}
    preflight = Ask("/a", "OPTIONS", origin | {"access-control-request-method": "POST"})
    asks = [preflight, Ask("/a", "POST", origin), Ask("/nowhere", headers=origin), preflight]
    app = application(application_limits="2/minute")
    app.add_middleware(CORSMiddleware, allow_origins=["https://shop.example.com"], allow_methods=["POST"])

    @app.post("/a")
    async def a() -> None: ...

    found = redis_sdk.run(theirs(GLOBAL, redis_server), *asks).seen
    seen = run(app, [*asks, Ask("/a", "POST", origin)])
    assert [s.status for s in found] == [200, 200, 429, 429]
    assert "access-control-allow-origin" not in found[2].headers
    assert [s.status for s in seen] == [200, 200, 404, 200, 429]
    assert seen[4].headers["access-control-allow-origin"] == "https://shop.example.com"


# ------------------------------------------------------------ answers
def test_headers_of_answers(redis_sdk: Peer, redis_server: str) -> None:
    code = """
get_settings().rate_limit_ietf_headers = True

@app.get("/a", dependencies=[limited("3/minute", scope="one"), limited("100/hour", scope="two")])
async def a() -> None: ...
"""
    app = application()

    @app.get("/a", dependencies=[limited("3/minute"), limited("100/hour")])
    async def a() -> None: ...

    found = redis_sdk.run(theirs(code, redis_server), Ask("/a")).seen[0].headers
    ours = run(app, [Ask("/a")])[0].headers
    assert found["ratelimit"] == '"default";r=2;t=60'
    assert ours["ratelimit"] == '"3-per-minute";r=2;t=60, "100-per-hour";r=99;t=3600'
    for name in ("x-ratelimit-limit", "x-ratelimit-remaining"):
        assert found[name] == ours[name]
    assert abs(int(found["x-ratelimit-reset"]) - int(ours["x-ratelimit-reset"])) <= 2


def test_the_body_of_a_refusal_can_stay_as_it_was(redis_sdk: Peer, redis_server: str) -> None:
    app = one()

    @app.exception_handler(RateLimited)
    async def as_before(request: Request, error: RateLimited) -> JSONResponse:
        return JSONResponse({"detail": "Too Many Requests"}, status_code=429)

    found = redis_sdk.run(theirs(ONE, redis_server), *[Ask("/a")] * 2).seen[1]
    assert (found.status, found.body) == (429, run(app, [Ask("/a")] * 2)[1].body)


def test_counting_in_code(redis_sdk: Peer, redis_server: str) -> None:
    code = """
@app.post("/invite/{account}")
async def invite(account: str, backend: RateLimitBackendDep) -> bool:
    return (await backend.hit(account, limit=2, window=60, scope="invitations")).allowed

@app.get("/invite/{account}")
async def look(account: str, backend: RateLimitBackendDep) -> int:
    return (await backend.peek(account, limit=2, window=60, scope="invitations")).remaining

@app.delete("/invite/{account}")
async def forget(account: str, backend: RateLimitBackendDep) -> bool:
    return await backend.reset(account, scope="invitations")
"""
    app = FastAPI()
    lockwatch = LockWatch(app, redis_url=redis_server)

    @app.post("/invite/{account}")
    async def invite(account: str) -> bool:
        return (await lockwatch.take("invitations", account, "2/minute")).allowed

    @app.get("/invite/{account}")
    async def look(account: str) -> int:
        return (await lockwatch.peek("invitations", account, "2/minute")).remaining

    @app.delete("/invite/{account}")
    async def forget(account: str) -> bool:
        return await lockwatch.reset("invitations", account, "2/minute")

    asks = [Ask("/invite/a", method) for method in ("POST", "POST", "POST", "GET", "DELETE", "DELETE", "GET")]
    bodies = [seen.body for seen in redis_sdk.run(theirs(code, redis_server), *asks).seen]
    assert bodies == ["true", "true", "false", "0", "true", "false", "2"]
    assert [seen.body for seen in run(app, asks)] == ["true", "true", "false", "0", "true", "false", "2"]


def test_counting_in_blocking_code(redis_sdk: Peer, redis_server: str) -> None:
    code = """
from redis_fastapi import SyncRateLimitBackendDep

@app.post("/invite/{account}")
def invite(account: str, backend: SyncRateLimitBackendDep) -> bool:
    return backend.hit(account, limit=2, window=60, scope="invitations").allowed
"""
    app = application()
    invitations = RateLimiter(redis_server, RateLimitConfig(requests_per_window=2, window_seconds=60, store_timeout=5))

    @app.post("/invite/{account}")
    def invite(account: str) -> bool:
        allowed, _ = invitations.check_sync(account)
        return allowed

    asks = [Ask("/invite/a", "POST")] * 3
    assert [seen.body for seen in redis_sdk.run(theirs(code, redis_server), *asks).seen] == ["true", "true", "false"]
    assert [seen.body for seen in run(app, asks)] == ["true", "true", "false"]
    invitations.close()


# ------------------------------------------------------------ outages
def test_a_redis_that_is_down(redis_sdk: Peer) -> None:
    url = f"redis://127.0.0.1:{servers.free_port()}/0"
    opened = redis_sdk.run(theirs(ONE, url), *[Ask("/a")] * 2)
    closed = redis_sdk.run(theirs("get_settings().rate_limit_fail_closed = True\n" + ONE, url), Ask("/a")).seen[0]
    assert opened.statuses == [200, 200]
    assert opened.seen[0].headers["x-ratelimit-remaining"] == "1"
    assert (closed.status, closed.headers["retry-after"]) == (429, "60")
    key = "0123456789abcdef"
    seen = run(one(redis_url=url, secret_key=key), [Ask("/a")] * 2)
    assert [(s.status, s.headers.get("x-ratelimit-remaining")) for s in seen] == [(200, None), (200, None)]
    denied = run(one(redis_url=url, secret_key=key, on_redis_failure="deny"), [Ask("/a")])[0]
    assert (denied.status, denied.headers["retry-after"]) == (503, "1")
    assert statuses(one(redis_url=url, secret_key=key, on_redis_failure="local"), *[Ask("/a")] * 2) == [200, 429]


@pytest.mark.timing
def test_a_redis_that_hangs(redis_sdk: Peer, redis_server: str) -> None:
    timed = """
import time
import redis as blocking

@app.get("/pause")
async def pause() -> None:
    with blocking.Redis.from_url(URL) as client:
        client.execute_command("CLIENT", "PAUSE", 1000)

@app.middleware("http")
async def timing(request, call_next):
    before = time.monotonic()
    response = await call_next(request)
    response.headers["took"] = str(time.monotonic() - before)
    return response
"""
    asks = [Ask("/a"), Ask("/pause"), Ask("/a")]
    found = redis_sdk.run(theirs(ONE.replace("1/minute", "9/minute") + timed, redis_server), *asks).seen
    app = one("9/minute", redis_url=redis_server, store_timeout=0.05)
    exec(timed, {"app": app, "URL": redis_server})
    seen = run(app, asks)
    assert float(found[2].headers["took"]) > 0.7
    assert float(seen[2].headers["took"]) < 0.7
