"""`lockwatch alerts`, as an operator types it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lockwatch.cli import main
from lockwatch.demo.receiver import receiving
from tests import servers

Run = Callable[..., Result]
APPLICATION = """
import os
from fastapi import FastAPI
from lockwatch import LockWatch

app, silent = FastAPI(), FastAPI()
LockWatch(app, webhook_urls=os.environ["HOOKS"], webhook_secrets=os.environ["SECRET"], allow_private_webhooks=True)
LockWatch(silent)
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    (tmp_path / "alerting.py").write_text(APPLICATION)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)

    def run(*words: str, hooks: str = "https://hooks.example.com/", secret: str = "") -> Result:
        monkeypatch.setenv("HOOKS", hooks)
        monkeypatch.setenv("SECRET", secret or f"whsec_{'A' * 32}")
        sys.modules.pop("alerting", None)
        return CliRunner().invoke(main, ["alerts", *words])

    return run


def test_a_test_reaches_every_receiver_and_says_so(run: Run) -> None:
    with receiving() as hook:
        told = run("test", "--app", "alerting:app", hooks=hook.url, secret=hook.secret)
        assert told.exit_code == 0, told.output
        assert told.output.startswith("127.0.0.1#")
        assert told.output.endswith(": delivered, answered 204\n")
        assert [content["type"] for content in hook.received] == ["lockwatch.test"]


def test_a_receiver_that_cannot_be_reached_is_told_and_fails(run: Run) -> None:
    with receiving() as hook:
        hooks = f"{hook.url},http://127.0.0.1:{servers.free_port()}/hunter2"
        told = run("test", "--app", "alerting:app", "--json", hooks=hooks)
        assert told.exit_code == 1
        found = json.loads(told.output)
        assert [(r["delivered"], r["status"]) for r in found] == [(False, 401), (False, None)]
        assert found[1]["error"] == "it refuses connections"
        assert "hunter2" not in told.output


def test_an_application_that_alerts_nobody_is_told(run: Run) -> None:
    told = run("test", "--app", "alerting:silent")
    assert told.exit_code == 2
    assert "set webhook_urls" in told.output


@pytest.mark.parametrize("words", [(), ("msg_1", "--dead")])
def test_a_replay_says_of_what(run: Run, words: tuple[str, ...]) -> None:
    told = run("replay", "--app", "alerting:app", *words)
    assert told.exit_code == 2
    assert "name the alerts, or give --dead" in told.output
