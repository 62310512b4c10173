"""The link between an engine and its store, in both colours."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from lockwatch.config import LockWatchConfig
from lockwatch.errors import StoreError
from lockwatch.flow import Call
from lockwatch.link import Link
from tests import servers

CALL = Call("admit", ("k",), (0, 0, 5, 60_000_000, 0, 1))


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def link(clock: Callable[[], float] | None = None, **options: Any) -> Link:
    extra = (clock,) if clock else ()
    return Link(LockWatchConfig(secret_key="0123456789abcdef", store_timeout=5.0, **options), lambda message: None, *extra)


async def until(true: Callable[[], bool]) -> bool:
    """Wait for something that another thread does."""
    for _ in range(1000):
        if true():
            return True
        await asyncio.sleep(0.01)
    return False


async def test_both_colours_of_a_link_are_one_store(redis_server: str) -> None:
    for one in (link(redis_url=redis_server), link()):
        assert [one.sync_store().call(CALL)[1], (await one.async_store().call(CALL))[1]] == [4, 3]
        await one.aclose()


async def test_a_failure_in_either_colour_is_noted_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    server, clock = servers.start_redis(), Clock()
    one = link(clock, redis_url=f"redis://127.0.0.1:{server.port}")
    one.sync_store().call(CALL)
    server.stop()
    with pytest.raises(StoreError):
        one.sync_store().call(CALL)
    with pytest.raises(StoreError):
        await one.async_store().call(CALL)
    assert one.notes.error
    again = servers.start_redis(port=server.port)
    clock.now += 2
    await one.async_store().call(CALL)
    assert not one.notes.error
    assert [r.levelname for r in caplog.records] == ["ERROR", "WARNING"]
    await one.aclose()
    again.stop()


@pytest.mark.parametrize("kind", ["redis", "memory"])
async def test_jobs_run_in_the_background_while_a_link_is_in_use(redis_server: str, kind: str) -> None:
    one = link(**({"redis_url": redis_server} if kind == "redis" else {}))
    done: list[str] = []

    async def early() -> None:
        done.append("early")

    async def late() -> None:
        done.append("late")

    one.every(0.01, early)
    await asyncio.sleep(0.03)
    assert not done
    await one.async_store().call(CALL)
    assert await until(lambda: "early" in done)
    one.every(0.01, late)
    assert await until(lambda: "late" in done)
    await one.aclose()
    await asyncio.sleep(0.05)
    done.clear()
    await asyncio.sleep(0.05)
    assert not done
    one.sync_store().call(CALL)
    assert await until(lambda: "early" in done)
    assert await until(lambda: "late" in done)
    await one.aclose()


async def test_live_workers_are_counted_and_forgotten_with_time(redis_server: str) -> None:
    links = [link(redis_url=redis_server) for _ in range(3)]
    for one in links:
        one.sync_store()
    assert await until(lambda: links[2].workers >= 2)
    with redis.Redis.from_url(redis_server) as client:
        assert await until(lambda: client.zcard("lockwatch:1:workers") == 3)
        assert 0 < client.pttl("lockwatch:1:workers") <= 10_000
    for one in links:
        await one.aclose()


@pytest.mark.parametrize(("options", "environ", "expected"), [({"workers": 7}, "3", 7), ({}, "5", 5), ({}, "", 1)])
async def test_told_workers_win_and_told_processes_are_the_least(
    redis_server: str, monkeypatch: pytest.MonkeyPatch, options: dict[str, int], environ: str, expected: int
) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", environ)
    one = link(redis_url=redis_server, **options)
    assert one.workers == expected
    one.sync_store()
    with redis.Redis.from_url(redis_server) as client:
        assert await until(lambda: client.zcard("lockwatch:1:workers") == 1)
    assert one.workers == expected
    await one.aclose()


async def test_a_link_nobody_closed_leaves_no_connection_in_the_background(redis_server: str) -> None:
    with redis.Redis.from_url(redis_server) as client:

        def connections() -> int:
            """Ours by name: applications of other tests come and go meanwhile."""
            return sum(one["name"] == "nobody-closed" for one in client.client_list())

        links = [link(redis_url=f"{redis_server}?client_name=nobody-closed") for _ in range(5)]
        for one in links:
            one.sync_store()
        assert await until(lambda: connections() == 5)
        del one
        links.clear()
        gc.collect()
        assert await until(lambda: connections() == 0)


async def test_where_no_thread_can_run_the_health_report_says_what_to_set(
    redis_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uwsgi", SimpleNamespace(opt={"processes": b"2"}))  # type: ignore[arg-type]
    warnings: list[str] = []
    one = Link(LockWatchConfig(redis_url=redis_server, secret_key="0123456789abcdef"), warnings.append)
    assert one.sync_store().call(CALL)[1] == 4
    assert "--enable-threads" in one.worker
    assert "set workers" in warnings[0]
    await one.aclose()
