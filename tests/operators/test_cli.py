"""The command line as a whole: help, examples, mistakes, JSON, completion, and its page in the documentation."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from click.shell_completion import ZshComplete
from click.testing import CliRunner

from lockwatch import AuditLogEntry, AuditLogger
from lockwatch.cli import main
from lockwatch.commands.examples import EXAMPLES
from lockwatch.commands.remembered import DIRECTORIES
from lockwatch.diagnosis.coverage import Coverage, LimitOf, TokenOf
from lockwatch.diagnosis.finding import Area, Finding
from tests import servers
from tests.operators import cli_page

COMMANDS = {name: (command, ctx) for name, command, ctx in cli_page.commands()}
LEAVES = [name for name, (command, _) in COMMANDS.items() if not isinstance(command, click.Group)]
TEXT_ONLY = {"completion"}
"""What prints a script prints no JSON."""
PAGE = cli_page.PAGE.read_text("utf-8")
SCRIPT = Path(sys.executable).parent / "lockwatch"
STRONG = "kX2vN8qLr5tYw1zBc4mHs7dJf0gPaQeU"
SHOP = f"""
from fastapi import Depends, FastAPI
from lockwatch import LockWatch, RateLimit
app = FastAPI()
lockwatch = LockWatch(app, secret_key="{STRONG}", **OPTIONS)
@app.get("/items/{{number}}", dependencies=[Depends(RateLimit("3/minute", name="looks"))])
async def item(number: int): ...
"""


def invoked(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, list(arguments))
    return result.exit_code, result.stdout, result.stderr


# ------------------------------------------------------------ help and examples
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    status, out, _ = invoked(*name.split(), "--help")
    assert status == 0
    assert "Example:\n  " in re.sub(r"\n +", "\n  ", out)
    assert f"lockwatch {EXAMPLES[name][0]}" in out


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line in lines])
def test_every_example_is_one_that_the_parser_takes(line: str) -> None:
    words = shlex.split(line.partition(" >> ")[0])
    name = next(" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in LEAVES)
    command, ctx = COMMANDS[name]
    command.make_context(name, words[len(name.split()) :], parent=ctx.parent).close()


def test_there_is_no_example_of_a_command_there_is_not() -> None:
    assert set(EXAMPLES) == set(COMMANDS)


def test_what_is_said_of_a_command_before_it_is_imported_is_what_it_says_itself() -> None:
    for name, home, command in cli_page.homes():
        assert (command.help or "").replace("\n", " ").startswith(home.summary.removesuffix(".")), name


def test_the_examples_of_flask_need_no_application(tmp_path: Path) -> None:
    from lockwatch_flask.cli import group

    told = CliRunner().invoke(group, ["limits", "show", "--help"]).stdout
    assert "flask lockwatch limits show --subject ip:203.0.113.7" in told
    assert "lockwatch routes main:app" in CliRunner().invoke(main, ["routes", "--help"]).stdout
    assert "flask lockwatch routes\n" in CliRunner().invoke(group, ["routes", "--help"]).stdout


# ------------------------------------------------------------ mistakes
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("limts", "there is no command 'limts'; did you mean: main limits"),
        ("limits shw", "did you mean: main limits show"),
        ("query", "did you mean: main audit query"),
        ("rotate", "did you mean: main keys rotate"),
        ("zzzzzz", "there are alerts, audit, bans"),
        ("limits show --subjct x", "--subject"),
        ("keys generate keys.json --algorithm RS512", "'RS256', 'ES256'"),
        ("completion tcsh", "'bash', 'zsh', 'fish'"),
        ("db downgrade base --json", "add --yes"),
        ("db upgrade --sql --json", "leave out --json"),
        ("audit prune --keep 90d --json", "add --yes or --dry-run"),
        ("audit export --json", "needs --output FILE"),
    ],
)
def test_a_mistake_says_what_was_meant(arguments: str, says: str) -> None:
    status, out, err = invoked(*arguments.split())
    assert (status, out) == (2, "")
    assert says in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("blocked", "command", "says"),
    [
        ("sqlalchemy", "audit query", 'lockwatch[audit]"'),
        ("alembic", "db upgrade", 'lockwatch[audit]"'),
        ("uvicorn", "demo", "lockwatch[demo]'"),
        ("flask", "routes web:app", 'lockwatch[flask]"'),
    ],
)
def test_a_missing_extra_is_named_with_the_line_that_installs_it(blocked: str, command: str, says: str, tmp_path: Path) -> None:
    code = f"import sys; sys.modules[{blocked!r}] = None; from lockwatch.cli import main; main({command.split()!r})"
    (tmp_path / "web.py").write_text("import flask")
    environ = os.environ | {"LOCKWATCH_DATABASE_URL": "sqlite+aiosqlite:///audit.db"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environ, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n"), says in done.stderr) == (2, 1, True), done.stderr


# ------------------------------------------------------------ speed
def test_the_version_is_told_with_little_more_than_click() -> None:
    code = "import sys; before = set(sys.modules); import click; after = set(sys.modules)\nfrom lockwatch.cli import main\n"
    code += "try: main(['--version'])\nfinally: print(*sorted(set(sys.modules) - after))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    version, loaded = done.stdout.splitlines()
    assert version == "lockwatch, version 0.2.0"
    heavy = {"asyncio", "fastapi", "flask", "httpx", "json", "logging", "redis", "socket", "sqlalchemy", "ssl", "threading"}
    assert not heavy & set(loaded.split())
    assert len(loaded.split()) < 30, loaded


# ------------------------------------------------------------ completion
@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with an application, as the current one, where nothing is remembered."""
    (tmp_path / "main.py").write_text(SHOP.replace("**OPTIONS", ""))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("COLUMNS", raising=False)  # pytest-xdist sets it
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def forgotten(place: Path) -> Iterator[Path]:
    """The same, whose modules are forgotten afterwards."""
    before = set(sys.modules)
    yield place
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(place)):
            del sys.modules[name]


