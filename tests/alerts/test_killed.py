"""A process that is killed right after it raised an alert: the next process delivers it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from lockwatch import LockWatchConfig, verify_webhook
from lockwatch.engine import Engine
from tests.alerts.receivers import receiver
from tests.alerts.test_signing import OLD

CHILD = """
import os, signal, sys, time
from lockwatch import LockWatchConfig
from lockwatch.alerts.alert import ATTACK_DETECTED, Alert
from lockwatch.engine import Engine

url, secret, place = sys.argv[1:]
config = LockWatchConfig(webhook_urls=url, webhook_secrets=secret, allow_private_webhooks=True, spool_dir=place)
alerts = Engine(config).alerts
alert = Alert("msg_killed", ATTACK_DETECTED, time.time_ns() // 1000, {"campaign": "c1"})
alerts.raise_(alert)
os.kill(os.getpid(), signal.SIGKILL)
"""


async def test_the_next_process_delivers_what_a_killed_one_raised(tmp_path: Path) -> None:
    async with receiver() as hook:
        words = [sys.executable, "-c", textwrap.dedent(CHILD), hook.url(), OLD, str(tmp_path)]
        child = await asyncio.to_thread(subprocess.run, words, capture_output=True, cwd=Path.cwd(), check=False)
        assert child.returncode == -signal.SIGKILL, child.stderr
        assert hook.connections == 0
        config = LockWatchConfig(webhook_urls=hook.url(), webhook_secrets=OLD, allow_private_webhooks=True, spool_dir=str(tmp_path))
        engine = Engine(config)
        assert engine.alerts is not None
        await engine.alerts.deliver()
        await engine.alerts.finish(30.0)
        await engine.aclose()
        (request,) = hook.received
        assert request.headers["webhook-id"] == "msg_killed"
        assert verify_webhook(OLD, request.headers, request.body)["data"] == {"campaign": "c1"}


async def test_a_forked_child_leaves_the_outbox_of_its_parent_alone(tmp_path: Path) -> None:
    async with receiver() as hook:
        config = LockWatchConfig(webhook_urls=hook.url(), webhook_secrets=OLD, allow_private_webhooks=True, spool_dir=str(tmp_path))
        engine = Engine(config)
        alerts = engine.alerts
        assert alerts is not None
        box = alerts._keeper.boxes[0]
        before = len(list(tmp_path.rglob("alerts.*.db")))
        if (child := os.fork()) == 0:
            opened = alerts._keeper.boxes[0] is not box and len(list(tmp_path.rglob("alerts.*.db"))) == before + 1
            os._exit(0 if opened else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        await engine.aclose()
