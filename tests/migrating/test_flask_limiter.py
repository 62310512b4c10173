"""Every statement of docs/migrating/flask-limiter.md, on both sides: Flask there, FastAPI here."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response

from lockwatch import ConfigurationError, LockWatch, RateLimit, RateLimited
from tests import servers
from tests.migrating.conftest import Peer
from tests.migrating.drive import Ask, run
from tests.migrating.ours import MOVED, MOVES, application, limited, statuses

BEGIN = """
from flask import Flask, Response, request
from flask_limiter import ApplicationLimit, Limiter, MetaLimit, RateLimitExceeded
from flask_limiter.util import get_remote_address

def application(**options):
    global app, limiter
    app = Flask("application")
    options.setdefault("storage_uri", "memory://")
    limiter = Limiter(options.pop("key_func", get_remote_address), app=app, **options)
    return app
"""
ONE = """
application()

@app.get("/a")
@limiter.limit("1/minute")
def a():
    return "a"
"""


def one(limits: str = "1/minute", lockwatch: dict[str, Any] | None = None, **options: Any) -> FastAPI:
    app = application(**(lockwatch or {}))

    @app.get("/a", dependencies=[limited(limits, **options)])
    async def a() -> str:
        return "a"

    return app


# ------------------------------------------------------------ what is counted
def test_a_refused_request_is_charged_to_another_limit_there_and_not_here(flask_limiter: Peer) -> None:
    asks = [Ask("/report")] * 5 + [Ask("/list")]
    theirs = flask_limiter.run(
        BEGIN
        + """
application()
together = limiter.shared_limit("5/minute", scope="all")

@app.get("/report")
@together
@limiter.limit("2/hour")
def report():
    return "report"

@app.get("/list")
@together
def list_():
    return "list"
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


def test_methods_share_a_bucket_there_unless_told_and_never_here(flask_limiter: Peer) -> None:
    asks = [Ask("/a"), Ask("/a", "POST")]
    code = (
        BEGIN
        + """
application()

@app.route("/a", methods=["GET", "POST"])
@limiter.limit("1/minute", per_method=PER_METHOD)
def a():
    return "a"
"""
    )
    app, joined = application(), application()

    @app.api_route("/a", methods=["GET", "POST"], dependencies=[limited("1/minute")])
    @joined.api_route("/a", methods=["GET", "POST"], dependencies=[limited("1/minute", shared="a")])
    async def a() -> None: ...

    assert flask_limiter.run("PER_METHOD = False" + code, *asks).statuses == statuses(joined, *asks) == [200, 429]
    assert flask_limiter.run("PER_METHOD = True" + code, *asks).statuses == statuses(app, *asks) == [200, 200]


def test_an_empty_key_means_no_limit_there_and_the_address_here(flask_limiter: Peer) -> None:
    asks = [Ask("/a")] * 3
    theirs = flask_limiter.run(
        BEGIN + ONE.replace('"1/minute"', '"1/minute", key_func=lambda: request.headers.get("x-user", "")'), *asks
    )
    assert theirs.statuses == [200, 200, 200]
    assert statuses(one(key=lambda request: request.headers.get("x-user", "")), *asks) == [200, 429, 429]


def test_a_limit_that_cannot_be_read_is_an_error_and_not_no_limit(flask_limiter: Peer) -> None:
    assert flask_limiter.run(BEGIN + ONE.replace("1/minute", "1/fortnight"), *[Ask("/a")] * 3).statuses == [200, 200, 200]
    with pytest.raises(ConfigurationError, match="fortnight"):
        RateLimit("1/fortnight")


def test_an_ipv6_client_changes_its_bucket_within_its_network_there_and_not_here(flask_limiter: Peer) -> None:
    asks = [Ask("/a", peer=f"2001:db8::{number}") for number in (1, 2, 3)]
    assert flask_limiter.run(BEGIN + ONE, *asks).statuses == [200, 200, 200]
    assert statuses(one(), *asks) == [200, 429, 429]


def test_a_hop_count_takes_the_place_of_proxy_fix(flask_limiter: Peer) -> None:
    proxied = "\nfrom werkzeug.middleware.proxy_fix import ProxyFix\napp.wsgi_app = ProxyFix(app.wsgi_app, x_for=1)\n"
    asks = [Ask("/a", headers={"x-forwarded-for": f"203.0.113.9, 198.51.100.{number}"}) for number in (1, 2, 1)]
    assert flask_limiter.run(BEGIN + ONE + proxied, *asks).statuses == [200, 200, 429]
    assert statuses(one(lockwatch={"trusted_proxies": 1}), *asks) == [200, 200, 429]


