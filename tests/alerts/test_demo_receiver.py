"""The receiver of the demo."""

from __future__ import annotations

import asyncio
import time

import httpx

from lockwatch import LockWatchConfig
from lockwatch.alerts.alert import ATTACK_DETECTED, Alert
from lockwatch.demo.receiver import receiving
from lockwatch.engine import Engine


async def test_it_receives_what_is_signed_and_nothing_else() -> None:
    with receiving() as hook:
        engine = Engine(LockWatchConfig(webhook_urls=hook.url, webhook_secrets=hook.secret, allow_private_webhooks=True))
        assert engine.alerts is not None
        engine.alerts.raise_(Alert("msg_1", ATTACK_DETECTED, time.time_ns() // 1000, {"campaign": "c1"}))
        await engine.alerts.finish(30.0)
        await engine.aclose()
        content = await asyncio.to_thread(hook.wait_for, ATTACK_DETECTED)
        assert content is not None
        assert content["data"] == {"campaign": "c1"}
        assert hook.wait_for("lockwatch.burst", 0.0) is None
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.post(hook.url, content=b"{}")).status_code == 401
        assert (len(hook.received), hook.refused) == (1, 1)
