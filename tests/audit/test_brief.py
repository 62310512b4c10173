"""The short way to an encoding leads to the same bytes as the long one, whatever the event, and however often."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lockwatch.audit import brief
from lockwatch.audit.block import Block
from lockwatch.audit.redact import Redactor
from lockwatch.audit.writer import Writer
from lockwatch.event import APP, HTTP, KINDS, Event
from tests.audit.rows import NOW

HASHING = b"k" * 32
TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl"
ODD = ["", "a", "/items/7", "/items/{id}", "x" * 129, "x" * 2049, "a\0b", "\ud800", "\u00e4", f"/{TOKEN}"]
texts = st.sampled_from(ODD) | st.text(max_size=20)
optional = st.none() | texts
numbers = st.none() | st.integers(0, 599) | st.integers()
events = st.builds(
    Event,
    time_us=st.integers(NOW, NOW + 10**6),
    kind=st.sampled_from(KINDS),
    action=texts,
    outcome=texts,
    ip=optional,
    ip_source=st.sampled_from(["peer", "proxy"]),
    peer=optional,
    method=optional,
    route=optional,
    path=optional,
    query=optional,
    status=numbers,
    latency_us=numbers,
    bytes_sent=numbers,
    user_agent=optional,
    request_id=optional,
    trace_id=optional,
    user=optional,
    actor=optional,
    session=optional,
    target=optional,
    tenant=optional,
    decision=st.none() | st.sampled_from(["allowed", "limited"]),
    policies=st.lists(texts, max_size=2).map(tuple),
    anomaly=st.booleans(),
    campaign=optional,
    reasons=st.lists(texts, max_size=2).map(tuple),
    details=st.sampled_from([{}, {"key": "value"}]),
    count=st.just(1) | st.integers(),
)


def usual(**values: Any) -> Event:
    """What the short way is for."""
    path = values.pop("path", "/items/7")
    known: dict[str, Any] = {"ip": "192.0.2.1", "peer": "192.0.2.1", "method": "GET", "route": "/items/{id}", "path": path}
    known |= {"status": 200, "latency_us": 900, "bytes_sent": 12, "user_agent": "curl/8", "request_id": "r1"}
    return Event(time_us=NOW, kind=HTTP, action="request", **(known | values))


def written(seen: list[Event], keeps: bool, hashing: bytes | None = None, headers: frozenset[bytes] = frozenset()) -> Block:
    return Writer("00000000000000aa", Redactor((), hashing), random.Random(1).getrandbits, headers, keeps).rows(seen)


@settings(max_examples=300)
@example([usual()], None)
@example([usual(user="ann", session="s", tenant="t", query="a=1&token=2", trace_id="0" * 32)] * 2, HASHING)
@example([usual(decision="limited", policies=("default",), status=429), usual(path="/items/{id}"), usual(count=7)], None)
@example([usual(user="x" * 257), usual(user="\u00e4"), usual(path=None, route=None), usual(count=2**63)], HASHING)
@given(st.lists(events, min_size=1, max_size=4), st.sampled_from([None, HASHING]))
def test_both_ways_lead_to_the_same_bytes(seen: list[Event], hashing: bytes | None) -> None:
    short, long = written(seen, False, hashing), written(seen, True, hashing)
    assert short.body == long.body
    assert list(short) == list(long)
    assert short.span == long.span == Block.of(list(long)).span


@pytest.mark.parametrize(
    "event",
    [usual(), usual(path="/items/{id}"), usual(decision="limited", policies=("default",), count=3)],
    ids=["usual", "one path", "limited"],
)
def test_a_usual_event_takes_the_short_way(event: Event) -> None:
    shortcut = brief.Brief("00000000000000aa", Redactor())
    assert shortcut.part(bytes(32), event, 1, NOW, 0x7000, 1 << 63) is not None


@pytest.mark.parametrize(
    "event",
    [
        usual(path="/\u00e4"),
        usual(user_agent="a\0"),
        usual(status=None),
        usual(user="x" * 257),
        Event(NOW, APP, "login", user="ann"),
    ],
)
def test_an_unusual_event_takes_the_long_way(event: Event) -> None:
    shortcut = brief.Brief("00000000000000aa", Redactor())
    assert shortcut.part(bytes(32), event, 1, NOW, 0x7000, 1 << 63) is None
    assert len(written([event], False)) == 1


def test_what_is_remembered_is_bounded() -> None:
    known = brief.Remembered(("user_agent",))
    sizes = []
    for number in range(3 * brief.MOST):
        assert known[(f"agent {number}",)] is not None
        sizes.append(len(known))
    assert max(sizes) == brief.MOST


def test_what_is_long_is_not_remembered() -> None:
    hashed = brief.Remembered(("user_id",), lambda user: ("h:0",))
    assert hashed[("x" * (brief.LONGEST + 1),)] == hashed[("x",)]
    assert list(hashed) == [("x",)]
    cut = brief.Remembered(("user_id",))
    assert cut[("x" * 257,)] is None
    assert not cut