def test_a_fixed_window_admits_twice_the_quota_across_its_edge(flask_limiter: Peer, here: Peer) -> None:
    ours = here.run(MOVED, *MOVES)
    theirs = flask_limiter.run(BEGIN + ONE.replace("1/minute", "4/minute"), *MOVES)
    assert theirs.statuses == [200, 200, 200, 200, 429, 200, 200, 200, 200]
    assert ours.statuses == [200, 200, 200, 200, 429, 200, 429, 429, 429]


# ------------------------------------------------------------ defaults, exemptions, filters
def test_default_limits_of_routes_with_limits_of_their_own(flask_limiter: Peer) -> None:
    asks = [Ask("/own"), Ask("/own"), Ask("/own"), Ask("/both"), Ask("/both"), Ask("/none"), Ask("/none")]
    theirs = flask_limiter.run(
        BEGIN
        + """
application(default_limits=["1/minute"])

@app.get("/own")
@limiter.limit("2/minute")
def own():
    return "own"

@app.get("/both")
@limiter.limit("2/minute", override_defaults=False)
def both():
    return "both"

@app.get("/none")
def none():
    return "none"
""",
        *asks,
    )
    app = application(default_limits="1/minute")
    default = limited("1/minute")

    @app.get("/own", dependencies=[limited("2/minute")])
    async def own() -> None: ...

    @app.get("/both", dependencies=[limited("2/minute"), default])
    async def both() -> None: ...

    @app.get("/none")
    async def none() -> None: ...

    assert theirs.statuses == statuses(app, *asks) == [200, 200, 429, 200, 429, 200, 429]


def test_limits_for_everything_reach_404_and_405_here(flask_limiter: Peer) -> None:
    asks = [Ask("/nowhere"), Ask("/nowhere"), Ask("/a", "POST"), Ask("/a")]
    theirs = flask_limiter.run(
        BEGIN
        + """
application(application_limits=["2/minute"])

@app.get("/a")
def a():
    return "a"
""",
        *asks,
    )
    app = application(application_limits="2/minute")

    @app.get("/a")
    async def a() -> None: ...

    assert theirs.statuses == [404, 404, 405, 200]
    assert statuses(app, *asks) == [404, 404, 429, 429]


def test_exempt_routes_and_filters(flask_limiter: Peer) -> None:
    asks = [*[Ask("/free")] * 2, *[Ask("/a", headers={"x-monitor": "1"})] * 2, Ask("/a"), Ask("/a")]
    theirs = flask_limiter.run(
        BEGIN
        + """
application(default_limits=["1/minute"])

@limiter.request_filter
def monitors():
    return "x-monitor" in request.headers

@app.get("/a")
def a():
    return "a"

@app.get("/free")
@limiter.exempt
def free():
    return "free"
""",
        *asks,
    )
    app = FastAPI(dependencies=[limited("1/minute", exempt_when=lambda request: "x-monitor" in request.headers)])
    lockwatch = LockWatch(app)

    @app.get("/a")
    async def a() -> None: ...

    @app.get("/free")
    @lockwatch.exempt
    async def free() -> None: ...

    assert theirs.statuses == statuses(app, *asks) == [200, 200, 200, 200, 200, 429]


def test_keywords_that_mean_the_same(flask_limiter: Peer) -> None:
    asks = [Ask("/a", "POST", {"x-size": "2"}), Ask("/a", "POST", {"x-size": "2"}), Ask("/a"), Ask("/a")]
    theirs = flask_limiter.run(
        BEGIN
        + """
application()

def size():
    return int(request.headers.get("x-size", "1"))

@app.route("/a", methods=["GET", "POST"])
@limiter.limit(lambda: "3 per 1 minute", methods=["POST"], cost=size, exempt_when=lambda: "x-monitor" in request.headers)
def a():
    return "a"
""",
        *asks,
    )
    app = application()

    def size(request: Request) -> int:
        return int(request.headers.get("x-size", "1"))

    limit = limited(
        lambda request: "3 per 1 minute", methods=["POST"], cost=size, exempt_when=lambda request: "x-monitor" in request.headers
    )

    @app.api_route("/a", methods=["GET", "POST"], dependencies=[limit])
    async def a() -> None: ...

    assert theirs.statuses == statuses(app, *asks) == [200, 429, 200, 200]


def test_a_limit_inside_a_view(flask_limiter: Peer) -> None:
    asks = [Ask("/a")] * 2
    theirs = flask_limiter.run(
        BEGIN
        + """
application()

@app.get("/a")
def a():
    try:
        with limiter.limit("1/minute"):
            return "sent"
    except RateLimitExceeded:
        return "not again"
""",
        *asks,
    )
    app = FastAPI()
    lockwatch = LockWatch(app)

    @app.get("/a", response_class=PlainTextResponse)
    async def a(request: Request) -> str:
        decision = await lockwatch.take("letters", request.state.lockwatch.client.subject, "1/minute")
        return "not again" if decision.refuses else "sent"

    assert [seen.body for seen in theirs.seen] == [seen.body for seen in run(app, asks)] == ["sent", "not again"]


