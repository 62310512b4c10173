"""`lockwatch routes`, as an operator and a pipeline type it."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from lockwatch.cli import main
from lockwatch.commands.layout import laid_out

Run = Callable[..., Result]
SHOP = """
from fastapi import APIRouter, Depends, FastAPI, Security, WebSocket
from lockwatch import JWTAuth, LockWatch, RateLimit, by_api_key

app = FastAPI()
lockwatch = LockWatch(app, exempt_paths=("/health", "/static/*"), jwt_secret="kX2vN8qLr5tYw1zBc4mHs7dJf0gPaQeU", **OPTIONS)

@app.get("/health")
async def health(): ...

@app.get("/static/{path:path}")
async def static(path: str): ...

@app.post("/login", dependencies=[Depends(RateLimit("5/minute", name="login", count="failures"))])
async def login(): ...

@app.get("/me")
async def me(claims=Security(JWTAuth(roles=["admin", "owner"], max_age="5m"), scopes=["profile"])): ...

@app.get("/maybe")
async def maybe(claims=Depends(JWTAuth(optional=True))): ...

@app.get("/tried", dependencies=[Depends(RateLimit("5/minute", shadow=True))])
async def tried(): ...

@app.get("/free", dependencies=[Depends(RateLimit("unlimited"))])
async def free(): ...

@app.get("/out")
@lockwatch.exempt
async def out(): ...

@app.api_route("/many", methods=["GET", "PUT"], dependencies=[Depends(RateLimit("9/minute", key=by_api_key, methods=["PUT"]))])
async def many(): ...

inner = APIRouter(prefix="/inner")

@inner.get("/{number}")
@lockwatch.shared_limit("7/minute", shared="bucket")
async def numbered(number: int): ...

@inner.websocket("/feed")
async def feed(socket: WebSocket): ...

router = APIRouter(prefix="/v1", dependencies=[Depends(RateLimit("30/minute", name="router"))])
router.include_router(inner)
app.include_router(router)

below = FastAPI(openapi_url=None)

@below.get("/deep", dependencies=[Depends(RateLimit("2/minute", name="deep"))])
async def deep(): ...

app.mount("/below", below)
"""
FLASK = """
from flask import Blueprint, Flask
from flask.views import MethodView
from lockwatch_flask import LockWatch

app = Flask(__name__)
lockwatch = LockWatch(app, jwt_secret="kX2vN8qLr5tYw1zBc4mHs7dJf0gPaQeU")
outer = Blueprint("outer", __name__, url_prefix="/outer")
inner = Blueprint("inner", __name__, url_prefix="/inner")
lockwatch.limit("30/minute", name="outer")(outer)

@app.get("/bare")
def bare(): return ""

@inner.get("/<int:number>")
@lockwatch.limit("3/minute", name="inner")
def numbered(number): return ""

class Items(MethodView):
    decorators = [lockwatch.limit("9/minute", name="items")]
    @lockwatch.jwt_required(scopes=["write"])
    def post(self): return ""
    def get(self): return ""

app.add_url_rule("/items", view_func=Items.as_view("items"))
outer.register_blueprint(inner)
app.register_blueprint(outer)
"""
ALLOWED = ("--allow", "/docs*", "--allow", "/redoc", "--allow", "/openapi.json")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with applications, as the current one."""
    (tmp_path / "main.py").write_text(SHOP.replace("**OPTIONS", ""))
    (tmp_path / "limited.py").write_text(
        SHOP.replace("**OPTIONS", "default_limits='50/minute', application_limits='900/hour', bans=True")
    )
    (tmp_path / "web.py").write_text(FLASK)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(place: Path) -> Iterator[Run]:
    before = set(sys.modules)

    def invoke(*arguments: str, columns: int | None = None) -> Result:
        return CliRunner().invoke(main, ["routes", *arguments], env={"COLUMNS": None if columns is None else str(columns)})

    yield invoke
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(place)):
            del sys.modules[name]


def told(result: Result) -> dict[str, Any]:
    """Routes of a JSON answer by their names."""
    assert result.exit_code == 0, result.output
    return {f"{route['method']} {route['path']}": route for route in json.loads(result.stdout)["routes"]}


