"""The stream of events: bounded by kind, urgent first, never in the way of who posts."""

from __future__ import annotations

import os
import threading

import pytest

from lockwatch.event import ADMIN, APP, AUTH, HTTP, SYSTEM, WEBSOCKET, Event
from lockwatch.stream import BROKEN, FULL, Stream

SMALL = {AUTH: 3, ADMIN: 3, SYSTEM: 3, APP: 3, WEBSOCKET: 3, HTTP: 5}


def event(kind: str, action: str = "request") -> Event:
    return Event(time_us=1, kind=kind, action=action)


class Broken:
    kind = HTTP

    def event(self) -> Event:
        raise RuntimeError


class Later:
    kind = HTTP

    def event(self) -> Event:
        return event(HTTP, "later")


def test_what_was_posted_late_becomes_an_event_when_it_is_drained() -> None:
    stream = Stream()
    stream.post(Later())
    assert [found.action for found in stream.drain(10)] == ["later"]
    assert stream.pending == 0


def test_a_flood_of_requests_pushes_out_no_login() -> None:
    stream = Stream(capacity=SMALL)
    for _ in range(100):
        stream.post(event(HTTP))
    stream.post(event(AUTH, "login"))
    assert stream.dropped == {(HTTP, FULL): 95}
    assert [found.action for found in stream.drain(100)] == ["login", *["request"] * 5]


def test_urgent_kinds_come_first_and_leave_a_quarter_to_requests() -> None:
    stream = Stream()
    for _ in range(20):
        stream.post(event(HTTP))
        stream.post(event(AUTH))
    assert [found.kind for found in stream.drain(8)] == [AUTH] * 6 + [HTTP] * 2


def test_a_kind_nobody_knows_has_the_room_of_the_applications_own() -> None:
    stream = Stream(capacity=SMALL)
    for _ in range(4):
        stream.post(event("strange"))
    assert stream.pending == 3
    assert stream.dropped == {("strange", FULL): 1}


def test_an_event_that_cannot_be_read_is_counted_and_keeps_no_other(caplog: pytest.LogCaptureFixture) -> None:
    stream = Stream()
    for item in (Broken(), Later(), Broken()):
        stream.post(item)
    assert [found.action for found in stream.drain(10)] == ["later"]
    assert stream.dropped == {(HTTP, BROKEN): 2}
    assert "Broken" in caplog.text


def test_the_first_event_has_somebody_begin_and_so_has_the_first_after_a_rest() -> None:
    begun: list[int] = []
    stream = Stream(lambda: begun.append(1))
    for _ in range(3):
        stream.post(event(HTTP))
    assert len(begun) == 1
    stream.rest()
    stream.post(event(HTTP))
    assert len(begun) == 2


def test_a_post_never_raises(caplog: pytest.LogCaptureFixture) -> None:
    def begin() -> None:
        raise RuntimeError("no thread")

    Stream(begin).post(event(HTTP))
    assert "nobody could be found" in caplog.text


def test_posts_of_many_threads_are_drained_or_counted() -> None:
    stream = Stream(capacity={**SMALL, HTTP: 1000})
    drained: list[Event] = []

    def post() -> None:
        for _ in range(1000):
            stream.post(event(HTTP))

    threads = [threading.Thread(target=post) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        drained += stream.drain(64)
    while found := stream.drain(64):
        drained += found
    assert len(drained) + sum(stream.dropped.values()) == 4000


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_has_none_of_its_parents_events() -> None:
    stream = Stream()
    stream.post(event(HTTP))
    child = os.fork()
    if child == 0:
        os._exit(stream.pending)
    assert os.waitpid(child, 0)[1] == 0
    assert stream.pending == 1
