"""`lockwatch limits`, as an operator types it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from click.testing import CliRunner, Result
from fastapi.testclient import TestClient

from lockwatch.cli import main
from lockwatch.commands.report import duration, table
from tests import servers
from tests.operators.shop import create

PEER = "203.0.113.7"
SUBJECT = f"ip:{PEER}"
APPLICATION = """
import os
from tests.operators.shop import create

app = create(redis_url=os.environ["SHOP_REDIS"])
apps = {"count": 0}

def make():
    apps["count"] += 1
    return app

async def later():
    return app

class settings:
    inner = app
"""
Run = Callable[..., Result]


@pytest.fixture
def place(tmp_path: Path, redis_server: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with an application module, as the current one."""
    (tmp_path / "main.py").write_text(APPLICATION)
    monkeypatch.setenv("SHOP_REDIS", redis_server)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(place: Path) -> Iterator[Run]:
    before = set(sys.modules)

    def invoke(*arguments: str, stdin: str = "") -> Result:
        return CliRunner().invoke(main, ["limits", *arguments], input=stdin)

    yield invoke
    for name in set(sys.modules) - before:
        if not (getattr(sys.modules[name], "__file__", None) or "").startswith(str(place)):
            continue
        del sys.modules[name]


@pytest.fixture
def shop(redis_server: str) -> Iterator[TestClient]:
    """The running application, another process as far as the command is concerned."""
    with TestClient(create(redis_url=redis_server), client=(PEER, 1)) as http:
        yield http