def completed(words: list[str]) -> list[str]:
    """What a shell is told at a press of TAB in the last of `words`."""
    asked = ZshComplete(main, {}, "lockwatch", "_LOCKWATCH_COMPLETE").get_completions(words[:-1], words[-1])
    return [item.value for item in asked]


def test_commands_and_options_are_completed(place: Path) -> None:
    assert completed(["li"]) == ["limits"]
    assert completed(["audit", "st"]) == ["stats"]
    assert completed(["d"]) == ["db", "demo", "doctor"]
    assert completed(["routes", "--fail"]) == ["--fail-on-unprotected"]
    assert completed(["doctor", "--ignore", "workers."]) == ["workers.memory"]
    assert completed(["alerts", "list", "--state", ""]) == ["waiting", "dead", "delivered", "all"]


@pytest.mark.parametrize(
    ("shell", "told"), [("bash", "plain,limits"), ("zsh", "plain\nlimits\nLook at"), ("fish", "plain,limits\tLook")]
)
def test_each_shell_is_answered_in_its_own_way(shell: str, told: str, place: Path) -> None:
    environ = os.environ | {"_LOCKWATCH_COMPLETE": f"{shell}_complete", "COMP_WORDS": "lockwatch lim"}
    environ["COMP_CWORD"] = "lim" if shell == "fish" else "1"
    done = subprocess.run([SCRIPT], capture_output=True, text=True, check=False, env=environ, cwd=place)
    assert (done.stdout.startswith(told), done.stderr) == (True, ""), done


def test_routes_and_limits_are_completed_without_the_application(forgotten: Path) -> None:
    assert completed(["limits", "explain", "--route", "GET /i"]) == []
    assert invoked("routes", "main:app")[0] == 0
    (forgotten / "main.py").write_text("raise SystemExit('it was imported')")
    del sys.modules["main"]
    assert completed(["limits", "explain", "--route", "GET /i"]) == ["GET /items/{number}"]
    assert completed(["routes", "--limit", "lo"]) == ["looks"]
    assert completed(["doctor", ""]) == completed(["limits", "show", "--app", "m"]) == ["main:app"]
    (file,) = (forgotten / "cache" / "lockwatch").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text("[nothing that was written here")
    assert completed(["routes", "--limit", ""]) == []
    file.write_text('["a list"]')
    assert completed(["routes", "--limit", ""]) == []


