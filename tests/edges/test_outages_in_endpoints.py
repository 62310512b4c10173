"""What an endpoint asks of the store or the audit log itself may fail: that is an outage, 503, and no bug of the application's."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse
from flask import Flask

from lockwatch import LockWatch
from lockwatch.errors import StoreError
from lockwatch_flask import LockWatch as FlaskLockWatch
from tests import servers
from tests.edges.asgi import http

SECRET = "0123456789abcdef0123456789abcdef"
ASKING = ("issue", "peek", "reset", "audit")
CODES = {"audit": "audit_unavailable"}


def without_servers(what: str) -> dict[str, Any]:
    nowhere = servers.free_port()
    options = {"redis_url": f"redis://127.0.0.1:{nowhere}/0", "jwt_secret": SECRET, "spool_dir": None}
    return options | ({"audit_database_url": f"postgresql://nobody@127.0.0.1:{nowhere}/none"} if what == "audit" else {})


def make(what: str) -> tuple[FastAPI, LockWatch]:
    app = FastAPI()
    lockwatch = LockWatch(app, **without_servers(what))

    @app.get("/issue")
    async def issue() -> str:
        return (await lockwatch.tokens.issue_token_pair("ann")).access_token

    @app.get("/peek")
    async def peek() -> int:
        return (await lockwatch.peek("spent", "ann", "2/day")).remaining

    @app.get("/reset")
    async def reset() -> bool:
        return await lockwatch.reset("spent", "ann", "2/day")

    @app.get("/audit")
    async def audit() -> int:
        return len(await lockwatch.audit.query(limit=1))

    return app, lockwatch


def make_flask(what: str) -> tuple[Flask, FlaskLockWatch]:
    app = Flask(__name__)
    lockwatch = FlaskLockWatch(app, **without_servers(what))

    @app.get("/issue")
    def issue() -> str:
        return lockwatch.tokens.issue_token_pair_sync("ann").access_token

    @app.get("/peek")
    def peek() -> str:
        return str(lockwatch.peek("spent", "ann", "2/day").remaining)

    @app.get("/reset")
    def reset() -> str:
        return str(lockwatch.reset("spent", "ann", "2/day"))

    @app.get("/audit")
    def audit() -> str:
        return str(len(lockwatch.audit.query_sync(limit=1)))

    return app, lockwatch


def check(status: int, wait: str | None, told: dict[str, Any], what: str) -> None:
    assert (status, wait, told["error"]) == (503, "1", CODES.get(what, "store_unavailable"))
    assert "127.0.0.1" not in str(told)


@pytest.mark.parametrize("what", ASKING)
async def test_an_outage_in_an_endpoint_is_503(what: str) -> None:
    app, lockwatch = make(what)
    answer = await http(app, "GET", f"/{what}")
    check(answer.status, answer.header("retry-after"), answer.json(), what)
    await lockwatch.aclose()


@pytest.mark.parametrize("what", ASKING)
def test_an_outage_in_a_view_is_503(what: str) -> None:
    app, lockwatch = make_flask(what)
    answer = app.test_client().get(f"/{what}")
    check(answer.status_code, answer.headers.get("retry-after"), answer.get_json(force=True), what)
    lockwatch.close()


async def test_an_application_may_answer_an_outage_in_its_own_way() -> None:
    app, lockwatch = make("issue")

    async def later(request: Request, error: Exception) -> PlainTextResponse:
        return PlainTextResponse("later", 503)

    app.add_exception_handler(StoreError, later)
    assert (await http(app, "GET", "/issue")).body == b"later"
    await lockwatch.aclose()

    flask, protection = make_flask("issue")
    flask.register_error_handler(StoreError, lambda error: ("later", 503))
    assert flask.test_client().get("/issue").data == b"later"
    protection.close()
