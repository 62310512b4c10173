"""Queries: every filter, on both databases, against a filter of plain Python; cursors that miss and repeat nothing."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockwatch.audit import cursor
from lockwatch.audit.connect import Database
from lockwatch.audit.cursor import Place
from lockwatch.audit.entry import instant
from lockwatch.audit.query import AuditQuery
from lockwatch.audit.reading import Reader
from lockwatch.audit.row import Row
from lockwatch.audit.sinks import sink_of
from lockwatch.errors import ConfigurationError, CursorError
from tests.audit.rows import FULL, NOW, row
from tests.conftest import fresh_database

KEY = bytes(range(32))


def history() -> list[Row]:
    """Rows of all sorts; several of one instant."""
    chance = random.Random(7)
    found = [FULL]
    for i in range(300):
        refused = chance.random() < 0.2
        found.append(
            row(
                NOW + i // 3 * 1000,
                kind=chance.choice(["http", "auth", "app"]),
                action=chance.choice(["request", "login"]),
                outcome="refused" if refused else chance.choice(["success", "success", "failure"]),
                user_id=chance.choice([None, "user:1", "user:2", "USER:1"]),
                actor=chance.choice([None, "operator"]),
                target=chance.choice([None, "order 7"]),
                tenant=chance.choice([None, "acme"]),
                ip=chance.choice(["192.0.2.1", "2001:db8::1", None]),
                endpoint=chance.choice(["/a_b/1", "/aXb/1", "/100%/x", "/100x/x", "/\\/x"]),
                method=chance.choice(["GET", "POST"]),
                status_code=429 if refused else 200,
                request_id=f"r-{i}",
                rate_limit_hit=refused,
                anomaly_detected=chance.random() < 0.1,
            )
        )
    return found


HISTORY = history()
ORDERED = sorted(HISTORY, key=lambda r: (r.timestamp, r.id), reverse=True)


@pytest.fixture(scope="module", params=["postgres", "sqlite"])
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database of either kind with the history in it."""

    async def fill(url: str) -> None:
        sink = sink_of(url)
        await sink.write(HISTORY)
        await sink.aclose()

    if request.param == "sqlite":
        url = f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('queries')}/audit.db"
        asyncio.run(fill(url))
        yield url
        return
    with fresh_database(request.getfixturevalue("postgres_server")) as url:
        asyncio.run(fill(url))
        yield url


def ask(url: str, query: AuditQuery, oldest_first: bool = False) -> list[Row]:
    async def go() -> list[Row]:
        reader = Reader(Database.of(url), KEY)
        found = await reader.rows(query, oldest_first)
        await reader.aclose()
        return found

    return asyncio.run(go())


@pytest.mark.parametrize(
    ("filters", "meets"),
    [
        ({}, lambda r: True),
        ({"user_id": "user:1"}, lambda r: r.user_id == "user:1"),
        ({"ip": "192.0.2.1"}, lambda r: r.ip == "192.0.2.1"),
        ({"ip": "2001:DB8:0::1"}, lambda r: r.ip == "2001:db8::1"),
        ({"endpoint_prefix": "/a_b"}, lambda r: (r.endpoint or "").startswith("/a_b")),
        ({"endpoint_prefix": "/100%"}, lambda r: (r.endpoint or "").startswith("/100%")),
        ({"endpoint_prefix": "/\\"}, lambda r: (r.endpoint or "").startswith("/\\")),
        ({"endpoint_prefix": "/A"}, lambda r: (r.endpoint or "").startswith("/A")),
        ({"from_time": instant(NOW + 50_000)}, lambda r: r.timestamp >= NOW + 50_000),
        ({"to_time": instant(NOW + 50_000)}, lambda r: r.timestamp < NOW + 50_000),
        ({"anomalies_only": True}, lambda r: r.anomaly_detected),
        ({"rate_limit_hits_only": True}, lambda r: r.rate_limit_hit),
        ({"action": "login"}, lambda r: r.action == "login"),
        ({"actor": "operator"}, lambda r: r.actor == "operator"),
        ({"target": "order 7"}, lambda r: r.target == "order 7"),
        ({"outcome": "refused"}, lambda r: r.outcome == "refused"),
        ({"outcome": "success"}, lambda r: r.outcome == "success"),
        ({"request_id": "r-17"}, lambda r: r.request_id == "r-17"),
        ({"tenant": "acme"}, lambda r: r.tenant == "acme"),
        ({"kind": "auth"}, lambda r: r.kind == "auth"),
        ({"status_code": 429}, lambda r: r.status_code == 429),
        ({"campaign_id": "c-1"}, lambda r: r.campaign_id == "c-1"),
        (
            {"user_id": "user:2", "outcome": "failure", "method": "GET"},
            lambda r: r[7] == "user:2" and r[6] == "failure" and r[15] == "GET",
        ),
        ({"user_id": "' OR 1=1 --"}, lambda r: False),
    ],
    ids=lambda value: "rows" if callable(value) else str(value),
)
def test_a_filter_gives_what_it_says_newest_first(filled: str, filters: dict[str, Any], meets: Callable[[Row], bool]) -> None:
    expected = [r for r in ORDERED if meets(r)]
    assert ask(filled, AuditQuery(limit=1000, **filters)) == expected
    assert ask(filled, AuditQuery(limit=1000, **filters), oldest_first=True) == expected[::-1]


