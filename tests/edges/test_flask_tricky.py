"""What other limiters for Flask get wrong, each by a request that shows it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
import redis
from flask import Blueprint, Flask

from lockwatch_flask import LockWatch
from tests import servers


@pytest.fixture
def app() -> Flask:
    return Flask("shop")


@pytest.fixture(scope="module")
def own_redis() -> Iterator[str]:
    """A server whose other clients nobody misses."""
    server = servers.start_redis()
    yield f"redis://127.0.0.1:{server.port}/0"
    server.stop()


def shop(app: Flask, limit: Any, path: str = "/search", **options: Any) -> LockWatch:
    """An application with one limited view."""
    lockwatch = LockWatch(app, **{"secret_key": "0123456789abcdef", **options})
    app.add_url_rule(path, "search", lockwatch.limit(limit)(lambda **_: "found"))
    return lockwatch


def get(app: Flask, path: str = "/search", **headers: str) -> Any:
    return app.test_client().get(path, headers=headers, buffered=True)


def test_who_never_stops_asking_still_gets_what_the_limit_admits(app: Flask) -> None:
    lockwatch = shop(app, "3/500ms")
    admitted = refused = 0
    deadline = time.monotonic() + 20
    while (admitted < 9 or not refused) and time.monotonic() < deadline:
        status = get(app).status_code
        admitted, refused = admitted + (status == 200), refused + (status == 429)
    assert admitted >= 9
    assert refused
    lockwatch.close()


def test_a_parameter_of_the_path_buys_no_new_bucket(app: Flask) -> None:
    lockwatch = shop(app, "2/minute", "/users/<int:number>")
    assert [get(app, f"/users/{n}").status_code for n in range(6)] == [200, 200, 429, 429, 429, 429]
    lockwatch.close()


def test_views_of_one_name_have_buckets_of_their_own(app: Flask) -> None:
    lockwatch = LockWatch(app)
    for name in ("one", "two"):
        blueprint = Blueprint(name, "shop", url_prefix=f"/{name}")

        @blueprint.get("/list")
        @lockwatch.limit("2/minute")
        def listed() -> str:
            return "listed"

        app.register_blueprint(blueprint)
    assert [get(app, path).status_code for path in ("/one/list", "/two/list") for _ in range(3)] == [200, 200, 429] * 2
    lockwatch.close()


def test_a_header_buys_no_new_bucket(app: Flask) -> None:
    lockwatch = shop(app, "2/minute")
    seen = [get(app, **{"X-Forwarded-For": f"198.51.100.{n}"}).status_code for n in range(4)]
    assert seen == [200, 200, 429, 429]
    lockwatch.close()


def test_the_headers_speak_of_the_limit_that_is_nearest(app: Flask) -> None:
    lockwatch = shop(app, "5/minute;2/hour")
    told = [get(app) for _ in range(3)]
    assert [(answer.headers["X-RateLimit-Limit"], answer.headers["X-RateLimit-Remaining"]) for answer in told] == [
        ("2", "1"),
        ("2", "0"),
        ("2", "0"),
    ]
    assert 3590 <= int(told[2].headers["Retry-After"]) <= 3600
    lockwatch.close()


def test_a_server_that_forgot_the_script_is_told_it_again(app: Flask, own_redis: str) -> None:
    lockwatch = shop(app, "3/minute", redis_url=own_redis, namespace=uuid4().hex, store_timeout=10)
    with redis.Redis.from_url(own_redis) as client:
        seen = []
        for _ in range(5):
            client.script_flush()
            seen.append(get(app))
    assert [answer.status_code for answer in seen] == [200, 200, 200, 429, 429]
    assert all("RateLimit" in answer.headers for answer in seen)  # decided by the store, every one
    lockwatch.close()


def test_connections_that_the_server_closed_cost_no_request(app: Flask, own_redis: str) -> None:
    lockwatch = shop(app, "100/minute", redis_url=own_redis, namespace=uuid4().hex, store_timeout=10)
    with redis.Redis.from_url(own_redis) as client:
        left = []
        for _ in range(5):
            left.append(int(get(app).headers["X-RateLimit-Remaining"]))
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert left == [99, 98, 97, 96, 95]
    lockwatch.close()


@contextmanager
def silent_server() -> Iterator[tuple[int, list[int]]]:
    """A server that takes connections and never answers: its port, and a number for each connection."""
    taken: list[int] = []
    held = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.05)
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                try:
                    held.append(listening.accept()[0])
                except TimeoutError:
                    continue
                taken.append(len(taken))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1], taken
        finally:
            ended.set()
            thread.join(20)
            for connection in held:
                connection.close()


@pytest.mark.parametrize(("choice", "status"), [("allow", 200), ("deny", 503), ("local", 200)])
def test_a_store_that_hangs_is_asked_a_few_times_and_stops_no_request(app: Flask, choice: str, status: int) -> None:
    with silent_server() as (port, taken):
        lockwatch = shop(app, "1000/minute", redis_url=f"redis://127.0.0.1:{port}/0", on_redis_failure=choice, store_timeout=0.05)
        assert {get(app).status_code for _ in range(100)} == {status}
        assert lockwatch.health().breaker != "closed"
        assert len(taken) < 50  # by requests and by the background: not one for each request
        lockwatch.close()


def test_a_store_that_came_back_counts_again(app: Flask) -> None:
    store = servers.start_redis()
    lockwatch = shop(app, "1000/minute", redis_url=f"redis://127.0.0.1:{store.port}/0", store_timeout=5)
    assert "RateLimit" in get(app).headers
    store.popen.kill()
    store.popen.wait(20)
    assert (get(app).status_code, "RateLimit" in get(app).headers) == (200, False)
    store = servers.start_redis(port=store.port)
    deadline = time.monotonic() + 20
    while "RateLimit" not in (answer := get(app)).headers and time.monotonic() < deadline:
        assert answer.status_code == 200
        time.sleep(0.05)
    assert "RateLimit" in get(app).headers
    lockwatch.close()
    store.stop()
