"""`lockwatch alerts`, as an operator types it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lockwatch import LockWatchConfig
from lockwatch.alerts.alert import ATTACK_DETECTED, Alert
from lockwatch.cli import main
from lockwatch.demo.receiver import receiving
from lockwatch.engine import Engine
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


def raised(hooks: str, number: int, state: str) -> None:
    """Alerts that another process of the application left, in some state."""
    config = LockWatchConfig(webhook_urls=hooks, webhook_secrets=f"whsec_{'A' * 32}", allow_private_webhooks=True)
    alerts = Engine(config).alerts
    assert alerts is not None
    for count in range(number):
        alerts.raise_(Alert(f"msg_{count}", ATTACK_DETECTED, 1_795_500_000_000_000, {"user_agent": "\x1b[2J"}))
    box = alerts._keeper.boxes[0]
    for delivery in box.deliveries(["waiting"], number):
        box.record(delivery, state, delivery.due_at, "answered 500")
    alerts.close()


def test_a_list_shows_what_became_of_alerts_of_all_processes(run: Run) -> None:
    hooks = f"http://127.0.0.1:{servers.free_port()}/hunter2"
    raised(hooks, 2, "dead")
    raised(hooks, 1, "delivered")
    told = run("list", "--app", "alerting:app", hooks=hooks)
    assert told.exit_code == 0, told.output
    assert told.output.splitlines()[0].split() == ["alert", "raised", "type", "receiver", "state", "tried", "next", "last"]
    assert told.output.count("lockwatch.attack.detected") == 3
    assert "hunter2" not in told.output
    found = json.loads(run("list", "--app", "alerting:app", "--state", "dead", "--json", hooks=hooks).output)
    assert sorted(each["id"] for each in found) == ["msg_0", "msg_1"]
    assert found[0] | {"id": "", "raised": "", "receiver": ""} == {
        "id": "",
        "type": "lockwatch.attack.detected",
        "raised": "",
        "receiver": "",
        "state": "dead",
        "attempts": 1,
        "next_attempt": None,
        "last": "answered 500",
        "content": {
            "type": "lockwatch.attack.detected",
            "timestamp": "2026-11-24T06:00:00.000000Z",
            "data": {"user_agent": "\ufffd[2J"},
        },
    }


def test_an_empty_list_says_so(run: Run) -> None:
    assert run("list", "--app", "alerting:app").output == "There are none.\n"
    assert json.loads(run("list", "--app", "alerting:app", "--json").output) == []


async def test_a_replay_has_the_application_send_again(run: Run) -> None:
    with receiving() as hook:
        hook.secret = f"whsec_{'A' * 32}"
        raised(hook.url, 2, "dead")
        assert "2 deliveries" in run("replay", "--app", "alerting:app", "--dead", hooks=hook.url).output
        nothing = run("replay", "--app", "alerting:app", "msg_9", "--json", hooks=hook.url)
        assert (nothing.exit_code, json.loads(nothing.output)) == (1, {"replayed": 0})
        engine = Engine(LockWatchConfig(webhook_urls=hook.url, webhook_secrets=hook.secret, allow_private_webhooks=True))
        assert engine.alerts is not None
        await engine.alerts.deliver()
        await engine.alerts.finish(30.0)
        await engine.aclose()
        assert len(hook.received) == 2
