"""`AnomalyDetector`, by hand: when it says burst, and whom it tells."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any

import pytest
import redis
import redis.asyncio
from fastapi import FastAPI

from lockwatch import AnomalyConfig, AnomalyDetector, ConfigurationError, LockWatch, LockWatchConfig
from lockwatch.anomaly.burst import Burst
from lockwatch.engine import Engine

KINDS = ("memory", "fake", "fake-async", "url", "client", "async-client")


def client_of(kind: str, url: str) -> Any:
    fakeredis = import_module("fakeredis")
    if kind.startswith("fake"):
        return getattr(fakeredis, "FakeRedis" if kind == "fake" else "FakeAsyncRedis")(server=fakeredis.FakeServer())
    return {
        "memory": lambda: None,
        "url": lambda: url,
        "client": lambda: redis.Redis.from_url(url),
        "async-client": lambda: redis.asyncio.Redis.from_url(url),
    }[kind]()


class Told(list[Burst]):
    """Who was told what; may be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self._came = threading.Event()

    def __call__(self, burst: Burst) -> None:
        self.append(burst)
        self._came.set()

    async def first(self) -> Burst:
        assert await asyncio.to_thread(self._came.wait, 20)
        return self[0]


def make(kind: str, url: str, told: Callable[[Burst], object] | None = None, **options: Any) -> AnomalyDetector:
    """A detector whose store may take its time, as in all tests: `redis_client` gives it 50 ms."""
    config = AnomalyConfig(**{"burst_threshold": 5, "burst_window_seconds": 60} | options)
    client = client_of(kind, url)
    where = {"redis_url": client} if isinstance(client, str) else {"redis": client}
    engine = Engine(LockWatchConfig(**where, secret_key="0123456789abcdef", store_timeout=5.0))
    return AnomalyDetector(config=config, engine=engine, alert=told)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_client_of_either_colour_is_taken(kind: str) -> None:
    detector = AnomalyDetector(client_of(kind, "redis://127.0.0.1:1/0"), AnomalyConfig(key_prefix="ours:"))
    assert detector.engine.config.namespace == "ours"
    assert (detector.engine.store_name == "memory") == (kind == "memory")
    await detector.aclose()
    detector.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_sixty_requests_at_once_across_the_threshold_are_one_alert(kind: str, redis_server: str) -> None:
    told = Told()
    detector = make(kind, redis_server, told, burst_threshold=30)
    ask: Callable[[], Awaitable[bool]] = lambda: detector.check(  # noqa: E731
        ip="203.0.113.7", endpoint="/login", method="POST", user_agent="curl"
    )
    found = await asyncio.gather(*[ask() for _ in range(60)])
    assert sum(found) == 31
    burst = await told.first()
    assert (burst.ip, burst.request_count, burst.window_seconds) == ("203.0.113.7", 30, 60)
    assert (burst.endpoint, burst.method, burst.user_agent) == ("/login", "POST", "curl")
    assert set(burst.data) == {"ip", "timestamp", "request_count", "window_seconds", "endpoint", "method", "user_agent"}
    assert await asyncio.gather(*[ask() for _ in range(20)]) == [True] * 20
    await detector.aclose()
    assert len(told) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_blocking_code_has_the_same(kind: str, redis_server: str) -> None:
    told = Told()
    detector = make(kind, redis_server, told)
    found = await asyncio.to_thread(lambda: [detector.check_sync(ip="203.0.113.7", endpoint="/a") for _ in range(7)])
    assert found == [False] * 4 + [True] * 3
    assert (await told.first()).endpoint == "/a"
    assert await detector.check("203.0.113.7")
    await detector.aclose()
    detector.close()


async def test_both_forms_of_the_seed_are_understood() -> None:
    told = Told()
    detector = AnomalyDetector(config=AnomalyConfig(burst_threshold=2), alert=told)
    assert not await detector.check("203.0.113.7", {"endpoint": "/a", "method": "GET"})
    assert await detector.check("203.0.113.7", {"endpoint": "/a", "method": "GET", "user_agent": "x"})
    assert ((await told.first()).method, told[0].user_agent) == ("GET", "x")


