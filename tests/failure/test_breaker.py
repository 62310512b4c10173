"""The circuit breaker, under a clock that a test sets."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockwatch.errors import CallFailed, StoreError, StoreFull, StoreRefused, StoreTimeout
from lockwatch.flow import Call, Reply
from lockwatch.stores.breaker import LEASE, Breaker, Guarded, Reporting

DEADLINE = 0.05
PAUSE = 0.25
CALL = Call("peek", (), (0,))


def opened(at: float = 10.0, breaker: Breaker | None = None) -> Breaker:
    """A breaker that opens at `at`."""
    breaker = breaker or Breaker(DEADLINE)
    for when in (at - 2 * DEADLINE, at - DEADLINE, at):
        breaker.heard(StoreTimeout("no answer"), when)
    assert breaker.state == "open"
    return breaker


def lets_through(breaker: Breaker, now: float) -> bool:
    try:
        breaker.enter(now)
    except StoreError:
        return False
    return True


def test_it_opens_with_the_third_failure_in_a_row() -> None:
    breaker = Breaker(DEADLINE)
    for when in (1.0, 2.0):
        breaker.heard(StoreTimeout("no answer"), when)
        assert lets_through(breaker, when)
    breaker.heard(StoreTimeout("no answer"), 3.0)
    assert not lets_through(breaker, 3.0)


def test_an_answer_in_between_begins_the_count_anew() -> None:
    breaker = Breaker(DEADLINE)
    for when in range(20):
        breaker.heard(StoreTimeout("no answer") if when % 3 else None, float(when))
    assert breaker.state == "closed"


def test_calls_that_were_under_way_together_are_one_hiccup() -> None:
    breaker = Breaker(DEADLINE)
    for i in range(1000):
        breaker.heard(StoreTimeout("no answer"), 1.0 + i * DEADLINE / 1001)
    assert breaker.state == "closed"
    breaker.heard(StoreTimeout("no answer"), 1.0 + DEADLINE)
    assert breaker.state == "open"


@pytest.mark.parametrize("kind", [StoreRefused, StoreFull, CallFailed])
def test_an_answer_that_says_no_is_an_answer(kind: type[StoreError]) -> None:
    breaker = Breaker(DEADLINE)
    for when in range(10):
        breaker.heard(kind("no"), float(when))
    assert breaker.state == "closed"
    breaker = opened()
    assert lets_through(breaker, 10.0 + PAUSE)
    breaker.heard(kind("no"), 10.0 + PAUSE)
    assert breaker.state == "closed"


def test_while_it_is_open_a_call_says_since_when_and_why() -> None:
    with pytest.raises(StoreError, match=r"for 0\.2 s now \(no answer\)"):
        opened(10.0).enter(10.2)


def test_one_call_finds_out_and_the_others_wait_for_nothing() -> None:
    breaker = opened(10.0)
    assert not lets_through(breaker, 10.0 + PAUSE - 0.01)
    assert [lets_through(breaker, 10.0 + PAUSE) for _ in range(3)] == [True, False, False]
    assert breaker.state == "probing"
    breaker.heard(None, 10.3)
    assert breaker.state == "closed"
    assert all(lets_through(breaker, 10.3) for _ in range(3))


def test_of_many_threads_one_finds_out() -> None:
    breaker, start = opened(10.0), threading.Barrier(16)

    def come(_: int) -> bool:
        start.wait()
        return lets_through(breaker, 11.0)

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(come, range(16))) == 1


def test_the_pause_doubles_up_to_five_seconds_and_is_short_again_after_an_answer() -> None:
    breaker, now = opened(10.0), 10.0
    pauses = []
    for _ in range(7):
        before = now
        while not lets_through(breaker, now):
            now += 0.125
        pauses.append(now - before)
        breaker.heard(StoreTimeout("still no answer"), now)
    assert pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    assert lets_through(breaker, now + 5)
    breaker.heard(None, now + 5)
    assert lets_through(opened(now + 10, breaker), now + 10 + PAUSE)


def test_a_probe_nobody_hears_of_again_does_not_wedge_it() -> None:
    breaker = opened(10.0)
    assert lets_through(breaker, 11.0)
    assert not lets_through(breaker, 11.0 + LEASE)
    assert lets_through(breaker, 11.0 + LEASE + 2 * DEADLINE)


def test_what_was_under_way_when_it_opened_is_not_the_probe() -> None:
    breaker = opened(10.0)
    for _ in range(100):
        breaker.heard(StoreTimeout("no answer"), 10.0 + DEADLINE)
    assert lets_through(breaker, 10.0 + PAUSE)


def test_with_a_long_deadline_the_first_probe_waits_for_what_was_under_way() -> None:
    breaker = Breaker(2.0)
    for when in (10.0, 11.0, 12.0):
        breaker.heard(StoreTimeout("no answer"), when)
    assert not lets_through(breaker, 14.0)
    assert lets_through(breaker, 15.0)


def test_a_forked_child_begins_closed() -> None:
    breaker = opened(10.0)
    breaker.forked()
    assert lets_through(breaker, 10.0)
    assert breaker.state == "closed"


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["call", "answer", "silence"]), st.floats(0, 1))))
def test_it_never_lets_two_probes_go_within_a_lease_and_never_stays_open_for_good(steps: list[tuple[str, float]]) -> None:
    breaker, now = opened(10.0), 10.0
    under_way: list[float] = []
    for what, later in steps:
        now += later
        if what == "call" and breaker.state != "closed" and lets_through(breaker, now):
            assert not [when for when in under_way if now - when < LEASE]
            under_way.append(now)
        elif under_way:
            breaker.heard(None if what == "answer" else StoreTimeout("no answer"), now)
            under_way.clear()
        if breaker.state == "closed":
            return
    assert lets_through(breaker, now + 5 + LEASE)


# ------------------------------------------------------------------ around a store
class Scripted:
    """A store that answers as it is told."""

    def __init__(self) -> None:
        self.works = True
        self.calls = 0

    def call(self, call: Call) -> Reply:
        self.calls += 1
        if self.works:
            return [1]
        raise StoreTimeout("no answer")


def test_a_guarded_store_is_left_alone_while_it_is_down() -> None:
    now = [10.0]
    breaker, inner = Breaker(DEADLINE), Scripted()
    store = Guarded(Reporting(inner, lambda failure: breaker.heard(failure, now[0])), breaker, lambda: now[0])
    assert store.call(CALL) == [1]
    inner.works = False
    for _ in range(100):
        with pytest.raises(StoreError):
            store.call(CALL)
        now[0] += 0.01
    assert inner.calls < 15
    inner.works, inner.calls = True, 0
    now[0] += 5
    assert [store.call(CALL) for _ in range(3)] == [[1]] * 3
