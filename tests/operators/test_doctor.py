"""`lockwatch doctor` on routes, and the command itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from lockwatch.cli import main
from lockwatch.diagnosis.catalogue import CATALOGUE
from lockwatch.diagnosis.finding import Finding
from tests import servers
from tests.operators.patients import FASTAPI, FLASK, STRONG, Check, codes, only


def test_bare_routes_are_counted(check: Check) -> None:
    bare = "\n".join(f"@app.get('/bare/{n}')\nasync def bare{n}(): ..." for n in range(7))
    found = only(check(more=bare), "routes.unprotected")
    assert found["what"] == "7 routes have neither a limit nor a token"
    assert found["where"].endswith(" and 2 more")
    assert codes(check('default_limits="9/minute"', more=bare)) == []


def test_a_log_in_that_opens_is_found(check: Check) -> None:
    login = "@app.post('/login', dependencies=[Depends(RateLimit('5/minute'{}))])\nasync def login(): ..."
    assert only(check(more=login.format("")), "failure.open")["where"] == "POST /login"
    assert codes(check(more=login.format(", on_store_error='local'"))) == []
    assert codes(check(more=login.format(", count='failures'"))) == []
    assert codes(check("on_redis_failure='allow'", more=login.format(", count='failures'"))) == ["failure.open"]


def test_tokens_that_are_believed_too_long_are_found(check: Check) -> None:
    route = "@app.get('/me', dependencies=[Depends(JWTAuth({}))])\nasync def me(): ..."
    options = f'jwt_secret="{STRONG}", spool_dir=None'
    assert "failure.revoked" not in codes(check(options, more=route.format("")))
    only(check(options, more=route.format("on_store_error='allow'")), "failure.revoked")
    told = check("workers=4", more=route.format(""))
    assert codes(told) == ["routes.tokens", "workers.memory"]


HIDING = """
def plain(function):
    async def inner(*args, **kwargs): return await function(*args, **kwargs)
    return inner
def wrapping(function):
    return functools.wraps(function)(plain(function))
"""
BELOW = HIDING + "@app.get('/x', dependencies=[Depends(RateLimit('9/s'))])\n@{}\n@lockwatch.limit('5/minute')\nasync def x(): ..."
ABOVE = HIDING + "@lockwatch.limit('5/minute')\n@{}\n@app.get('/x', dependencies=[Depends(RateLimit('9/s'))])\nasync def x(): ..."


def test_a_limit_that_a_decorator_hides_is_found(check: Check) -> None:
    found = only(check(more=BELOW.format("plain")), "routes.lost")
    assert "RateLimit('5-per-minute', key=by_ip) stands below a decorator without functools.wraps" in found["what"]
    assert found["where"].startswith("x (")
    assert codes(check(more=BELOW.format("wrapping"))) == []


def test_a_limit_on_something_that_is_no_route_is_found(check: Check) -> None:
    found = only(check(more=ABOVE.format("plain")), "routes.lost")
    assert "is behind no route" in found["what"]
    assert codes(check(more=ABOVE.replace("@{}\n", ""))) == []
    assert codes(check(more="@lockwatch.limit('5/minute')\ndef helper(): ...")) == ["routes.lost"]


def test_a_limit_on_a_route_of_an_application_inside_is_none_that_is_lost(check: Check) -> None:
    more = (
        "own = FastAPI(openapi_url=None)\nLockWatch(own)\napp.mount('/own', own)\n"
        "@own.get('/x')\n@lockwatch.limit('5/minute')\nasync def x(): ..."
    )
    assert codes(check(more=more)) == []


def test_flask_enforces_a_hidden_limit_late(check: Check) -> None:
    more = """
def plain(function):
    def inner(*args, **kwargs): return function(*args, **kwargs)
    return inner
