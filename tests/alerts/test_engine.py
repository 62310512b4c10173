"""Alerts of an application, delivered by the thread in the background."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi import FastAPI
from flask import Flask
from starlette.testclient import TestClient

from lockwatch import (
    ConfigurationError,
    JWTConfig,
    LockWatch,
    LockWatchConfig,
    SlackChannel,
    TokenError,
    WebhookChannel,
    verify_webhook,
)
from lockwatch.alerts.alert import ATTACK_DETECTED, TOKEN_REUSE, Alert
from lockwatch.engine import Engine
from lockwatch.event import APP, Event
from lockwatch_flask import LockWatch as FlaskLockWatch
from tests.alerts.receivers import answers, hangs, receiver
from tests.alerts.test_signing import NEW, OLD


async def until(true: Callable[[], object]) -> None:
    ends = time.monotonic() + 20
    while not true():
        assert time.monotonic() < ends
        await asyncio.sleep(0.01)


def alert(number: int = 1) -> Alert:
    return Alert(f"msg_{number}", ATTACK_DETECTED, time.time_ns() // 1000, {"campaign": "c1"})


async def test_an_alert_is_delivered_in_the_background() -> None:
    async with receiver() as hook:
        engine = Engine(LockWatchConfig(webhook_urls=hook.url(), webhook_secrets=[OLD, NEW], allow_private_webhooks=True))
        await engine.open()
        assert engine.alerts is not None
        engine.alerts.raise_(alert())
        await until(lambda: hook.received)
        (request,) = hook.received
        assert verify_webhook(NEW, request.headers, request.body)["data"] == {"campaign": "c1"}
        await engine.aclose()


async def test_what_is_raised_just_before_the_end_still_arrives() -> None:
    async with receiver() as hook:
        engine = Engine(LockWatchConfig(alerts=[SlackChannel(hook.url(), allow_private=True)]))
        await engine.open()
        assert engine.alerts is not None
        engine.alerts.raise_(alert())
        await engine.aclose()
        assert b"Attack detected" in hook.received[0].body


async def test_no_request_waits_for_a_receiver_that_hangs() -> None:
    async with receiver(hangs) as hook:
        app = FastAPI()
        lockwatch = LockWatch(app, webhook_urls=[hook.url()], webhook_secrets=OLD, allow_private_webhooks=True)

        @app.get("/")
        async def index() -> None:
            assert lockwatch.engine.alerts is not None
            lockwatch.engine.alerts.raise_(alert())

        def ask() -> None:
            with TestClient(app) as http:
                for _ in range(20):
                    assert http.get("/").status_code == 200

        await asyncio.wait_for(asyncio.to_thread(ask), 10)
        assert hook.connections == 1


async def test_health_says_what_keeps_alerts_from_arriving() -> None:
    async with receiver(answers(410)) as hook:
        lockwatch = LockWatch(FastAPI(), webhook_urls=[hook.url()], webhook_secrets=OLD, allow_private_webhooks=True)
        assert lockwatch.engine.alerts is not None
        lockwatch.engine.alerts.raise_(alert())
        await lockwatch.engine.alerts.finish()
        health = lockwatch.health()
        assert health.status == "degraded"
        assert "wants no alerts any more" in health.alerts
        await lockwatch.aclose()


async def test_an_audit_log_in_trouble_is_known_to_the_alerts() -> None:
    def down(rows: object) -> None:
        raise OSError("no route to the archive")

    async with receiver() as hook:
        options = {"webhook_urls": hook.url(), "webhook_secrets": OLD, "allow_private_webhooks": True}
        engine = Engine(LockWatchConfig(audit_sinks=[down], **options))
        assert engine.alerts is not None
        assert engine.alerts.audit is not None
        assert engine.stream is not None
        await engine.open()
        assert engine.alerts.audit() == ()
        engine.stream.post(Event(time_us=time.time_ns() // 1000, kind=APP, action="export"))
        await until(lambda: engine.alerts is not None and engine.alerts.audit is not None and engine.alerts.audit())
        await engine.aclose()
        assert Engine(LockWatchConfig(**options)).alerts.audit is None


def test_alerts_are_off_until_somebody_is_to_be_told() -> None:
    engine = Engine(LockWatchConfig())
    assert engine.alerts is None
    assert engine.health().alerts == "off"


def test_unsigned_webhooks_are_warned_about() -> None:
    health = Engine(LockWatchConfig(webhook_urls=["https://hooks.example.com/hunter2"])).health()
    assert any("not signed" in warning for warning in health.warnings)
    assert "hunter2" not in repr(health)


@pytest.mark.parametrize(
    "options",
    [
        {"webhook_urls": ["http://hooks.example.com/hunter2"]},
        {"webhook_urls": ["https://hooks.example.com/hunter2"], "webhook_secrets": ["hunter2"]},
        {"slack_urls": "https://10.0.0.1/hunter2"},
        {"alerts": ["https://hooks.example.com/hunter2"]},
        {"alerts": [WebhookChannel("https://hooks.example.com/hunter2", types=["*"])]},
    ],
)
def test_settings_that_cannot_work_are_refused_and_not_quoted(options: dict[str, object]) -> None:
    config = LockWatchConfig.from_mapping(options, {})
    assert "hunter2" not in repr(config)
    with pytest.raises(ConfigurationError) as caught:
        Engine(config)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("text", "found"), [("true", True), ("0", False), (" On ", True)])
def test_the_switch_is_read_from_the_environment(text: str, found: bool) -> None:
    assert LockWatchConfig.from_env({"LOCKWATCH_ALLOW_PRIVATE_WEBHOOKS": text}).allow_private_webhooks is found


def test_a_switch_that_is_neither_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="neither true nor false"):
        LockWatchConfig.from_env({"LOCKWATCH_ALLOW_PRIVATE_WEBHOOKS": "maybe"})
    with pytest.raises(ConfigurationError, match="neither True nor False"):
        LockWatchConfig(allow_private_webhooks="no")  # type: ignore[arg-type]


async def test_a_closed_application_leaves_no_outbox_open_and_goes_on_when_it_opens_again(tmp_path: Path) -> None:
    async with receiver() as hook:
        engine = Engine(LockWatchConfig(webhook_urls=hook.url(), webhook_secrets=OLD, allow_private_webhooks=True))
        assert engine.alerts is not None
        for number in range(3):
            await engine.open()
            engine.alerts.raise_(alert(number))
            await engine.aclose()
            assert len(hook.received) == number + 1
            await engine.alerts.deliver()
            assert not engine.alerts._keeper.opened


async def test_blocking_code_delivers_before_it_closes() -> None:
    async with receiver() as hook:
        engine = Engine(LockWatchConfig(webhook_urls=hook.url(), webhook_secrets=OLD, allow_private_webhooks=True), blocking=True)

        def use() -> None:
            assert engine.alerts is not None
            engine.open_sync()
            engine.alerts.raise_(alert())
            engine.close()

        await asyncio.to_thread(use)
        assert hook.ids == ["msg_1"]


def test_the_alerts_of_an_application_are_at_hand_on_either_framework() -> None:
    options = {"webhook_urls": ["https://hooks.example.com/"], "webhook_secrets": OLD}
    with pytest.raises(ConfigurationError, match="nobody is alerted"):
        LockWatch(FastAPI()).alerts  # noqa: B018
    assert LockWatch(FastAPI(), **options).alerts.endpoints[0].name.startswith("hooks.example.com")
    app, silent = Flask("shop"), Flask("silent")
    lockwatch, muted = FlaskLockWatch(app, **options), FlaskLockWatch(silent)
    with app.app_context():
        assert lockwatch.alerts.endpoints[0].name.startswith("hooks.example.com")
    with silent.app_context(), pytest.raises(ConfigurationError, match="nobody is alerted"):
        muted.alerts  # noqa: B018


async def test_a_used_refresh_token_of_an_application_is_alerted_about() -> None:
    async with receiver() as hook:
        lockwatch = LockWatch(
            FastAPI(),
            jwt=JWTConfig(jwt_secret="at least thirty-two bytes of your own", refresh_grace_seconds=0),
            webhook_urls=hook.url(),
            webhook_secrets=OLD,
            allow_private_webhooks=True,
        )
        pair = await lockwatch.tokens.issue_token_pair("ann")
        await lockwatch.tokens.rotate(pair.refresh_token)
        with pytest.raises(TokenError):
            await lockwatch.tokens.rotate(pair.refresh_token)
        await until(lambda: hook.received)
        content = verify_webhook(OLD, hook.received[0].headers, hook.received[0].body)
        assert content["type"] == TOKEN_REUSE
        assert content["data"]["user"] == "ann"
        assert pair.refresh_token not in hook.received[0].body.decode()
        await lockwatch.aclose()
