"""The pytest plugin in a project of its own: a run of pytest in another process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi import FastAPI

from lockwatch import LockWatch
from lockwatch.testing import isolated
from lockwatch.testing.items import items_of

MAIN = """
from typing import Annotated
from fastapi import Depends, FastAPI
from lockwatch import Claims, JWTAuth, LockWatch, RateLimit

app = FastAPI()
LockWatch(app, jwt_secret="a secret of at least 32 characters", spool_dir=None)

@app.get("/search", dependencies=[Depends(RateLimit("5/minute"))])
async def search() -> str:
    return "found"

@app.get("/me")
async def me(claims: Annotated[Claims, Depends(JWTAuth())]) -> str:
    return claims.subject

@app.post("/items/{key:uuid}")
async def item(key: str, claims: Annotated[Claims, Depends(JWTAuth(scopes=["a"]))]) -> str:
    return key
"""
CARELESS = (
    MAIN
    + """
from starlette.responses import PlainTextResponse

@app.middleware("http")
async def careless(request, call_next):
    if len(request.headers.get("authorization", "")) > 500_000 and request.url.path == "/me":
        return PlainTextResponse("well")
    return await call_next(request)
"""
)
TESTS = """
import pytest
from starlette.testclient import TestClient
from lockwatch.testing import assert_limited, assert_not_limited, assert_requires_token, token_for

@pytest.fixture
def client(lockwatch_app):
    with TestClient(lockwatch_app, client=("192.0.2.1", 1)) as client:
        yield client

@pytest.mark.parametrize("turn", [1, 2])
def test_the_limit(client, lockwatch_clock, turn):
    assert_limited(client, "GET", "/search", after=5, per="minute", clock=lockwatch_clock)
    assert_not_limited(client, "GET", "/search", times=4)

def test_events(client, lockwatch_events):
    client.get("/me")
    assert [event.status for event in lockwatch_events.of(route="/me")] == [401]

def test_tokens(client, lockwatch_app, hostile_tokens):
    assert len(hostile_tokens) > 200
    assert_requires_token(client, "POST", "/items/00000000-0000-4000-8000-000000000000", scopes="a")
    assert client.get("/me", headers={"Authorization": f"Bearer {token_for(lockwatch_app, 'alice')}"}).json() == "alice"
"""


def project(place: Path, main: str, tests: str = "", settings: str = "") -> Path:
    (place / "main.py").write_text(main)
    (place / "test_shop.py").write_text(tests)
    (place / "pyproject.toml").write_text(f"[tool.pytest.ini_options]\nfilterwarnings = ['error']\n{settings}\n")
    return place


def run(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly", "-p", "no:asyncio", *arguments]
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)


def test_fixtures_of_the_application_that_the_settings_name(tmp_path: Path) -> None:
    done = run(project(tmp_path, MAIN, TESTS, 'lockwatch_app = "main:app"'))
    assert "4 passed" in done.stdout, done.stdout + done.stderr


def test_each_protected_route_is_a_test_and_what_got_through_is_in_the_report(tmp_path: Path) -> None:
    done = run(project(tmp_path, CARELESS), "--lockwatch-app", "main:app", "-k", "hostile", "-v")
    assert done.returncode == 1
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert "main:app GET /me refuses hostile tokens" in done.stdout
    assert "main:app POST /items/{key} refuses hostile tokens" in done.stdout
    assert "GET /me (header): let in with 200: size: claims of a megabyte; header {" in done.stdout
    assert "Traceback" not in done.stdout
    assert "lockwatch/testing" not in done.stdout


def test_an_application_that_is_none_is_a_usage_error(tmp_path: Path) -> None:
    done = run(project(tmp_path, MAIN), "--lockwatch-app", "main:application")
    assert done.returncode == 4
    assert "--lockwatch-app: main has no 'application'" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("tests.nowhere:app", "there is no module"),
        ("tests.testing.shops", "is not module:attribute"),
        ("tests.testing.shops:SECRET", "a str without lockwatch"),
        ("tests.testing.test_plugin:open_to_all()", "requires a token; protect one"),
    ],
    ids=["module", "form", "no lockwatch", "no route"],
)
def test_what_cannot_be_fired_at_is_told(place: str, message: str, request: pytest.FixtureRequest) -> None:
    with pytest.raises(pytest.UsageError, match=message):
        list(items_of(request.session, place))


def open_to_all() -> FastAPI:
    """An application that requires no token anywhere."""
    app = FastAPI()
    LockWatch(app, config=isolated())
    return app


def test_without_an_application_the_fixtures_say_how_to_name_one(request: pytest.FixtureRequest) -> None:
    with pytest.raises(pytest.UsageError, match="write a fixture lockwatch_app"):
        request.getfixturevalue("lockwatch_app")


def test_the_plugin_loads_nothing_until_it_is_used() -> None:
    code = "import sys, pytest; before = {*sys.modules}; import lockwatch.pytest_plugin; print(*sorted({*sys.modules} - before))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"lockwatch", "lockwatch.pytest_plugin"}