def test_bash_itself_completes_a_route_as_one_word(place: Path) -> None:
    subprocess.run([SCRIPT, "routes", "main:app"], capture_output=True, check=True, cwd=place, env=os.environ)
    lines = """
eval "$(lockwatch completion bash)"
press() {
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    _lockwatch_completion lockwatch
    printf '%s\\n' "${COMPREPLY[@]}"
}
press lockwatch rou
press lockwatch limits explain --route GET
press lockwatch limits explain --route "'GET /it"
complete -p lockwatch
"""
    environ = os.environ | {"PATH": f"{SCRIPT.parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", lines], capture_output=True, text=True, check=False, cwd=place, env=environ)
    told = done.stdout.splitlines()
    assert (told[0], told[-2]) == ("routes", "GET /items/{number}"), done.stderr
    assert "'GET /items/{number}'" in told[1:-2]
    assert "_lockwatch_completion" in told[-1]


@pytest.mark.parametrize(
    ("shell", "has"),
    [("bash", "complete -o nosort"), ("zsh", "#compdef lockwatch"), ("fish", "complete --no-files --command lockwatch")],
)
def test_each_shell_gets_its_script(shell: str, has: str) -> None:
    status, out, err = invoked("completion", shell)
    assert (status, err) == (0, "")
    assert has in out
    assert f"_LOCKWATCH_COMPLETE={shell}_complete" in out


def test_only_so_many_directories_are_remembered(forgotten: Path) -> None:
    cache = forgotten / "cache" / "lockwatch"
    cache.mkdir(parents=True)
    for number in range(DIRECTORIES + 5):
        (cache / f"{number:016x}.json").write_text("{}")
        os.utime(cache / f"{number:016x}.json", (number, number))
    assert invoked("routes", "main:app")[0] == 0
    left = {path.name for path in cache.iterdir()}
    assert len(left) == DIRECTORIES
    assert not any(f"{number:016x}.json" in left for number in range(6))
    assert completed(["routes", "--limit", "lo"]) == ["looks"]


def test_nothing_is_remembered_where_nothing_can_be_written(forgotten: Path) -> None:
    (forgotten / "cache").write_text("a file where a directory should be")
    assert invoked("routes", "main:app")[0] == 0


# ------------------------------------------------------------ JSON
def promised() -> dict[str, tuple[str, list[str]]]:
    """What the page says each command prints: what kind of thing, and its members."""
    table = PAGE.partition("## JSON")[2].partition("## Reference")[0]
    rows = re.findall(r"^\| `([a-z ]+)` \| ([^:|]+?)(?:: ([^|;]*?))?(?:;[^|]*)? \|$", table, re.MULTILINE)
    return {name: (kind, re.findall(r"`([a-z_]+)`", members)) for name, kind, members in rows}


def test_every_command_answers_in_json_and_the_page_says_what() -> None:
    for name in LEAVES:
        options = {option for param in COMMANDS[name][0].params for option in param.opts}
        assert ("--json" in options) is (name not in TEXT_ONLY), name
    assert set(promised()) == set(LEAVES) - TEXT_ONLY


def test_the_page_names_the_members_of_what_is_listed() -> None:
    text = PAGE.partition("A finding of the doctor has")[2].partition("What would ask")[0]
    named = re.findall(r"`([a-z_]+)`", text)
    kinds: list[Any] = [Finding, Area, Coverage, LimitOf, TokenOf]
    members = {field.name for kind in kinds for field in fields(kind)} - {"findings"}
    assert set(named) == members | {"severity", "state", "null", "amount", "window", "burst", "concurrent"}


