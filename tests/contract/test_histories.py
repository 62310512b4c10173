"""Whole histories of every algorithm: all stores answer alike, and what must always hold does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

import pytest
import redis
from hypothesis import given, note, settings
from hypothesis import strategies as st

from lockwatch.errors import StoreError
from lockwatch.flow import Call, Reply
from lockwatch.stores.connect import address_of
from lockwatch.stores.redis_sync import RedisStore
from tests.contract.bench import COUNTER, FIXED, GCRA, NAMES, PATIENT, SET, WINDOW, Line, fake, held_by
from tests.contract.histories import BACK, FORWARD, KEYS, QUOTAS, SPANS, History, Step, most

EVERY = pytest.mark.parametrize("algorithm", range(6), ids=NAMES)
QUIET = {"deadline": None, "database": None}
ALL = tuple([name for key in KEYS for name in (key, held_by(key))])


def steps(text: bytes) -> list[Step]:
    """Seven bytes become a step."""
    return [Step(*part) for part in zip(*[iter(text)] * 7, strict=False)]


HISTORIES = st.binary(min_size=70, max_size=210).map(steps)


@pytest.fixture
def line(redis_server: str) -> Iterator[Line]:
    made = Line(redis_server)
    yield made
    made.close()


def on_redis(line: Line, calls: Sequence[Call]) -> list[Reply]:
    replies = line.call([Call("reset", ALL, ()), *calls])[1:]
    return [compared(call, reply) for call, reply in zip(calls, replies, strict=True)]


def compared(call: Call, reply: Reply | StoreError) -> Reply:
    assert not isinstance(reply, StoreError), (call, reply)
    return list(reply) if call.script != "reset" else []


def tell(history: History, found: Sequence[Reply]) -> None:
    for call, here, there in zip(history.calls, history.replies, found, strict=True):
        note(f"{'  ' if here == there else '! '}{call.script} {call.keys} {call.args} -> {here} {there if here != there else ''}")


@EVERY
@settings(max_examples=150, **QUIET)
@given(HISTORIES)
def test_memory_and_redis_agree(redis_server: str, line: Line, algorithm: int, found: list[Step]) -> None:
    history = History(algorithm)
    history.play(found)
    replies = on_redis(line, history.calls)
    tell(history, replies)
    assert replies == history.replies
    with redis.Redis.from_url(redis_server) as client:
        assert all(client.pttl(key) > 0 for key in client.scan_iter())


@EVERY
@settings(max_examples=120, **QUIET)
@given(HISTORIES)
def test_memory_and_redis_agree_whatever_clock_and_limits_do(line: Line, algorithm: int, found: list[Step]) -> None:
    history = History(algorithm, (*FORWARD, *BACK), changing=True)
    history.play(found)
    replies = on_redis(line, history.calls)
    tell(history, replies)
    assert replies == history.replies


@EVERY
@settings(max_examples=6, **QUIET)
@given(HISTORIES)
def test_fakeredis_agrees(algorithm: int, found: list[Step]) -> None:
    history = History(algorithm, (*FORWARD, *BACK), changing=True)
    history.play(found)
    store = RedisStore(address_of(fake("FakeRedis")), PATIENT)
    replies = [compared(call, store.call(call)) for call in history.calls]
    store.close()
    tell(history, replies)
    assert replies == history.replies


@pytest.mark.parametrize("algorithm", [WINDOW, SET], ids=["sliding-window", "sorted-set"])
@settings(max_examples=300, **QUIET)
@given(HISTORIES)
def test_no_window_of_any_position_holds_more_than_the_quota(algorithm: int, found: list[Step]) -> None:
    history = History(algorithm)
    history.play(found)
    for key, span, quota in zip(KEYS, SPANS, QUOTAS, strict=True):
        assert most(history.final(key), span) <= quota


@pytest.mark.parametrize("algorithm", [COUNTER, FIXED], ids=["sliding-counter", "fixed-window"])
@settings(max_examples=200, **QUIET)
@given(HISTORIES)
def test_no_window_holds_more_than_twice_the_quota(algorithm: int, found: list[Step]) -> None:
    history = History(algorithm)
    history.play(found)
    for key, span, quota in zip(KEYS[:2], SPANS, QUOTAS, strict=False):
        assert most(history.final(key), span) <= 2 * quota


@settings(max_examples=200, **QUIET)
@given(HISTORIES)
def test_a_token_bucket_admits_its_burst_and_what_is_refilled(found: list[Step]) -> None:
    history = History(GCRA)
    history.play([step._replace(what=0, flags=0) for step in found])
    for key, span, quota in zip(KEYS[:2], SPANS, QUOTAS, strict=False):
        log = history.final(key)
        for i, (first, _) in enumerate(log):
            for j in range(i, len(log)):
                elapsed = log[j][0] - first
                assert sum(cost for _, cost in log[i : j + 1]) <= quota + Fraction(quota * elapsed, span)