def refused(result: Result) -> str:
    """The message of a command that could not run."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith(("Error: ", "Usage: "))
    assert "Traceback" not in result.stderr
    return result.stderr


def ran(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


# ------------------------------------------------------------ show
def test_show_prints_a_table_of_what_is_used(run: Run, shop: TestClient) -> None:
    for _ in range(4):
        shop.get("/items/1")
    lines = ran(run("show", "--app", "main:app", "--subject", SUBJECT)).splitlines()
    assert lines[0].startswith(f"{SUBJECT} in shop at 127.0.0.1:")
    assert lines[2].split("  ")[0] == "route"
    rows = [line.split() for line in lines[3:8]]
    assert ["GET", "/items/{number}", "route", "3", "per", "minute", "3", "0"] in [row[:8] for row in rows]
    full = next(line for line in lines if " route " in line and "/items" in line)
    assert full.split("  ")[-1].startswith("in ")
    assert [line.split()[0] for line in lines if "100-per-minute" in line] == ["application"]
    assert lines[-1] == "Not shown, because its limits are decided per request: GET /busy: RateLimit('busy', key=by_ip)"
    positions = {line.index(" per ") for line in lines if " per minute" in line and line.startswith("GET")}
    assert len(positions) == 1


def test_show_says_when_nothing_counts(run: Run) -> None:
    assert "Nothing counts now." in ran(run("show", "--app", "main:app", "--subject", SUBJECT))
    assert "GET /keyed" in ran(run("show", "--app", "main:app", "--subject", SUBJECT, "--all"))


def test_show_filters_by_route(run: Run, shop: TestClient) -> None:
    shop.get("/items/1")
    shop.get("/v1/reports/daily")
    out = ran(run("show", "--app", "main:app", "--subject", SUBJECT, "--route", "GET /v1/reports/daily"))
    assert "/items" not in out
    assert "including" in out


def test_show_prints_json(run: Run, shop: TestClient) -> None:
    shop.get("/items/1")
    told = json.loads(ran(run("show", "--app", "main:app", "--subject", SUBJECT, "--json")))
    assert told["subjects"] == [SUBJECT]
    route = next(bucket for bucket in told["buckets"] if bucket["policy"] == "route")
    assert (route["used"], route["remaining"], route["retry_after"], route["routes"]) == (1, 2, 0, ["GET /items/{number}"])
    assert route["limit"] == {"amount": 3, "window": 60, "burst": None, "concurrent": False}
    assert told["looked_at"] > len(told["buckets"])
    assert len(told["per_request"]) == 1


@pytest.mark.parametrize("subject", ["key:", "key", "key:-", "key:@key.txt"])
def test_an_api_key_is_asked_for_and_never_printed(run: Run, shop: TestClient, place: Path, subject: str) -> None:
    shop.get("/keyed", headers={"X-API-Key": "s3cret-s3cret"})
    (place / "key.txt").write_text("s3cret-s3cret\n")
    result = run("show", "--app", "main:app", "--subject", subject, stdin="s3cret-s3cret\n")
    assert "key:(hidden)" in ran(result)
    assert "keyed" in result.stdout
    told = run("show", "--app", "main:app", "--subject", subject, "--json", stdin="s3cret-s3cret\n")
    assert json.loads(told.stdout)["buckets"][0]["used"] == 1
    assert "s3cret" not in result.output + told.output


def test_several_subjects_get_a_column(run: Run, shop: TestClient) -> None:
    shop.get("/keyed", headers={"X-API-Key": "s3cret"})
    out = ran(run("show", "--app", "main:app", "--subject", SUBJECT, "--subject", "key:-", stdin="s3cret\n"))
    assert out.splitlines()[2].startswith("subject")
    assert "key:(hidden)" in out


# ------------------------------------------------------------ reset
def test_reset_asks_says_how_many_and_lets_in_again(run: Run, shop: TestClient) -> None:
    assert [shop.get("/items/1").status_code for _ in range(4)] == [200, 200, 200, 429]
    no = run("reset", "--app", "main:app", "--subject", SUBJECT, stdin="n\n")
    assert no.exit_code == 1
    assert "5 buckets in use. Forget them? [y/N]" in no.output
    assert shop.get("/items/1").status_code == 429
    assert ran(run("reset", "--app", "main:app", "--subject", SUBJECT, stdin="y\n")).endswith("5 forgotten.\n")
    began = time.monotonic()
    while shop.get("/items/1").status_code == 429:  # the application remembers offenders until it hears of the reset
        assert time.monotonic() - began < 30
        time.sleep(0.02)


def test_reset_does_not_ask_with_yes(run: Run, shop: TestClient) -> None:
    shop.get("/items/1")
    assert ran(run("reset", "--app", "main:app", "--subject", SUBJECT, "--route", "GET /own", "--yes")) == "1 forgotten.\n"
    told = json.loads(ran(run("reset", "--app", "main:app", "--subject", SUBJECT, "--yes", "--json")))
    assert told == {"subjects": [SUBJECT], "reset": 4}


@pytest.mark.parametrize("options", [("--json",), ("--subject", "key:-")])
def test_reset_that_nobody_can_confirm_wants_yes(run: Run, options: tuple[str, ...]) -> None:
    assert "add --yes" in refused(run("reset", "--app", "main:app", "--subject", SUBJECT, *options))


def test_reset_tells_other_processes(run: Run, redis_server: str) -> None:
    ran(run("reset", "--app", "main:app", "--subject", SUBJECT, "--yes"))
    with redis.Redis.from_url(redis_server) as own:
        assert own.get("shop:1:epoch") == b"1"


# ------------------------------------------------------------ explain
def test_explain_tells_the_whole_story(run: Run, shop: TestClient) -> None:
    for _ in range(3):
        shop.get("/items/1")
    out = ran(run("explain", "--app", "main:app", "--route", "GET /items/{number}", "--subject", SUBJECT))
    assert out.startswith(f"GET /items/{{number}} for {SUBJECT}; store 127.0.0.1:")
    told = [line.strip() for line in out.splitlines()]
    assert [line for line in told if line[:2] in {"1.", "2.", "3.", "4.", "5."}] == [
        "1. 100-per-minute", "2. app", "3. route", "4. parameter", "5. marked",
    ]  # fmt: skip
    assert "declared  dependencies of the route or its router" in told
    assert "limit     3 per minute, counted by sliding-window, for each by_ip" in told
    assert any(line.startswith("namespace shop, schema 1, algorithm sw, subject ") for line in told)
    assert "policy route, scope GET:/items/{number}" in told
    assert any(line.startswith("now       3 used, 0 left, all free again in ") for line in told)
    assert any(line.startswith("verdict   refuses; admits again in ") for line in told)
    assert told[-1].startswith("A request now would be refused by route, and admitted again in ")


def test_explain_prints_json(run: Run) -> None:
    told = json.loads(ran(run("explain", "--app", "main:app", "--route", "GET /items/{number}", "--subject", SUBJECT, "--json")))
    assert told["refused_by"] == []
    assert [policy["policy"] for policy in told["policies"]] == ["100-per-minute", "app", "route", "parameter", "marked"]
    assert told["policies"][2]["key"]["algorithm"] == "sw"
    assert told["policies"][2]["usage"]["limit"]["amount"] == 3


def test_explain_without_limits_says_so(run: Run) -> None:
    out = ran(run("explain", "--app", "main:app", "--route", "GET /free", "--subject", SUBJECT))
    assert "Note: the endpoint is exempt from every limit." in out
    assert out.endswith("A request now would be admitted.\n")


# ------------------------------------------------------------ stores that cannot be asked
def test_a_memory_store_is_out_of_sight(run: Run) -> None:
    for command in ("show", "reset"):
        said = refused(run(command, "--app", "tests.operators.shop:app", "--subject", SUBJECT, *["--yes"] * (command == "reset")))
        assert "no other process can see" in said
        assert "limits_of" in said


def test_explain_still_shows_the_plan_of_a_memory_store(run: Run) -> None:
    out = ran(run("explain", "--app", "tests.operators.shop:app", "--route", "GET /items/{number}", "--subject", SUBJECT))
    assert "3. route" in out
    assert "What a request would get now is not known here." in out
    assert "no other process can see" in out
    assert "used," not in out


def test_a_store_that_is_down_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_REDIS", f"redis://:hunter22@127.0.0.1:{servers.free_port()}/0")
    said = refused(run("show", "--app", "main:app", "--subject", SUBJECT))
    assert "the store does not answer" in said
    assert "hunter22" not in said


# ------------------------------------------------------------ mistakes
@pytest.mark.parametrize(
    ("app", "says"),
    [
        ("main", "is not module:attribute"),
        ("main.py:app", "there is no module 'main.py'"),
        ("main:", "is not module:attribute"),
        ("../main:app", "is not module:attribute"),
        ("nothing:app", "there is no module 'nothing'"),
        ("main:ap", "did you mean 'app'?"),
        ("main:later", "is async"),
        ("main:apps", "is a dict without lockwatch"),
        ("broken:app", "importing broken failed (broken.py, line 3): ZeroDivisionError"),
        ("missing:app", "importing missing failed (missing.py, line 1): ModuleNotFoundError: No module named 'not_installed'"),
        ("broken_factory:make()", "calling broken_factory:make() failed (broken_factory.py, line 2): RuntimeError: no"),
        ("exits:app", "importing exits failed (exits.py, line 1): SystemExit: 3"),
        ("bare:app", "is a FastAPI without lockwatch"),
    ],
)
def test_an_application_that_cannot_be_had_is_explained(run: Run, place: Path, app: str, says: str) -> None:
    (place / "broken.py").write_text("\n\n1 / 0\n")
    (place / "missing.py").write_text("import not_installed\n")
    (place / "broken_factory.py").write_text("def make():\n    raise RuntimeError('no')\n")
    (place / "exits.py").write_text("raise SystemExit(3)\n")
    (place / "bare.py").write_text("from fastapi import FastAPI\napp = FastAPI()\n")
    assert says in refused(run("show", "--app", app, "--subject", SUBJECT))


@pytest.mark.parametrize("app", ["main:app", "main:make", "main:make()", "main:settings.inner"])
def test_an_application_is_found_in_every_way_it_is_named(run: Run, app: str) -> None:
    assert "Nothing counts now." in ran(run("show", "--app", app, "--subject", SUBJECT))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--subject", "203.0.113.7"), "a subject is one of"),
        (("--subject", "ip:shop"), "is no address"),
        (("--subject", "key:s3cret"), "stays in the shell's history"),
        (("--subject", "key:@nowhere.txt"), "cannot be read from 'nowhere.txt'"),
        (("--subject", SUBJECT, "--route", "GET /item"), "did you mean"),
        (("--subject", SUBJECT, "--tenant", "acme"), "has none"),
        ((), "Missing option '--subject'"),
    ],
)
def test_a_mistake_is_explained(run: Run, options: tuple[str, ...], says: str) -> None:
    said = refused(run("show", "--app", "main:app", *options))
    assert says in said
    assert "s3cret" not in said


def test_every_command_has_help(run: Run) -> None:
    for command in ("show", "reset", "explain"):
        out = ran(run(command, "--help"))
        assert "--app MODULE:ATTRIBUTE" in out
        assert "--json" in out


def test_a_real_process_in_another_directory(place: Path, shop: TestClient) -> None:
    shop.get("/items/1")
    command = [sys.executable, "-W", "error", "-m", "lockwatch.cli", "limits", "show", "--app", "main:app", "--subject", SUBJECT]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=place, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "GET /items/{number}" in done.stdout


def test_a_command_is_not_counted_as_a_worker(run: Run, redis_server: str) -> None:
    ran(run("show", "--app", "main:app", "--subject", SUBJECT))
    with redis.Redis.from_url(redis_server) as own:
        assert own.exists("shop:1:workers") == 0


# ------------------------------------------------------------ texts
@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.2, "1 s"),
        (58.1, "59 s"),
        (60, "1 min"),
        (61.5, "1 min 2 s"),
        (3600, "1 h"),
        (7325, "2 h 2 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_tables_are_aligned() -> None:
    lines: list[Any] = table(("route", "used"), [("GET /a", "1"), ("GET /long", "100")])
    assert lines == ["route      used", "GET /a        1", "GET /long   100"]


# ------------------------------------------------------------ the documentation
def plain(text: str) -> list[str]:
    """Lines without what differs from run to run: times, ports, hashes, widths of columns."""
    text = re.sub(r"[0-9a-f]{32}", "HASH", text)
    text = re.sub(r"\b(\d+ (d|h|min|s) ?)+(?=\s|\.|$)", "TIME ", text)
    return [" ".join(line.replace("127.0.0.1:6379", "STORE").split()).replace(" .", ".") for line in text.splitlines()]


def test_the_documentation_prints_what_the_commands_print(run: Run, place: Path, redis_server: str) -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "operators.md").read_text("utf-8")
    code = re.search(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert code is not None
    (place / "documented.py").write_text(code[1].replace("redis://localhost:6379/0", redis_server))
    sys.path.insert(0, str(place))
    with TestClient(import_module("documented").app, client=(PEER, 1)) as http:
        assert [http.post("/login").status_code for _ in range(6)] == [200] * 5 + [429]
    port = urlsplit(redis_server).port
    printed = [plain(block) for block in re.findall(r"^```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)]
    options = ("--app", "documented:app", "--subject", SUBJECT)
    for command, expected in (
        (("show", *options), printed[0]),
        (("explain", *options, "--route", "POST /login"), printed[2]),
        (("reset", *options), printed[1]),
    ):
        shown = run(*command, stdin="y\n").output.replace(f"127.0.0.1:{port}", "127.0.0.1:6379")
        assert plain(shown) == expected