@app.get("/x")
@plain
@lockwatch.limit("5/minute")
def x(): return ""
"""
    told = check(source=FLASK, more=more)
    assert codes(told) == ["routes.late", "routes.unprotected"]
    helper = "@lockwatch.limit('5/minute')\ndef helper(): ...\n@app.get('/y')\n@lockwatch.limit('1/s')\ndef y(): return helper()"
    assert codes(check(source=FLASK, more=helper)) == []


def test_an_application_without_lockwatch_is_found(check: Check) -> None:
    bare = "from fastapi import Depends, FastAPI\nfrom lockwatch import RateLimit\napp = FastAPI()\n{more}"
    found = only(check(source=bare), "routes.no-lockwatch")
    assert "nothing is protected" in found["what"]
    route = "@app.get('/x', dependencies=[Depends(RateLimit('5/minute'))])\ndef x(): ..."
    found = only(check(source=bare, more=route), "routes.no-lockwatch")
    assert found["what"].startswith("GET /x declared limits, and nobody installed LockWatch")
    assert found["change"] == "LockWatch(app, ...), right below where it is made"
    only(check(source="from flask import Flask\napp = Flask(__name__)\n"), "routes.no-lockwatch")


def test_the_middleware_of_the_first_release_is_protection(check: Check) -> None:
    fastapi = "from fastapi import FastAPI\nfrom lockwatch import LockWatchMiddleware\napp = FastAPI()\n{more}"
    once = "app.add_middleware(LockWatchMiddleware, burst_threshold=0)\n"
    assert codes(check(source=fastapi, more=once)) == []
    assert codes(check(source=fastapi, more=once * 2)) == ["routes.twice"]
    flask = "from flask import Flask\nfrom lockwatch.middleware import *\napp = Flask(__name__)\n{more}"
    once = "app.wsgi_app = LockWatchFlaskMiddleware(app.wsgi_app)\n"
    assert codes(check(source=flask, more=once)) == []
    assert codes(check(source=flask, more=once * 2)) == ["routes.twice"]


def test_a_middleware_beside_application_limits_counts_twice(check: Check) -> None:
    more = "app.add_middleware(LockWatchMiddleware, burst_threshold=0)"
    assert codes(check(more=more)) == []
    assert codes(check("application_limits='9/minute'", more=more)) == ["routes.twice"]


def test_people_read_what_where_and_what_to_change(bare_place: Path) -> None:
    (bare_place / "mine.py").write_text(FASTAPI.format(options="workers=4", more=""))
    result = CliRunner().invoke(main, ["doctor", "mine:app"])
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["state", "area", "seen"]
    start = lines.index("error: 4 processes serve, and each counts in its own memory: every limit is multiplied by that")
    assert lines[start + 1 : start + 4] == [
        "  at workers",
        "  change: LOCKWATCH_REDIS_URL=redis://localhost:6379/0",
        "  code: workers.memory",
    ]
    assert lines[-1] == "1 error, 0 warnings."
    del sys.modules["mine"]


def test_what_an_application_prints_is_no_part_of_the_answer(check: Check) -> None:
    assert check(more="print('loading')")["status"] == "ok"


def test_warnings_fail_when_one_is_strict(check: Check) -> None:
    check('mode="observe"')
    check('mode="observe"', strict=True)


def test_no_secret_is_printed_whatever_is_wrong(bare_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = servers.free_port()
    secrets = {
        "LOCKWATCH_SECRET_KEY": "password-of-the-store-kQ2",
        "LOCKWATCH_JWT_SECRET": "secret-of-the-tokens-that-has-32-bytes-Zp7",
        "LOCKWATCH_REDIS_URL": f"redis://watch:of-redis-Xw4@127.0.0.1:{port}/0",
        "LOCKWATCH_TOKEN_REDIS_URL": f"redis://:of-sessions-Lm9@127.0.0.1:{port}/1",
        "LOCKWATCH_DATABASE_URL": f"postgresql://watch:of-postgres-Rt5@127.0.0.1:{port}/audit",
        "LOCKWATCH_WEBHOOK_URLS": "https://hooks.example.com/path-that-is-secret-Bn3",
        "LOCKWATCH_SLACK_URLS": "https://hooks.example.com/services/Hv8",
        "REDIS_URL": "redis://:of-another-Dd1@localhost",
        "LOCKWATCH_SECRET_KY": "misspelt-Ff6",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    (bare_place / "loud.py").write_text(FASTAPI.format(options="", more=""))
    for options in (["loud:app"], ["loud:app", "--json"], [], ["--json"]):
        result = CliRunner().invoke(main, ["doctor", *options])
        assert result.exit_code == 1, result.output
        assert "secret.weak" in result.output
        assert "store.down" in result.output
        for secret in secrets.values():
            assert secret[-3:] not in result.output if "@" not in secret else secret.partition("@")[0][-3:] not in result.output
    del sys.modules["loud"]


def test_kinds_of_findings_can_be_left_out(bare_place: Path) -> None:
    (bare_place / "kept.py").write_text(FASTAPI.format(options="workers=4, mode='observe'", more=""))

    def looked(*ignored: str) -> tuple[int, list[str]]:
        options = [word for code in ignored for word in ("--ignore", code)]
        result = CliRunner().invoke(main, ["doctor", "kept:app", "--json", *options])
        told = json.loads(result.stdout)
        assert {area["state"] for area in told["areas"]} == {"ok", *(f["severity"] for f in told["findings"])}
        return result.exit_code, sorted(finding["code"] for finding in told["findings"])

    assert looked() == (1, ["configuration.observe", "workers.memory"])
    assert looked("workers.memory") == (0, ["configuration.observe"])
    assert looked("workers.memory", "configuration.observe") == (0, [])
    del sys.modules["kept"]
    result = CliRunner().invoke(main, ["doctor", "kept:app", "--ignore", "worker.memory"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "did you mean workers.memory?" in result.stderr


def test_an_application_that_cannot_be_had_exits_2(bare_place: Path) -> None:
    result = CliRunner().invoke(main, ["doctor", "nothing:app"])
    assert (result.exit_code, result.stdout) == (2, "")


def test_a_finding_of_no_kind_is_a_bug() -> None:
    with pytest.raises(ValueError, match="in no catalogue"):
        Finding("store.odd", "what", "where", "change")


def test_every_kind_of_finding_is_provoked_by_a_test() -> None:
    text = "".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("test_doctor*.py"))
    assert [code for code in CATALOGUE if f'"{code}"' not in text] == []
