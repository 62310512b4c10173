"""An application under attack: from its requests to the webhook, the ban and its lifting; and with its judge killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from fastapi import FastAPI, HTTPException, Request

from lockwatch import AnomalyConfig, LockWatch
from lockwatch.anomaly.exchange import keys_of
from lockwatch.event import Event
from tests.alerts.receivers import Receiver, answers, receiver
from tests.alerts.test_signing import OLD
from tests.edges.asgi import http

ATTACKER, FRIEND = "203.0.113.7", "198.51.100.4"
KINDS = ("memory", "fake", "redis")


def store(kind: str, url: str) -> dict[str, Any]:
    if kind == "fake":
        fakeredis = import_module("fakeredis")
        return {"redis": fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer())}
    return {"redis_url": url, "store_timeout": 2.0} if kind == "redis" else {}


def make(hook: Receiver, place: Path, **options: Any) -> tuple[FastAPI, LockWatch]:
    app = FastAPI()
    told = {"webhook_urls": hook.url(), "webhook_secrets": OLD, "allow_private_webhooks": True}
    config = AnomalyConfig(**told | options.pop("anomaly", {}))
    lockwatch = LockWatch(app, anomaly=config, secret_key="0123456789abcdef", spool_dir=str(place), **options)

    @app.get("/")
    async def index() -> str:
        return "hello"

    @app.post("/login")
    async def login(request: Request, name: str, password: str) -> str:
        async with lockwatch.login_attempt(request, name):
            if password != "right":
                raise HTTPException(401)
        return "welcome"

    return app, lockwatch


async def until(check: Callable[[], Any], seconds: float = 20) -> Any:
    ends = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < ends
        await asyncio.sleep(0.02)
    return found


def told(hook: Receiver, kind: str) -> list[dict[str, Any]]:
    return [content["data"] for r in hook.received if (content := json.loads(r.body))["type"] == kind]


@pytest.mark.parametrize("kind", KINDS)
async def test_sixty_requests_at_once_are_one_alert_and_the_answers_do_not_wait_for_it(
    kind: str, redis_server: str, tmp_path: Path
) -> None:
    async with receiver(answers()) as hook:
        app, lockwatch = make(
            hook, tmp_path, anomaly={"burst_threshold": 30, "burst_window_seconds": 60}, **store(kind, redis_server)
        )
        seen: list[Event] = []

        async def note(events: list[Event]) -> None:
            seen.extend(events)

        lockwatch.engine.listen(note)
        found = await asyncio.gather(*[http(app, "GET", "/", peer=ATTACKER, headers={"user-agent": "curl"}) for _ in range(60)])
        assert [exchange.status for exchange in found] == [200] * 60
        await until(lambda: told(hook, "lockwatch.burst"))
        assert await lockwatch.engine.flush()
        await lockwatch.aclose()
        (burst,) = told(hook, "lockwatch.burst")
        assert (burst["ip"], burst["endpoint"], burst["method"], burst["user_agent"]) == (ATTACKER, "/", "GET", "curl")
        assert burst["request_count"] >= 30
        assert sum(event.anomaly for event in seen) == 31


@pytest.mark.parametrize("kind", KINDS)
async def test_a_scanner_is_told_of_banned_and_let_in_again(kind: str, redis_server: str, tmp_path: Path) -> None:
    async with receiver(answers()) as hook:
        app, lockwatch = make(hook, tmp_path, anomaly={"respond": "ban", "burst_threshold": 0}, **store(kind, redis_server))
        for i in range(40):
            await http(app, "GET", f"/wp-{i}.php", peer=ATTACKER)
        (attack,) = await until(lambda: told(hook, "lockwatch.attack.detected"))
        assert (attack["rule"], attack["sources"]) == ("scan.address", [ATTACKER])
        (ban,) = await until(lambda: told(hook, "lockwatch.ban.created"))
        assert (ban["subject"], ban["by"]) == (f"ip:{ATTACKER}", "scan.address")
        assert (await http(app, "GET", "/", peer=ATTACKER)).status == 403
        assert (await http(app, "GET", "/", peer=FRIEND)).status == 200
        assert await lockwatch.bans.lift(ATTACKER)
        assert (await http(app, "GET", "/", peer=ATTACKER)).status == 200
        await until(lambda: told(hook, "lockwatch.ban.removed"))
        await lockwatch.aclose()
        assert len(told(hook, "lockwatch.attack.detected")) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_under_attack_a_novel_pair_is_challenged_and_a_known_one_is_not(kind: str, redis_server: str, tmp_path: Path) -> None:
    async with receiver(answers()) as hook:
        app, lockwatch = make(hook, tmp_path, anomaly={"respond": "challenge", "burst_threshold": 0}, **store(kind, redis_server))

        async def login(peer: str, name: str = "alice", password: str = "right") -> int:
            query = f"name={name}&password={password}".encode()
            return (await http(app, "POST", "/login", peer=peer, query_string=query)).status

        assert await login(FRIEND) == 200
        for i in range(30):  # many networks try the password of one
            await login(f"203.0.{i}.7", "alice", "guess")
        await until(lambda: told(hook, "lockwatch.attack.detected"))
        await until(lambda: len(lockwatch.engine.logins.challenges))
        assert [await login(peer) for peer in (FRIEND, "198.51.100.200", "192.0.2.9")] == [200, 200, 403]
        assert await login("192.0.2.9", "bob") == 200
        await lockwatch.aclose()


async def test_an_application_that_watches_asks_the_store_nothing_on_its_requests(redis_server: str, tmp_path: Path) -> None:
    async with receiver(answers()) as hook:
        app, lockwatch = make(hook, tmp_path, redis_url=redis_server, store_timeout=2.0)
        await lockwatch.engine.open()
        real = lockwatch.engine.link.store
        asked: list[Any] = []
        here = asyncio.get_running_loop()

        class Counting:
            def call(self, call: Any) -> Any:
                if asyncio.get_running_loop() is here:
                    asked.append(call)
                assert real is not None
                return real.call(call)

        lockwatch.engine.link.store = Counting()
        for _ in range(20):
            assert (await http(app, "GET", "/", peer=FRIEND)).status == 200
        assert asked == []
        lockwatch.engine.link.store = real
        await lockwatch.aclose()


CHILD = """
import asyncio, sys
from fastapi import FastAPI
from lockwatch import AnomalyConfig, LockWatch
from tests.edges.asgi import http

