"""What a newcomer gets wrong is said in a line that shows what would be right, and never leaves a route open without a word."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Request
from flask import Flask
from starlette.testclient import TestClient

import lockwatch_flask
from lockwatch import ConfigurationError, JWTAuth, JWTConfig, LockWatch, RateLimit, by_claim, by_form, by_json
from lockwatch.environment import workers_in
from lockwatch.limits import declaration
from lockwatch.tokens import requirement
from tests.edges.asgi import http

SECRET = "a secret of at least 32 characters"


# ------------------------------------------------------------ the wrong application
@pytest.mark.parametrize("wrong", [Flask("shop"), APIRouter(), object(), "main:app"], ids=["flask", "router", "object", "text"])
def test_what_is_no_application_of_fastapi_is_told(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="from lockwatch_flask import LockWatch"):
        LockWatch(wrong)


@pytest.mark.parametrize("wrong", [FastAPI(), object(), "main:app"], ids=["fastapi", "object", "text"])
def test_what_is_no_application_of_flask_is_told(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="from lockwatch import LockWatch"):
        lockwatch_flask.LockWatch(wrong)


# ------------------------------------------------------------ limits and tokens that nothing asks
def protected() -> FastAPI:
    app = FastAPI()
    LockWatch(app, jwt=JWTConfig(jwt_secret=SECRET))
    return app


LIMIT, TOKEN, OPTIONAL = RateLimit("1/minute"), JWTAuth(), Depends(JWTAuth(optional=True))


def limited_by_default(limit: Any = LIMIT) -> None: ...


def token_by_default(*, claims: Any = TOKEN) -> None: ...


def token_beside_a_type(claims: Annotated[Any, JWTAuth()] = None) -> None: ...


token_beside_a_type.__annotations__ = {"claims": Annotated[Any, JWTAuth()]}
FORGOTTEN = [limited_by_default, token_by_default, token_beside_a_type]


@pytest.mark.parametrize("endpoint", FORGOTTEN, ids=lambda endpoint: endpoint.__name__)
async def test_a_parameter_without_depends_stops_the_start(endpoint: Any) -> None:
    app = protected()
    app.include_router(APIRouter(prefix="/v1"))
    app.add_api_route("/a", endpoint)
    with pytest.raises(ConfigurationError, match=r"the route /a never asks .*write Depends\((RateLimit|JWTAuth)\(\.\.\.\)\)"):
        await http(app, "GET", "/a")
    with pytest.raises(ConfigurationError, match="write Depends"), TestClient(app):
        pass


async def test_one_in_a_function_that_a_route_depends_on_does_too() -> None:
    app = protected()
    router = APIRouter(prefix="/v1")
    router.add_api_route("/a", lambda: None, dependencies=[Depends(limited_by_default)])
    app.include_router(router)
    with pytest.raises(ConfigurationError, match="the route /v1/a never asks the RateLimit of the parameter 'limit'"):
        await http(app, "GET", "/v1/a")


async def test_defaults_of_the_application_are_its_own() -> None:
    def view(request: Request, page: int = 1, *, size: int = 10, claims: Any = OPTIONAL) -> dict[str, int]:
        return {"page": page, "size": size}

    app = protected()
    app.add_api_route("/a", view)
    assert (await http(app, "GET", "/a")).json() == {"page": 1, "size": 10}


@pytest.mark.parametrize("made", [RateLimit("1/minute"), JWTAuth()], ids=["RateLimit", "JWTAuth"])
def test_a_list_of_dependencies_without_depends_is_told(made: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"write dependencies=\[Depends\((RateLimit|JWTAuth)\(\.\.\.\)\)\]"):
        FastAPI().get("/a", dependencies=[made])(lambda: None)


async def test_a_decorator_without_a_limit_is_told_on_fastapi() -> None:
    app = FastAPI()
    lockwatch = LockWatch(app)

    def view() -> None: ...

    app.get("/a")(lockwatch.limit(view))
    with pytest.raises(ConfigurationError, match=r"the route /a has @lockwatch.limit without a limit; write @lockwatch.limit\("):
        await http(app, "GET", "/a")


def test_a_decorator_without_a_limit_is_told_on_flask() -> None:
    app = Flask("shop")
    lockwatch = lockwatch_flask.LockWatch(app)

    def view() -> str:
        return "fine"

    app.add_url_rule("/a", "a", lockwatch.limit(view))
    app.testing = True
    with pytest.raises(ConfigurationError, match=r"write @lockwatch.limit\('10/minute'\)"):
        app.test_client().get("/a")
    lockwatch.close()


def test_a_token_is_required_with_parentheses_or_without() -> None:
    app = Flask("shop")
    lockwatch = lockwatch_flask.LockWatch(app, jwt_secret=SECRET)

    def view() -> str:
        return "fine"

    app.add_url_rule("/a", "a", lockwatch.jwt_required(view))
    bearer = {"authorization": f"Bearer {lockwatch.tokens.issue_token_pair_sync('ann').access_token}"}
    assert app.test_client().get("/a").status_code == 401
    assert app.test_client().get("/a", headers=bearer).text == "fine"
    lockwatch.close()


@pytest.mark.parametrize("key", [by_claim, by_json, by_form], ids=lambda key: key.__name__)
def test_a_key_that_does_not_say_which_is_told(key: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"a correct one is key={key.__name__}\('\w+'\)"):
        RateLimit("1/minute", key=key)


# ------------------------------------------------------------ several processes
@pytest.mark.parametrize(
    ("line", "processes"),
    [
        ("/venv/bin/uvicorn main:app --workers 2", 2),
        ("/venv/lib/uvicorn/__main__.py main:app --workers=3", 3),
        ("gunicorn -w 4 main:app", 4),
        ("gunicorn -w4 main:app", 4),
        ("/usr/bin/fastapi run main.py --workers 2", 2),
        ("hypercorn main:app -w 2", 2),
        ("granian --workers 2 main:app", 2),
        ("uvicorn main:app", 1),
        ("uvicorn main:app --workers", 1),
        ("uvicorn main:app --workers many", 1),
        ("uvicorn main:app --workers 0", 1),
        ("uvicorn main:app --workers -5", 1),
        ("uvicorn main:app --workers 99999999999", 1),
        ("/usr/bin/celery worker -w 8", 1),
        ("pytest --workers 2", 1),
        ("", 1),
    ],
)
def test_the_command_line_of_a_server_says_how_many(line: str, processes: int) -> None:
    assert workers_in(line.split()) == processes


def test_workers_of_uvicorn_that_each_count_for_themselves_are_told(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(
        "from fastapi import FastAPI\nfrom lockwatch import LockWatch\napp = FastAPI()\nLockWatch(app)\n"
    )
    command = [sys.executable, "-m", "uvicorn", "main:app", "--port", "0", "--workers", "2"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            told = next((line for line in server.stderr if "the memory store counts per process" in line), "")
        finally:
            server.terminate()
            server.communicate(timeout=20)
    assert "there are 2: set redis_url" in told


# ------------------------------------------------------------ what is not installed
@pytest.mark.parametrize(
    ("framework", "url"), [("fastapi", "postgresql://localhost/audit"), ("flask", "sqlite+aiosqlite:///audit.db")]
)
def test_an_application_without_the_extra_for_its_audit_log_does_not_start(framework: str, url: str, tmp_path: Path) -> None:
    app = {
        "fastapi": "from fastapi import FastAPI as App\nfrom lockwatch import LockWatch",
        "flask": "from flask import Flask\nApp = lambda: Flask('shop')\nfrom lockwatch_flask import LockWatch",
    }
    code = f"""
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("sqlmodel", "sqlalchemy", "alembic", "asyncpg", "aiosqlite"):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocker())
{app[framework]}
app = App()
try:
    LockWatch(app, audit_database_url={url!r})
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert 'pip install "lockwatch[audit]"' in done.stdout, done.stderr


def test_a_program_that_ends_at_once_keeps_its_rows_and_prints_no_traceback(tmp_path: Path) -> None:
    code = f"""
from flask import Flask
from lockwatch_flask import LockWatch
app = Flask("shop")
LockWatch(app, audit_database_url="sqlite+aiosqlite:///{tmp_path}/audit.db", spool_dir={str(tmp_path / "spool")!r})
app.test_client().get("/", buffered=True)
"""
    (tmp_path / "spool").mkdir(mode=0o700)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr, done.stderr


# ------------------------------------------------------------ what an editor offers
def test_an_editor_knows_every_option_behind_the_decorators() -> None:
    for options, made in ((declaration.Options, declaration.Declaration), (requirement.Options, requirement.Requirement)):
        written = {p.name for p in inspect.signature(made).parameters.values() if p.kind is p.KEYWORD_ONLY}
        assert written == set(options.__annotations__)