def test_every_kind_of_route_is_listed_with_what_protects_it(run: Run) -> None:
    found = told(run("main:app", "--json"))
    assert {name: (route["state"], route["exempt"]) for name, route in found.items() if "docs" not in name} == {
        "GET /openapi.json": ("unprotected", None),
        "GET /redoc": ("unprotected", None),
        "GET /health": ("exempt", "exempt_paths"),
        "GET /static/{path}": ("exempt", "exempt_paths"),
        "POST /login": ("protected", None),
        "GET /me": ("protected", None),
        "GET /maybe": ("unprotected", None),
        "GET /tried": ("unprotected", None),
        "GET /free": ("exempt", "unlimited"),
        "GET /out": ("exempt", "decorator"),
        "GET /many": ("unprotected", None),
        "PUT /many": ("protected", None),
        "GET /v1/inner/{number}": ("protected", None),
        "WEBSOCKET /v1/inner/feed": ("protected", None),
        "GET /below/deep": ("protected", None),
    }
    login, me = found["POST /login"]["limits"][0], found["GET /me"]["tokens"][0]
    assert (login["policy"], login["limit"], login["counts"], login["key"]) == ("login", "5 per minute", "failures", "by_ip")
    assert (login["on_store_error"], login["declared"]) == ("local", "dependencies of the route or its router")
    assert (me["scopes"], me["roles"], me["max_age"], me["optional"]) == (["profile"], ["admin", "owner"], 300, False)
    assert found["GET /maybe"]["tokens"][0]["optional"] is True
    assert [limit["policy"] for limit in found["GET /v1/inner/{number}"]["limits"]] == ["router", "7-per-minute"]
    assert [limit["key"] for limit in found["PUT /many"]["limits"]] == ["by_api_key", "by_ip"]
    assert found["GET /tried"]["limits"][0]["shadow"] is True
    assert not any(route["bans"] or route["anomaly"] or route["audit"] for route in found.values())


def test_default_and_application_limits_and_bans_are_seen(run: Run) -> None:
    result = run("limited:app", "--json")
    found = told(result)
    assert [limit["declared"] for limit in found["GET /maybe"]["limits"]] == ["application_limits", "default_limits"]
    assert [limit["policy"] for limit in found["POST /login"]["limits"]] == ["900-per-hour", "login"]
    assert found["GET /health"]["limits"] == found["GET /out"]["limits"] == []
    assert all(route["bans"] for route in found.values())
    assert json.loads(result.stdout)["unprotected"] == []
    assert found["GET <unmatched>"]["state"] == "protected"


def test_blueprints_and_classes_of_views_are_looked_through(run: Run) -> None:
    found = told(run("web:app", "--json"))
    assert found["GET /bare"]["state"] == "unprotected"
    assert [limit["policy"] for limit in found["GET /outer/inner/<int:number>"]["limits"]] == ["outer", "inner"]
    assert [limit["declared"] for limit in found["GET /outer/inner/<int:number>"]["limits"]] == [
        "blueprint outer",
        "decorator of numbered",
    ]
    assert [limit["policy"] for limit in found["POST /items"]["limits"]] == ["items"]
    assert (found["POST /items"]["tokens"][0]["scopes"], found["GET /items"]["tokens"]) == (["write"], [])


def test_ci_fails_on_what_nothing_protects(run: Run) -> None:
    failed = run("main:app", "--fail-on-unprotected", *ALLOWED)
    assert failed.exit_code == 1
    assert "3 unprotected: GET /maybe, GET /tried, GET /many." in failed.stdout
    passed = run("main:app", "--fail-on-unprotected", *ALLOWED, "--allow", "/m*", "--allow", "GET /tried")
    assert (passed.exit_code, passed.stderr) == (0, "")
    assert run("main:app", "--fail-on-unprotected", *ALLOWED, "--allow", "/m*", "--allow", "POST /tried").exit_code == 1
    assert run("limited:app", "--fail-on-unprotected").exit_code == 0
    assert run("main:app").exit_code == 0


def test_a_pattern_that_names_nothing_is_told(run: Run) -> None:
    result = run("main:app", "--allow", "/healthz", "--json")
    assert result.stderr == "--allow '/healthz' names no route.\n"
    assert json.loads(result.stdout)["routes"]


def test_one_limit_is_looked_for(run: Run) -> None:
    assert set(told(run("main:app", "--json", "--limit", "router"))) == {"GET /v1/inner/{number}", "WEBSOCKET /v1/inner/feed"}
    assert "No route has it." in run("main:app", "--limit", "nothing").stdout


def test_methods_that_are_protected_alike_share_a_row(run: Run) -> None:
    lines = run("main:app").stdout.splitlines()
    assert lines[0].split() == ["methods", "route", "limits", "tokens"]
    assert [line for line in lines if line.startswith(("GET  ", "PUT  ")) and " /many " in line]
    both = [line for line in run("limited:app").stdout.splitlines() if "<unmatched>" in line]
    assert len(both) == 1
    assert both[0].startswith("GET POST PUT PATCH DELETE OPTIONS")
    assert next(line for line in lines if " /maybe " in line).split()[2:] == ["-", "any", "(optional)", "UNPROTECTED"]


