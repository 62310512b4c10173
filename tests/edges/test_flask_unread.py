"""Flask's test client neither reads nor closes what it is not asked about. Its requests are over all the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, Response
from werkzeug.test import Client

from lockwatch.middleware import LockWatchFlaskMiddleware
from lockwatch_flask import LockWatch


@pytest.fixture
def app(tmp_path: Any) -> Iterator[Flask]:
    app = Flask("shop")
    lockwatch = LockWatch(app, audit_database_url=f"sqlite+aiosqlite:///{tmp_path / 'audit.db'}", application_limits="30/minute")
    lockwatch.audit.init_sync()

    @app.get("/json")
    def json() -> Any:
        return {"name": "ann"}

    @app.get("/text")
    @lockwatch.limit("1 concurrent")
    def text() -> str:
        return "fine"

    @app.get("/parts")
    def parts() -> Response:
        return Response(["one", "two"], headers={"Content-Length": "6"})

    @app.get("/stream")
    def stream() -> Response:
        return Response(part for part in ("one", "two"))

    yield app
    lockwatch.close()


def recorded(app: Flask) -> list[tuple[str | None, int | None, str, int | None]]:
    lockwatch = app.extensions["lockwatch"]
    lockwatch.flush()
    found = lockwatch.audit.query_sync(kind="http")
    return [(row.endpoint, row.status_code, row.outcome, row.bytes_sent) for row in reversed(found)]


def test_requests_whose_answers_nobody_reads_are_recorded(app: Flask) -> None:
    client = app.test_client()
    kept = [client.get("/json"), client.get("/text"), client.get("/none"), client.head("/json")]
    assert [answer.status_code for answer in kept] == [200, 200, 404, 200]
    rows = recorded(app)
    assert [row[:3] for row in rows] == [
        ("/json", 200, "success"),
        ("/text", 200, "success"),
        ("/none", 404, "failure"),
        ("/json", 200, "success"),
    ]
    assert rows[1][3] == 4
    assert kept[1].text == "fine"


def test_an_answer_that_nobody_reads_holds_no_place(app: Flask) -> None:
    client = app.test_client()
    kept = [client.get("/text") for _ in range(3)]
    assert [answer.status_code for answer in kept] == [200, 200, 200]


def test_a_refusal_that_nobody_reads_is_recorded(app: Flask) -> None:
    client = app.test_client()
    kept = [client.get("/none") for _ in range(31)]
    assert [answer.status_code for answer in kept] == [404] * 30 + [429]
    assert recorded(app)[-1][:2] == ("/none", 429)


@pytest.mark.parametrize("path", ["/stream", "/parts"])
def test_what_was_not_sent_whole_is_over_when_it_is_closed(app: Flask, path: str) -> None:
    answer = app.test_client().get(path)
    assert recorded(app) == []
    answer.close()
    assert [row[0] for row in recorded(app)] == [path]


def test_an_answer_that_is_read_is_recorded_once(app: Flask) -> None:
    client = app.test_client()
    assert client.get("/parts").text == "onetwo"
    assert client.get("/stream").text == "onetwo"
    assert [row[0] for row in recorded(app)] == ["/parts", "/stream"]


def test_before_any_wsgi_application_too() -> None:
    plain = Flask("plain")
    plain.add_url_rule("/", "root", lambda: "fine")
    middleware = LockWatchFlaskMiddleware(plain.wsgi_app, rate_limit_requests=2, burst_threshold=3)
    client = Client(middleware)
    kept = [client.get("/") for _ in range(3)]
    assert [answer.status_code for answer in kept] == [200, 200, 429]
    assert kept[0].text == "fine"
    middleware.close()
