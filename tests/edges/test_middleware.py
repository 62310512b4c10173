"""The middlewares of lockwatch 0.1, as its README prints them, before applications of any kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fastapi
import flask
import pytest
from fastapi import Depends
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import lockwatch_flask
from lockwatch import JWTConfig, JWTRotationManager, LockWatch, LockWatchMiddleware, RateLimit, key_by_api_key, key_by_ip
from lockwatch.event import Event
from lockwatch.middleware import LockWatchFlaskMiddleware, flask_jwt_required
from tests.edges.asgi import Exchange, http


async def asked(app: Any, times: int, **extra: Any) -> list[int]:
    return [(await http(app, "GET", "/a", **extra)).status for _ in range(times)]


def get(app: flask.Flask, path: str = "/a", **headers: str) -> Any:
    return app.test_client().get(path, headers=headers)


async def test_the_snippet_for_fastapi_limits_at_once(redis_server: str) -> None:
    app = fastapi.FastAPI()
    app.add_middleware(
        LockWatchMiddleware,
        redis_url=redis_server,
        store_timeout=5.0,
        rate_limit_requests=2,
        rate_limit_window_seconds=60,
        burst_threshold=50,
        burst_window_seconds=10,
        on_redis_failure="allow",
        key_func=key_by_ip,
    )
    app.add_api_route("/a", lambda: "fine")
    assert await asked(app, 3) == [200, 200, 429]
    refused: Exchange = await http(app, "GET", "/none")
    assert (refused.status, refused.json()["error"], refused.header("x-ratelimit-limit")) == (429, "rate_limit_exceeded", "2")
    assert await asked(app, 1, peer="203.0.113.9") == [200]


async def test_a_hundred_requests_a_minute_are_the_default() -> None:
    app = Starlette(routes=[Route("/a", lambda request: PlainTextResponse("fine"))])
    app.add_middleware(LockWatchMiddleware)
    assert await asked(app, 101) == [200] * 100 + [429]


async def test_a_key_may_be_counted_instead() -> None:
    app = fastapi.FastAPI()
    app.add_middleware(LockWatchMiddleware, rate_limit_requests=1, key_func=key_by_api_key)
    app.add_api_route("/a", lambda: "fine")
    seen = [await asked(app, 1, headers={"x-api-key": key}) for key in ("one", "two", "one")]
    assert seen == [[200], [200], [429]]


async def test_it_stands_beside_a_lockwatch_of_the_application() -> None:
    app = fastapi.FastAPI()
    LockWatch(app)
    app.add_middleware(LockWatchMiddleware, rate_limit_requests=3)
    app.add_api_route("/a", lambda: "fine", dependencies=[Depends(RateLimit("2/minute"))])
    assert await asked(app, 3) == [200, 200, 429]
    assert (await http(app, "GET", "/none")).status == 429


async def test_bursts_are_noticed_and_every_request_is_an_event() -> None:
    app = fastapi.FastAPI()
    inner = LockWatchMiddleware(app, rate_limit_requests=5, burst_threshold=50)
    events: list[Event] = []

    async def collect(found: list[Event]) -> None:
        events.extend(found)

    inner.engine.listen(collect)
    assert inner.engine.anomaly is not None
    await http(inner, "GET", "/none")
    await inner.engine.flush()
    assert [(event.path, event.status, event.decision) for event in events] == [("/none", 404, "allowed")]
    await inner.engine.aclose()


def test_the_snippet_for_flask_limits_any_wsgi_application(redis_server: str) -> None:
    app = flask.Flask("shop")
    app.add_url_rule("/a", "a", lambda: "fine")
    middleware = LockWatchFlaskMiddleware(
        app.wsgi_app,
        redis_url=redis_server,
        store_timeout=5.0,
        rate_limit_requests=2,
        rate_limit_window_seconds=60,
        alert_cooldown_seconds=60,
    )
    app.wsgi_app = middleware  # type: ignore[method-assign]
    assert [get(app).status_code for _ in range(3)] == [200, 200, 429]
    refused = get(app, "/none")
    assert (refused.json["error"], refused.headers["X-RateLimit-Limit"]) == ("rate_limit_exceeded", "2")
    assert middleware.engine.anomaly is None  # bursts are off by default here
    middleware.close()


def test_a_plain_generator_is_an_application_too() -> None:
    def plain(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"one"
        yield b"two"

    from werkzeug.test import Client

    middleware = LockWatchFlaskMiddleware(plain, rate_limit_requests=1, key_func=lambda request: request.headers["X-Who"])
    client = Client(middleware)
    seen = [client.get("/", headers={"X-Who": who}) for who in ("ann", "ann", "bob")]
    assert [(response.status_code, response.data[:6]) for response in seen] == [
        (200, b"onetwo"),
        (429, b'{"type'),
        (200, b"onetwo"),
    ]
    assert seen[0].headers["X-RateLimit-Remaining"] == "0"
    middleware.close()


def test_it_stands_beside_a_lockwatch_of_a_flask_application() -> None:
    app = flask.Flask("shop")
    lockwatch = lockwatch_flask.LockWatch(app)
    app.add_url_rule("/a", "a", lockwatch.limit("2/minute")(lambda: "fine"))
    app.wsgi_app = LockWatchFlaskMiddleware(app.wsgi_app, rate_limit_requests=3)  # type: ignore[method-assign]
    assert [get(app).status_code for _ in range(3)] == [200, 200, 429]
    assert get(app, "/none").status_code == 429
    lockwatch.close()


@pytest.mark.parametrize("waiting", [False, True])
def test_a_token_that_a_manager_believes_is_required(waiting: bool) -> None:
    app = flask.Flask("shop")
    manager = JWTRotationManager(None, JWTConfig(jwt_secret="a secret of at least 32 characters"))

    def plain() -> Any:
        return {"user": flask.g.jwt_claims["sub"]}

    async def slow() -> Any:
        return plain()

    app.add_url_rule("/a", "a", flask_jwt_required(manager)(slow if waiting else plain))
    pair = manager.issue_token_pair_sync("ann")
    assert get(app).status_code == 401
    assert get(app, Authorization=f"Bearer {pair.access_token}").json == {"user": "ann"}
    manager.revoke_token_sync(pair.refresh_token)
    refused = get(app, Authorization=f"Bearer {pair.access_token}")
    assert (refused.status_code, refused.json["error"]) == (401, "invalid_token")
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