def test_an_application_inside_has_its_own_limits_and_those_around_it(run: Run, place: Path) -> None:
    text = (
        "from fastapi import Depends, FastAPI\nfrom lockwatch import LockWatch, RateLimit\n"
        "app, own = FastAPI(openapi_url=None), FastAPI(openapi_url=None)\n"
        "LockWatch(app, OPTIONS)\nLockWatch(own, bans=True)\napp.mount('/own', own)\n"
        "@own.get('/bare')\ndef bare(): ...\n"
        "@own.get('/x', dependencies=[Depends(RateLimit('4/minute'))])\ndef x(): ...\n"
    )
    (place / "apart.py").write_text(text.replace("OPTIONS", "mode='enforce'"))
    found = told(run("apart:app", "--json"))
    assert {name: (one["state"], one["bans"]) for name, one in found.items()} == {
        "GET /own/bare": ("unprotected", True),
        "GET /own/x": ("protected", True),
    }
    (place / "around.py").write_text(text.replace("OPTIONS", "application_limits='9/minute'"))
    found = told(run("around:app", "--json"))
    assert [limit["policy"] for limit in found["GET /own/x"]["limits"]] == ["9-per-minute", "4-per-minute"]
    assert found["GET /own/bare"]["state"] == "protected"


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 120, 200])
def test_every_width_shows_everything(run: Run, columns: int) -> None:
    result = run("limited:app", columns=columns)
    assert result.exit_code == 0
    for line in result.stdout.splitlines()[:-1]:
        assert len(line) <= columns or len(line.split()) <= 3, line  # a word is not cut
    words = result.stdout.split()
    for word in ("/below/deep", "/v1/inner/{number}", "profile,", "login:", "<unmatched>"):
        assert word in words


def test_cells_of_several_lines_are_aligned() -> None:
    assert laid_out(("a", "b", "c"), [("x", "y", "1\n22"), ("x", "yy", "3")], 0) == [
        "a  b   c",
        "x  y   1",
        "       22",
        "x  yy  3",
    ]
    assert laid_out(("a", "b", "cc"), [("x" * 20, "y", "1\n22"), ("z", "", "-")], 20) == [
        "x" * 20,
        "  y",
        "  cc 1",
        "     22",
        "",
        "z",
    ]


WORDS = st.lists(st.text("abc{}/<>", min_size=1, max_size=30), min_size=1, max_size=8).map(" ".join)
CELLS = st.lists(WORDS, max_size=3).map("\n".join)
ROWS = st.lists(st.tuples(WORDS, WORDS, CELLS, CELLS), min_size=1, max_size=5)


@given(ROWS, st.integers(20, 120))
def test_no_width_loses_a_word_or_runs_over(rows: list[tuple[str, ...]], columns: int) -> None:
    lines = laid_out(("first", "second", "third", ""), rows, columns)
    assert all(len(line) <= columns or " " not in line.strip().removeprefix("third").strip() for line in lines)
    shown = Counter(" ".join(lines).split())
    assert not Counter(word for row in rows for cell in row for word in cell.split()) - shown


def test_an_application_without_lockwatch_is_no_list_of_routes(run: Run, place: Path) -> None:
    (place / "bare.py").write_text("from fastapi import FastAPI\nsite = FastAPI()\n")
    result = run("bare:site")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "is a FastAPI without lockwatch" in result.stderr


def test_the_middleware_of_the_first_release_has_no_routes(run: Run, place: Path) -> None:
    (place / "old.py").write_text(
        "from fastapi import FastAPI\nfrom lockwatch import LockWatchMiddleware\napp = FastAPI()\n"
        "app.add_middleware(LockWatchMiddleware)\n"
    )
    result = run("old:app")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "has LockWatchMiddleware, which limits all requests alike" in result.stderr


def test_a_token_that_nobody_believes_is_one_line(run: Run, place: Path) -> None:
    (place / "odd.py").write_text(
        "from fastapi import Depends, FastAPI\nfrom lockwatch import JWTAuth, LockWatch\napp = FastAPI()\nLockWatch(app)\n"
        "@app.get('/', dependencies=[Depends(JWTAuth())])\ndef home(): ...\n"
    )
    result = run("odd:app")
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert "nobody's tokens are believed" in result.stderr


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("main", "did you mean main:app?"),
        ("main.py", "did you mean main:app?"),
        ("main.py:app", "did you mean main:app?"),
        ("web:", "did you mean web:app?"),
        ("main/app", "a correct one is main:app, or main:create_app()"),
        ("nothing:app", "a correct one is main:app, or main:create_app()"),
        ("main:nothing", "did you mean main:app?"),
        ("main:ap", "did you mean 'app'?"),
        ("factory", "did you mean factory:create_app()?"),
    ],
)
def test_a_wrong_name_shows_a_correct_one(run: Run, place: Path, name: str, says: str) -> None:
    (place / "factory.py").write_text("def create_app():\n    raise RuntimeError('is not called')\n")
    result = run(name)
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr


def test_the_application_may_be_given_as_everywhere_else(run: Run) -> None:
    assert told(run("--app", "main:app", "--json")) == told(run("main:app", "--json"))
    assert "--app is missing" in run().stderr
