"""The attack table against routes: protected ones withstand, careless ones are told with the token that got through."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from flask import Flask

import lockwatch_flask
from lockwatch import JWTAuth, JWTConfig, LockWatch, RateLimit
from lockwatch.testing import assert_withstands, captured_events, hostile_tokens, isolated, withstand
from lockwatch.testing.attacks import TABLE
from lockwatch.testing.templates import concrete
from lockwatch.tokens.keyfile import new_pem
from tests.testing.shops import SECRET, Shop, fastapi_shop


def test_protected_routes_withstand(plain: Shop) -> None:
    assert_withstands(plain.app)
    assert withstand(plain.client, ["GET /admin"]) == []


def test_routes_that_need_no_token_refuse_a_bad_one() -> None:
    waiting, blocking = FastAPI(), Flask(__name__)
    LockWatch(waiting, config=isolated(jwt_secret=SECRET, jwt=JWTConfig(issuer="1234", audience="5")))
    held = lockwatch_flask.LockWatch(blocking, config=isolated(jwt_secret=SECRET))

    @waiting.get("/me", dependencies=[Depends(JWTAuth(optional=True, locations=("header", "cookie")))])
    async def me() -> None: ...

    @blocking.get("/me")
    @held.jwt_required(optional=True, locations=("header", "cookie"))
    def mine() -> str:
        return ""

    for app in (waiting, blocking):
        assert_withstands(app)
    held.close()


async def test_from_within_an_event_loop(plain: Shop) -> None:
    assert_withstands(plain.app, ["GET /admin"])


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_with_keys_of_every_family(algorithm: str) -> None:
    shop = fastapi_shop(jwt_secret=None, jwt=JWTConfig(rsa_private_key_pem=new_pem(algorithm)))
    assert withstand(shop.app) == []
    names = [attack.name for attack in hostile_tokens(shop.app)]
    assert "confusion: HS256 with the public PEM" in names
    assert set(names) < {row.name for row in TABLE}


def test_no_endpoint_runs_and_no_limit_answers_first(make: Any) -> None:
    shop = make(application_limits="3/hour", auth_failures="3/hour")
    with captured_events(shop.app) as events:
        assert withstand(shop.app) == []
        assert {event.status for event in events.of(kind="http")} <= {400, 401}
        assert len(events) > 400
    assert shop.client.get("/search").status_code == 200


def test_what_gets_through_is_told_with_its_header() -> None:
    app = FastAPI()
    lockwatch = LockWatch(app, config=isolated(jwt_secret=SECRET))

    @app.middleware("http")
    async def trusting(request: Request, call_next: Any) -> Any:
        """Believes `alg: none`, as some did."""
        head = request.headers.get("authorization", "").removeprefix("Bearer ").partition(".")[0]
        if "bm9uZS" in head or "Im5vbmUi" in head or "none" in _decoded(head):
            from starlette.responses import PlainTextResponse

            return PlainTextResponse("welcome")
        return await call_next(request)

    @app.get("/me", dependencies=[Depends(JWTAuth())])
    async def me() -> None: ...

    assert lockwatch.health().mode == "enforce"
    with pytest.raises(AssertionError) as caught:
        assert_withstands(app)
    said = str(caught.value)
    assert "GET /me (header): let in with 200: algorithm: alg='none'; header {" in said
    assert '"alg": "none"' in said
    assert lockwatch.health().mode == "enforce"


def _decoded(head: str) -> str:
    from lockwatch.tokens.encoding import decode

    try:
        return str(json.loads(decode(head.encode())).get("alg"))
    except (ValueError, AttributeError):
        return ""


def test_an_error_of_the_server_is_told_in_both_frameworks() -> None:
    waiting, blocking = FastAPI(), Flask(__name__)
    LockWatch(waiting, config=isolated(jwt_secret=SECRET))
    held = lockwatch_flask.LockWatch(blocking, config=isolated(jwt_secret=SECRET))

    @waiting.middleware("http")
    async def fragile(request: Request, call_next: Any) -> Any:
        if len(request.headers.get("authorization", "")) > 100_000:
            raise RuntimeError("too long for me")
        return await call_next(request)

    @waiting.get("/me", dependencies=[Depends(JWTAuth())])
    async def me() -> None: ...

    @blocking.get("/me")
    @held.jwt_required()
    def mine() -> str:
        return ""

    inner = blocking.wsgi_app

    def fragile_too(environ: Any, start_response: Any) -> Any:
        if len(environ.get("HTTP_AUTHORIZATION", "")) > 100_000:
            raise RuntimeError("too long for me")
        return inner(environ, start_response)

    blocking.wsgi_app = fragile_too  # type: ignore[method-assign]
    for app in (waiting, blocking):
        found = withstand(app)
        assert {breach.status >= 500 for breach in found} == {True}
        assert all(breach.attack is not None and breach.attack.name.startswith("size:") for breach in found)
        assert "GET /me (header): failed with 5" in str(found[0])
    held.close()


def test_the_application_is_started_and_stopped() -> None:
    seen: list[str] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        seen.append("up")
        yield
        seen.append("down")

    app = FastAPI(lifespan=lifespan)
    LockWatch(app, config=isolated(jwt_secret=SECRET))
    router = APIRouter(prefix="/in", dependencies=[Depends(JWTAuth()), Depends(RateLimit("1/hour"))])

    @router.delete("/{year:int}/{key:uuid}/{rest:path}")
    async def drop(year: int, key: str, rest: str) -> None:
        seen.append("deleted")

    app.include_router(router)
    found = withstand(app)
    assert [str(breach) for breach in found] == [
        "DELETE /in/{year}/{key}/{rest}: could not be tried, it answers a request without a token with 404 (by header)"
    ]
    assert seen == ["up", "down"]


def test_a_start_that_fails_is_told() -> None:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        raise RuntimeError("no database")
        yield

    app = FastAPI(lifespan=lifespan)
    LockWatch(app, config=isolated(jwt_secret=SECRET))

    @app.get("/me", dependencies=[Depends(JWTAuth())])
    async def me() -> None: ...

    with pytest.raises(RuntimeError, match=r"lifespan\.startup\.failed"):
        withstand(app)


def test_a_route_that_requires_nothing_is_no_target(plain: Shop) -> None:
    with pytest.raises(LookupError, match="'GET /search' is no route that requires a token; these do: "):
        withstand(plain.app, ["GET /search"])


def test_a_handler_that_hides_routes_is_told() -> None:
    app = FastAPI()
    LockWatch(app, config=isolated(jwt_secret=SECRET))

    @app.middleware("http")
    async def hiding(request: Request, call_next: Any) -> Any:
        raise HTTPException(404) if request.url.path == "/none" else RuntimeError

    @app.get("/me", dependencies=[Depends(JWTAuth())])
    async def me() -> None: ...

    assert "could not be tried" in str(withstand(app)[0])


def test_importing_it_loads_no_framework_and_no_driver() -> None:
    code = "import sys, lockwatch.testing; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"fastapi", "starlette", "flask", "redis", "sqlalchemy", "pytest", "click"}


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("/", "/"),
        ("/items/{id}", "/items/1"),
        ("/items/{id:uuid}/x", "/items/1/x"),
        ("/a/<int:n>/<float:f>", "/a/1/1.5"),
        ("/a/<int(fixed_digits=4):n>", "/a/0001"),
        ("/a/<any(red, blue):c>/<name>", "/a/red/1"),
        ("/a/<any('red','blue'):c>", "/a/red"),
        ("/a/<uuid:key>", "/a/00000000-0000-4000-8000-000000000000"),
        ("/a/<path:rest>", "/a/1"),
        ("shop.example/a/<string(length=2):n>", "/a/1"),
    ],
)
def test_templates_become_paths(template: str, path: str) -> None:
    assert next(concrete(template)) == path