async def test_addresses_of_one_ipv6_network_are_one_client_and_others_are_not() -> None:
    detector = AnomalyDetector(config=AnomalyConfig(burst_threshold=2))
    assert [await detector.check(f"2001:db8::{n}") for n in range(3)] == [False, True, True]
    assert not await detector.check("2001:db8:0:1::1")
    assert not await detector.check("203.0.113.7")


async def test_no_raw_address_reaches_the_store(redis_server: str) -> None:
    detector = make("url", redis_server)
    for _ in range(6):
        await detector.check("203.0.113.7")
    await detector.aclose()
    with redis.Redis.from_url(redis_server) as client:
        keys = [key for key in client.scan_iter() if b":burst:" in key]
    assert len(keys) == 2
    assert not any(b"203" in key.split(b"}")[1] or b"203.0" in key for key in keys)


async def test_a_threshold_of_nothing_is_off() -> None:
    detector = AnomalyDetector(config=AnomalyConfig(burst_threshold=0))
    assert [await detector.check("203.0.113.7") for _ in range(3)] == [False] * 3
    assert not detector.check_sync("203.0.113.7")


async def test_without_the_store_the_process_counts_for_itself() -> None:
    told = Told()
    detector = make("url", "redis://127.0.0.1:1/0", told)
    assert [await detector.check("203.0.113.7") for _ in range(6)] == [False] * 4 + [True] * 2
    await told.first()
    await detector.aclose()
    assert len(told) == 1


@pytest.mark.parametrize("ip", ["", None, 7])
async def test_an_address_that_is_none_is_an_error(ip: Any) -> None:
    with pytest.raises(ValueError, match="is no address"):
        await AnomalyDetector().check(ip)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"burst_threshold": -1}, "burst_threshold=-1 is not a whole number from 0 to 10000"),
        ({"burst_threshold": 2.5}, "burst_threshold=2.5 is not a whole number"),
        ({"burst_window_seconds": 0}, "burst_window_seconds=0 is not a number from 0.1"),
        ({"respond": "kill"}, "respond='kill' is not one of 'log', 'alert', 'challenge', 'ban'"),
        ({"login_routes": ["/login"]}, "a correct one is 'POST /login'"),
        ({"step_up": 1}, "step_up=1 is not callable"),
    ],
)
def test_settings_that_cannot_work_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        AnomalyConfig(**options)


def test_secrets_do_not_show() -> None:
    assert "0123456789abcdef" not in repr(AnomalyConfig(secret_key="0123456789abcdef", webhook_secrets=["0123456789abcdef"]))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, None),
        ({"burst_threshold": 0}, None),
        ({"burst_threshold": 7}, (7, 10)),
        ({"burst_threshold": 7, "burst_window_seconds": 3}, (7, 3)),
        ({"burst_threshold": 7, "anomaly_window": 3}, (7, 3)),
        ({"anomaly": AnomalyConfig(burst_threshold=9)}, (9, 10)),
        ({"anomaly": AnomalyConfig(burst_threshold=9), "burst_threshold": 0}, (0, 10)),
    ],
)
async def test_the_flat_options_are_shortcuts(options: dict[str, Any], expected: tuple[int, float] | None) -> None:
    lockwatch = LockWatch(FastAPI(), **options)
    found = lockwatch.engine.anomaly
    assert (found and (found.burst_threshold, found.burst_window_seconds)) == expected
    assert isinstance(lockwatch.anomaly, AnomalyDetector)
    assert not await lockwatch.anomaly.check("203.0.113.7")
    await lockwatch.aclose()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"burst_window_seconds": 3}, "no burst_threshold"),
        ({"burst_threshold": 5, "burst_window_seconds": 3, "anomaly_window": 4}, "anomaly_window=4 is another name"),
        ({"anomaly": True}, "anomaly is no AnomalyConfig but bool"),
        ({"burst_threshold": -3}, "burst_threshold=-3"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        LockWatch(FastAPI(), **options)


def test_the_options_are_read_from_the_environment() -> None:
    found = LockWatchConfig.from_mapping({}, {"LOCKWATCH_BURST_THRESHOLD": "12", "LOCKWATCH_ANOMALY_WINDOW": "2.5"})
    assert (found.burst_threshold, found.anomaly_window) == (12, 2.5)
