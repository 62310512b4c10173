"""`flask lockwatch`: the commands of `lockwatch`, about the application that Flask finds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import redis

SHOP = """
import os
from flask import Flask
from lockwatch_flask import LockWatch
app = Flask(__name__)
lockwatch = LockWatch(app, redis_url=os.environ["STORE"], secret_key="0123456789abcdef", store_timeout=5)
@app.get("/items/<int:number>")
@lockwatch.limit("2/minute")
def items(number): return str(number)
@app.cli.command("own")
def own(): print("own command")
"""
BROKEN = """
import sys
for name in ("sqlalchemy", "sqlmodel", "alembic", "httpx", "fastapi", "starlette"):
    sys.modules[name] = None
from flask.cli import main
main()
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


def flask(
    place: Path, store: str, *arguments: str, code: str = "from flask.cli import main; main()"
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, "--app", "shop", *arguments],
        cwd=place,
        env={"PATH": "/usr/bin:/bin", "STORE": store, "PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_application_need_not_be_named_again(place: Path, redis_server: str) -> None:
    asking = (
        "import shop; c = shop.app.test_client(); print([c.get('/items/1').status_code for _ in range(3)]); shop.lockwatch.close()"
    )
    used = subprocess.run(
        [sys.executable, "-c", asking],
        cwd=place,
        env={"STORE": redis_server, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert used.stdout.strip() == "[200, 200, 429]"
    shown = flask(place, redis_server, "lockwatch", "limits", "show", "--subject", "ip:127.0.0.1")
    assert (shown.returncode, "GET /items/<int:number>" in shown.stdout) == (0, True), shown
    told = flask(
        place, redis_server, "lockwatch", "limits", "explain", "--subject", "ip:127.0.0.1", "--route", "GET /items/<int:number>"
    )
    assert "decorator of items" in told.stdout
    gone = flask(place, redis_server, "lockwatch", "limits", "reset", "--subject", "ip:127.0.0.1", "--yes")
    assert gone.stdout.strip() == "1 forgotten."
    with redis.Redis.from_url(redis_server) as client:
        assert not list(client.scan_iter("*sliding-window*"))


def test_both_command_lines_have_the_same_commands(place: Path) -> None:
    from lockwatch.cli import HOMES

    helped = flask(place, "memory://", "lockwatch", "--help").stdout
    assert all(f"  {name}" in helped for name in HOMES)


def test_routes_and_the_doctor_look_at_the_application_that_flask_has_found(place: Path, redis_server: str) -> None:
    listed = flask(place, redis_server, "lockwatch", "routes", "--json")
    told = {route["path"]: route["state"] for route in json.loads(listed.stdout)["routes"]}
    assert told == {"/items/<int:number>": "protected", "/static/<path:filename>": "unprotected"}
    assert flask(place, redis_server, "lockwatch", "routes", "--fail-on-unprotected").returncode == 1
    assert flask(place, redis_server, "lockwatch", "routes", "--fail-on-unprotected", "--allow", "/static/*").returncode == 0
    looked = flask(place, redis_server, "lockwatch", "doctor", "--json")
    found = json.loads(looked.stdout)
    assert [finding["code"] for finding in found["findings"]] == ["secret.weak", "routes.unprotected"]
    assert found["areas"][1]["summary"].startswith("Valkey ")


def test_the_doctor_and_routes_need_no_other_framework(place: Path) -> None:
    assert flask(place, "memory://", "lockwatch", "routes", code=BROKEN).returncode == 0
    looked = flask(place, "memory://", "lockwatch", "doctor", code=BROKEN)
    assert (looked.returncode, "secret.weak" in looked.stdout) == (1, True), looked


def test_what_is_not_installed_breaks_its_own_command_alone(place: Path) -> None:
    listed = flask(place, "memory://", "--help", code=BROKEN)
    assert (listed.returncode, "lockwatch" in listed.stdout) == (0, True), listed
    assert flask(place, "memory://", "own", code=BROKEN).stdout.strip() == "own command"
    assert flask(place, "memory://", "routes", code=BROKEN).returncode == 0
    helped = flask(place, "memory://", "lockwatch", "--help", code=BROKEN)
    assert (helped.returncode, 'pip install "lockwatch[all]"' in helped.stdout) == (0, True), helped
    refused = flask(place, "memory://", "lockwatch", "alerts", "list", code=BROKEN)
    assert refused.returncode != 0
    assert 'pip install "lockwatch[all]"' in refused.stderr


def test_without_flask_the_application_is_named() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lockwatch.cli", "limits", "show", "--subject", "ip:127.0.0.1"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "--app is missing" in done.stderr
