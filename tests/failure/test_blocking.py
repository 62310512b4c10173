"""The same outages for blocking code: it waits for the deadline at most, then for nothing, and returns by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from lockwatch.config import LockWatchConfig
from lockwatch.errors import CallFailed, StoreError, StoreFull
from lockwatch.flow import Call, Reply
from lockwatch.link import Link
from tests.failure.apps import DEADLINE
from tests.failure.faults import ANSWERING, FAULTS, PASSWORD, Fault

CALL = Call("admit", ("k",), (0, 0, 100_000, 60_000_000, 0, 1))
SLACK = 2.0


@pytest.fixture(params=FAULTS)
def fault(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Fault]]:
    made = FAULTS[request.param](monkeypatch)
    yield request.param, made
    made.close()


@pytest.fixture
def make() -> Iterator[Callable[[str], Link]]:
    made: list[Link] = []

    def link(url: str) -> Link:
        made.append(Link(LockWatchConfig(redis_url=url, store_timeout=DEADLINE), print))
        return made[-1]

    yield link
    for one in made:
        one.close()


def outcome(link: Link) -> tuple[float, Reply | StoreError]:
    """One call, how long it took, and how it ended."""
    began = time.monotonic()
    try:
        found: Reply | StoreError = link.sync_store().call(CALL)
    except StoreError as error:
        found = error
    return time.monotonic() - began, found


def asked_until(link: Link, true: Callable[[], bool], seconds: float = 60) -> bool:
    ends = time.monotonic() + seconds
    while not true() and time.monotonic() < ends:
        outcome(link)
        time.sleep(0.02)
    return true()


def test_blocking_code_waits_for_the_deadline_then_for_nothing_and_the_store_returns(
    fault: tuple[str, Fault], make: Callable[[str], Link]
) -> None:
    name, broken = fault
    link = make(broken.url)
    assert asked_until(link, lambda: not isinstance(outcome(link)[1], StoreError))
    broken.begin()
    for took, found in [outcome(link) for _ in range(4)]:
        assert isinstance(found, StoreError)
        assert isinstance(found, StoreFull) is (name == "full")
        assert PASSWORD not in str(found)
        assert took < 2 * DEADLINE + SLACK
    if name not in ANSWERING:
        assert asked_until(link, lambda: link.breaker.state == "open", 60)
        found = [str(outcome(link)[1]) for _ in range(100)]
        assert sum("not asked" in said for said in found) > 50  # the others were probes, which a slow machine has more of
    broken.end()
    assert asked_until(link, lambda: not link.notes.error)
    assert link.breaker.state == "closed"
    assert not isinstance(outcome(link)[1], StoreError)


def test_a_call_that_fails_alone_is_no_outage_for_blocking_code(redis_server: str, make: Callable[[str], Link]) -> None:
    link = make(redis_server)
    with pytest.raises(CallFailed):
        link.sync_store().call(Call("nonsense", (), ()))
    for _ in range(10):
        assert not isinstance(outcome(link)[1], StoreError)
    assert (link.notes.error, link.breaker.state, len(link.notes.complaints)) == ("", "closed", 1)