@pytest.fixture
def served(forgotten: Path, redis_server: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place where every command has something to say."""
    options = f"redis_url={redis_server!r}, bans=True, webhook_urls=['http://127.0.0.1:{servers.free_port()}/hook'], "
    options += "allow_private_webhooks=True, spool_dir='state'"
    (forgotten / "main.py").write_text(SHOP.replace("**OPTIONS", options))
    monkeypatch.setenv("LOCKWATCH_DATABASE_URL", "sqlite+aiosqlite:///audit.db")
    assert invoked("db", "upgrade")[0] == 0
    logger = AuditLogger(database_url="sqlite+aiosqlite:///audit.db", spool_dir="none")
    logger.log_sync(AuditLogEntry(ip="203.0.113.7", action="login", endpoint="/login", method="POST", status_code=200))
    logger.flush_sync()
    logger.close_sync()
    (forgotten / "logins.jsonl").write_text("")
    return forgotten


RUNS = """
db current
db upgrade
audit stats
audit query
audit tail
audit who 203.0.113.7
audit verify
audit score
audit export --output rows.jsonl
audit prune --keep 90d --dry-run
audit drain --spool-dir state --dry-run
audit checkpoint --key seal.pem --generate-key
audit checkpoint --key seal.pem --file seals.txt
alerts test --app main:app
alerts list --app main:app
alerts replay --app main:app --dead
bans add 203.0.113.9 --app main:app
bans list --app main:app
bans lift 203.0.113.9 --app main:app
doctor main:app
routes main:app
limits show --app main:app --subject ip:203.0.113.7 --all
limits explain --app main:app --subject ip:203.0.113.7 --route 'GET /items/{number}'
limits reset --app main:app --subject ip:203.0.113.7 --yes
keys generate keys.json --algorithm ES256
keys list keys.json
keys generate keys.json --algorithm ES256
keys rotate keys.json --compromised
keys jwks keys.json
replay --events logins.jsonl
db downgrade base --yes
""".strip().splitlines()
ELSEWHERE = {"db partitions", "db roles", "demo", "keys retire"}
"""Commands whose JSON other tests look at: those of Postgres, the demo, and retiring a key."""


def test_json_has_the_members_that_the_page_promises(served: Path) -> None:
    shapes, met = promised(), set()
    for line in RUNS:
        words = shlex.split(line)
        name = next(" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in shapes)
        status, out, err = invoked(*words, "--json")
        assert status in (0, 1), (line, out, err)
        met.add(name)
        kind, members = shapes[name]
        if kind.startswith("a line"):
            assert all(isinstance(json.loads(each), dict) for each in out.splitlines()), line
            continue
        told: Any = json.loads(out)
        if kind == "a list, each" and told:
            told = told[0]
        if "--generate-key" in words:
            members = ["public_key"]
        if isinstance(told, dict) and members:
            assert set(told) == set(members), line
    assert met == set(shapes) - ELSEWHERE


def test_keys_are_told_as_json(forgotten: Path) -> None:
    for _ in range(2):
        assert invoked("keys", "generate", "keys.json", "--algorithm", "ES256")[0] == 0
    old, new = json.loads(invoked("keys", "list", "keys.json", "--json")[1])
    assert (old["state"], new["state"], set(old)) == ("current", "next", {"kid", "algorithm", "state", "since"})
    told = json.loads(invoked("keys", "retire", "keys.json", "--json", "--compromised", "--", new["kid"])[1])
    assert [key["kid"] for key in told] == [old["kid"]]
    assert "BEGIN" not in invoked("keys", "list", "keys.json", "--json")[1]


def test_postgres_is_told_as_json(postgres_url: str, place: Path) -> None:
    assert json.loads(invoked("db", "upgrade", "--database", postgres_url, "--json")[1])["before"] is None
    day = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}"
    told = json.loads(invoked("db", "partitions", "--database", postgres_url, "--for", day, "--json")[1])
    assert set(told) == {"database", "new_partitions_hold", "partitions"}
    assert any(part["first"][:10] <= day < part["last"][:10] for part in told["partitions"])
    told = json.loads(invoked("db", "roles", "--database", postgres_url, "--json")[1])
    assert (told["applied"], any("GRANT INSERT" in statement for statement in told["statements"])) == (False, True)


# ------------------------------------------------------------ the page
def test_the_page_is_what_the_parsers_say() -> None:
    assert cli_page.written(PAGE) == PAGE, "run: python -m tests.operators.cli_page"


def test_the_page_prints_what_the_commands_print(forgotten: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (forgotten / "shop.py").write_text(
        "from fastapi import Depends, FastAPI\nfrom lockwatch import LockWatch, RateLimit\n"
        "app = FastAPI(openapi_url=None)\nlockwatch = LockWatch(app)\n"
        "@app.post('/login', dependencies=[Depends(RateLimit('5/minute', name='login'))])\nasync def login(): ...\n"
        "@app.get('/items/{number}', dependencies=[Depends(RateLimit('100/minute'))])\nasync def item(number: int): ...\n"
        "@app.get('/search')\nasync def search(): ...\n"
    )
    printed = re.findall(r"^```text\n(.*?)^```$", PAGE.partition("## What protects each route")[2], re.MULTILINE | re.DOTALL)[0]
    assert invoked("routes", "shop:app")[1] == printed