redis_url, hook, secret, place, role = sys.argv[1:]
app = FastAPI()
anomaly = AnomalyConfig(burst_threshold=0, webhook_urls=hook, webhook_secrets=secret, allow_private_webhooks=True)
lockwatch = LockWatch(
    app, anomaly=anomaly, secret_key="0123456789abcdef", spool_dir=place, redis_url=redis_url, store_timeout=5
)

async def main():
    if role == "victim":
        for i in range(40):
            await http(app, "GET", f"/wp-{i}.php", peer="203.0.113.7")
    else:
        await http(app, "GET", "/", peer="198.51.100.4")
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_a_killed_judge_loses_no_alert_and_the_next_process_goes_on(redis_server: str, tmp_path: Path) -> None:
    """Killed from outside, as soon as the store has its campaign. Its receiver is down for as long as it lives."""
    down = True

    async def behave(found: Receiver, writer: asyncio.StreamWriter) -> None:
        await answers(503 if down else 204)(found, writer)

    news = keys_of("lockwatch")[4]
    async with receiver(behave) as hook, redis.asyncio.from_url(redis_server) as client:

        def start(role: str) -> subprocess.Popen[bytes]:
            words = [sys.executable, "-c", textwrap.dedent(CHILD), redis_server, hook.url(), OLD, str(tmp_path), role]
            return subprocess.Popen(words, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])})

        victim, heir = start("victim"), None
        try:
            ends = time.monotonic() + 60
            while not await client.exists(news):
                assert time.monotonic() < ends
            victim.send_signal(signal.SIGKILL)
            assert await asyncio.to_thread(victim.wait, 20) == -signal.SIGKILL
            down = False
            hook.received.clear()
            heir = start("heir")
            await until(lambda: told(hook, "lockwatch.attack.detected"), 60)
            assert {attack["rule"] for attack in told(hook, "lockwatch.attack.detected")} == {"scan.address"}
            assert len(set(hook.ids)) == 1
        finally:
            for process in (victim, heir):
                if process is not None:
                    process.kill()
                    process.wait()
