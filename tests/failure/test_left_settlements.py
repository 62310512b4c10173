"""Settlements that blocking code leaves for the background, while the store stands still."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from flask import Flask

from lockwatch.worker import shared
from lockwatch_flask import LockWatch
from tests.failure.faults import Stopped


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stopped]:
    fault = Stopped(monkeypatch)
    yield fault
    fault.close()


class Guests:
    """A view whose requests end when they are let go, one by one."""

    def __init__(self, url: str) -> None:
        self.app = Flask(__name__)
        self.lockwatch = LockWatch(self.app, redis_url=url, secret_key="0123456789abcdef", store_timeout=10)
        self.inside = [threading.Event(), threading.Event()]
        self.let_go = [threading.Event(), threading.Event()]

        @self.app.get("/<int:number>")
        @self.lockwatch.limit("100/hour", count="failures")
        def view(number: int) -> str:
            self.inside[number].set()
            self.let_go[number].wait(60)
            return "served"

        self.threads = [threading.Thread(target=self._ask, args=(number,)) for number in (0, 1)]
        for number, thread in enumerate(self.threads):
            thread.start()
            assert self.inside[number].wait(20)

    def _ask(self, number: int) -> None:
        assert self.app.test_client().get(f"/{number}", buffered=True).status_code == 200

    def leave(self, number: int) -> None:
        """Let one go, and wait until the background has taken what it left."""
        self.let_go[number].set()
        self.threads[number].join(20)

    def close(self) -> None:
        for event in self.let_go:
            event.set()
        for thread in self.threads:
            thread.join(20)
        self.lockwatch.close()


def until(true: Callable[[], object]) -> None:
    ends = time.monotonic() + 20
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.005)


def the_background_works() -> bool:
    done = threading.Event()

    async def work() -> None:
        done.set()

    return shared().post("test", work) and done.wait(5)


def test_the_background_goes_on_while_settlements_wait_for_a_store_that_stands_still(store: Stopped) -> None:
    guests = Guests(store.url)
    backlog = guests.lockwatch.engine.link.backlog
    try:
        assert the_background_works()
        store.begin()
        for number in (0, 1):
            guests.leave(number)
            if number == 0:
                until(lambda: not backlog)  # it is on its way, and will not arrive
        ends = time.monotonic() + 1  # what was left is looked at within 20 ms
        while time.monotonic() < ends:
            assert the_background_works()
            time.sleep(0.01)
        store.end()
        guests.lockwatch.flush()
        assert not backlog
        (usage,) = guests.lockwatch.limits_of("ip:127.0.0.1", "GET /<int:number>")
        assert usage.remaining == 100
    finally:
        store.end()
        guests.close()


def test_what_is_left_at_the_end_is_settled(store: Stopped) -> None:
    guests = Guests(store.url)
    for number in (0, 1):
        guests.leave(number)
    guests.lockwatch.flush()
    (usage,) = guests.lockwatch.limits_of("ip:127.0.0.1", "GET /<int:number>")
    assert usage.remaining == 100
    guests.close()