def test_a_limit_on_refusals(flask_limiter: Peer) -> None:
    asks = [*[Ask("/a")] * 3, Ask("/b"), Ask("/b", peer="192.0.2.2")]
    theirs = flask_limiter.run(
        BEGIN
        + ONE.replace("application()", 'application(meta_limits=["2/hour"])')
        + """
@app.get("/b")
def b():
    return "b"
""",
        *asks,
    )
    app = one(lockwatch={"meta_limits": "2/hour"})

    @app.get("/b")
    async def b() -> None: ...

    assert theirs.statuses == statuses(app, *asks) == [200, 429, 429, 429, 200]


def test_a_function_says_what_counts(flask_limiter: Peer) -> None:
    asks = [*[Ask("/a", headers={"x-status": "404"})] * 3, *[Ask("/a", headers={"x-status": "401"})] * 2]
    theirs = flask_limiter.run(
        BEGIN
        + """
application()

@app.get("/a")
@limiter.limit("1/minute", deduct_when=lambda response: response.status_code == 401)
def a():
    return "a", int(request.headers["x-status"])
""",
        *asks,
    )
    app = application()

    @app.get("/a", dependencies=[limited("1/minute", count=lambda status: status == 401)])
    async def a(request: Request) -> Response:
        return Response(status_code=int(request.headers["x-status"]))

    assert theirs.statuses == statuses(app, *asks) == [404, 404, 404, 401, 429]


# ------------------------------------------------------------ answers
def test_quota_headers(flask_limiter: Peer) -> None:
    quiet = flask_limiter.run(BEGIN + ONE, Ask("/a")).seen[0].headers
    loud = flask_limiter.run(BEGIN + ONE.replace("application()", "application(headers_enabled=True)"), Ask("/a")).seen[0].headers
    ours = run(one(lockwatch={"headers": "x"}), [Ask("/a")])[0].headers
    assert not [name for name in quiet if "ratelimit" in name]
    assert {name for name in loud if "ratelimit" in name} == {name for name in ours if "ratelimit" in name}
    for name in ("x-ratelimit-limit", "x-ratelimit-remaining"):
        assert loud[name] == ours[name]
    assert abs(int(loud["x-ratelimit-reset"]) - int(ours["x-ratelimit-reset"])) <= 2


def test_an_answer_of_your_own(flask_limiter: Peer) -> None:
    asks = [Ask("/a")] * 2
    theirs = flask_limiter.run(
        BEGIN
        + ONE.replace(
            '"1/minute"', '"1/minute", on_breach=lambda limit: Response("slow down", 429, {"x-limit": str(limit.limit)})'
        ),
        *asks,
    )
    app = one()

    @app.exception_handler(RateLimited)
    async def slow_down(request: Request, error: RateLimited) -> PlainTextResponse:
        return PlainTextResponse("slow down", 429, {"x-limit": str(error.violated[0].limit)})

    found, ours = theirs.seen[1], run(app, asks)[1]
    assert (found.status, found.body, found.headers["x-limit"]) == (429, "slow down", "1 per 1 minute")
    assert (ours.status, ours.body, ours.headers["x-limit"]) == (429, "slow down", "1-per-minute")


def test_the_body_of_a_refusal(flask_limiter: Peer) -> None:
    theirs, ours = flask_limiter.run(BEGIN + ONE, *[Ask("/a")] * 2).seen[1], run(one(), [Ask("/a")] * 2)[1]
    assert (theirs.status, theirs.headers["content-type"]) == (429, "text/html; charset=utf-8")
    assert (ours.status, ours.headers["content-type"]) == (429, "application/problem+json")


# ------------------------------------------------------------ outages
def test_a_store_that_is_down(flask_limiter: Peer) -> None:
    url = f"redis://127.0.0.1:{servers.free_port()}/0"
    down = BEGIN + ONE.replace("application()", f"application(storage_uri={url!r}, OPTIONS)")
    key = "0123456789abcdef"
    for theirs, ours, expected in (
        ("swallow_errors=True", "allow", [200, 200]),
        ("in_memory_fallback_enabled=True", "local", [200, 429]),
        ("swallow_errors=False", "deny", None),
    ):
        found = flask_limiter.run(down.replace("OPTIONS", theirs), *[Ask("/a")] * 2).statuses
        app = one(lockwatch={"redis_url": url, "on_redis_failure": ours, "secret_key": key})
        assert found == (expected or [500, 500])
        assert statuses(app, *[Ask("/a")] * 2) == (expected or [503, 503])
