"""Alerts of an application, delivered by the thread in the background."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from lockwatch import ConfigurationError, LockWatch, LockWatchConfig, SlackChannel, WebhookChannel, verify_webhook
from lockwatch.alerts.alert import ATTACK_DETECTED, Alert
from lockwatch.engine import Engine
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