@pytest.mark.parametrize("size", [1, 2, 7, 100, 301, 1000])
def test_cursors_lead_through_everything_once(filled: str, size: int) -> None:
    async def go() -> None:
        reader = Reader(Database.of(filled), KEY)
        for query in (AuditQuery(), AuditQuery(rate_limit_hits_only=True)):
            expected = [r for r in ORDERED if r.rate_limit_hit or not query.rate_limit_hits_only]
            for oldest_first in (False, True):
                found = [r async for page in reader.pages(query, size, oldest_first) for r in page]
                assert found == (expected[::-1] if oldest_first else expected)
        await reader.aclose()

    asyncio.run(go())


def test_entries_have_cursors_and_offsets_lead_to_the_same(filled: str) -> None:
    async def go() -> None:
        reader = Reader(Database.of(filled), KEY)
        first = await reader.entries(AuditQuery(limit=10))
        then = await reader.entries(AuditQuery(limit=10, cursor=first[-1].cursor))
        assert await reader.entries(AuditQuery(limit=10, offset=10)) == then
        assert [e.id for e in first + then] == [r.id for r in ORDERED[:20]]
        [full] = await reader.entries(AuditQuery(campaign_id="c-1"))
        assert (full.latency_ms, full.latency_us, full.reasons) == (2**40 / 1000, 2**40, ("burst", "\u00e4"))
        assert full.timestamp == instant(FULL.timestamp)
        assert full.details["a"] == {"z": [1.5, None]}
        await reader.aclose()

    asyncio.run(go())


PLACES = st.builds(Place, st.integers(-(2**63), 2**63 - 1), st.uuids().map(str))


@given(PLACES, st.binary(max_size=32))
def test_a_cursor_gives_its_place_back(place: Place, key: bytes) -> None:
    text = cursor.encode(place, key)
    assert cursor.decode(text, key) == place
    assert len(text) == 50
    assert text.replace("-", "").replace("_", "").isalnum()


@given(PLACES, st.integers(0, 49), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"))
def test_a_changed_cursor_is_none(place: Place, position: int, character: str) -> None:
    text = cursor.encode(place, KEY)
    changed = text[:position] + character + text[position + 1 :]
    if position < 49 and changed != text:
        with pytest.raises(CursorError):
            cursor.decode(changed, KEY)
    with pytest.raises(CursorError):
        cursor.decode(text, KEY[::-1])


@given(st.text(max_size=100))
def test_what_is_no_cursor_is_an_error_of_its_own(text: str) -> None:
    with pytest.raises(CursorError) as caught:
        cursor.decode(text, KEY)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit": 0},
        {"limit": 10_001},
        {"limit": True},
        {"limit": "7"},
        {"offset": -1},
        {"from_time": datetime(2026, 11, 24)},  # noqa: DTZ001
        {"to_time": "yesterday"},
        {"user_id": "a\0b"},
        {"user_id": "\ud800"},
    ],
    ids=str,
)
def test_a_question_that_cannot_be_says_what_can(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="AuditQuery"):
        AuditQuery(**wrong)


def test_an_instant_may_be_in_any_zone(filled: str) -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    query = AuditQuery(from_time=instant(NOW + 50_000).astimezone(zone), limit=1000)
    assert ask(filled, query) == ask(filled, replace(query, from_time=instant(NOW + 50_000).astimezone(UTC)))
