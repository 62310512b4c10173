"""The link between an engine and its store, in both colours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lockwatch.config import LockWatchConfig
from lockwatch.errors import StoreError
from lockwatch.flow import Call
from lockwatch.link import Link
from tests import servers

CALL = Call("admit", ("k",), (0, 5, 60_000_000, 1, 0))


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def link(clock: Callable[[], float] | None = None, **options: Any) -> Link:
    extra = (clock,) if clock else ()
    return Link(LockWatchConfig(secret_key="0123456789abcdef", **options), lambda message: None, *extra)


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
