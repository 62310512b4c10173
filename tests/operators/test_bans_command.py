"""`lockwatch bans`, as an operator types it; and another process that serves the application meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lockwatch.cli import main

PEER = "203.0.113.7"
APPLICATION = """
import os
from fastapi import FastAPI
from lockwatch import LockWatch

app = FastAPI()
lockwatch = LockWatch(app, redis_url=os.environ.get("SHOP_REDIS"), secret_key="0123456789abcdef", store_timeout=5, bans=True)
bare = FastAPI()
LockWatch(bare)
"""
WATCHER = """
import asyncio, sys
from main import app
from tests.edges.asgi import http

async def watch():
    while True:
        print((await http(app, "GET", "/", peer=sys.argv[1])).status, flush=True)
        await asyncio.sleep(0.05)

asyncio.run(watch())
"""
Run = Callable[..., Result]


@pytest.fixture
def place(tmp_path: Path, redis_server: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "main.py").write_text(APPLICATION)
    (tmp_path / "watcher.py").write_text(WATCHER)
    monkeypatch.setenv("SHOP_REDIS", redis_server)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(place: Path) -> Iterator[Run]:
    def invoke(*arguments: str, app: str = "main:app") -> Result:
        return CliRunner().invoke(main, ["bans", *arguments, "--app", app])

    yield invoke
    sys.modules.pop("main", None)


def test_ban_list_lift(run: Run) -> None:
    assert run("list").output == "Nobody is banned.\n"
    assert run("add", PEER, "--for", "1h", "--reason", "too eager", "--by", "alice").output == f"ip:{PEER} is banned for 1 h.\n"
    assert run("add", "user:mallory").output == "user:mallory is banned for 4 h.\n"
    lines = run("list").output.splitlines()
    assert lines[0].split() == ["subject", "ends", "in", "ban", "by", "reason", "id"]
    assert f"ip:{PEER}" in lines[1]
    assert "alice  too eager" in lines[1]
    listed = json.loads(run("list", "--json").output)["bans"]
    assert (listed[0]["subject"], listed[0]["by"]) == (f"ip:{PEER}", "alice")
    assert 3590 < listed[0]["seconds"] <= 3600
    assert run("lift", PEER).output == "Lifted.\n"
    assert run("lift", PEER).output == "It was not banned.\n"
    assert json.loads(run("lift", "user:mallory", "--json").output) == {"subject": "user:mallory", "lifted": True}
    assert run("list").output == "Nobody is banned.\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("add", "nobody"), "'nobody' is no subject of a ban; correct ones are '203.0.113.7'"),
        (("add", "127.0.0.1"), "is never banned"),
        (("add", PEER, "--for", "soon"), "--for 'soon' is no time"),
        (("lift", "0.0.0.0/0"), "is most of the internet"),
    ],
)
def test_what_cannot_be_done_is_one_line(run: Run, arguments: tuple[str, ...], message: str) -> None:
    found = run(*arguments)
    assert (found.exit_code, message in found.output, found.output.count("\n")) == (2, True, 1)


def test_an_application_without_bans_or_a_shared_store_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "set bans=True" in run("list", app="main:bare").output
    monkeypatch.delenv("SHOP_REDIS")
    sys.modules.pop("main", None)
    assert "in the memory of its own processes" in run("list").output


def test_a_process_that_serves_hears_within_seconds(run: Run, place: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(place), str(Path(__file__).parents[2])])}
    with subprocess.Popen([sys.executable, "watcher.py", PEER], stdout=subprocess.PIPE, text=True, env=environ) as watcher:
        try:
            seen = iter(watcher.stdout or ())
            assert next(seen).strip() == "404"
            assert run("add", PEER).exit_code == 0
            assert _reads(seen, "403") < 20
            assert run("lift", PEER).exit_code == 0
            assert _reads(seen, "404") < 20
        finally:
            watcher.kill()


def _reads(seen: Iterator[str], wanted: str) -> float:
    """Seconds until a line is `wanted`."""
    begun = time.monotonic()
    while next(seen).strip() != wanted:
        assert time.monotonic() - begun < 20
    return time.monotonic() - begun
