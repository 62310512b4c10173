"""From the event to the check: what the recorder writes is what `verify` reads, wherever it was stored in between."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lockwatch.audit.block import Block
from lockwatch.audit.chain import link
from lockwatch.audit.formats import json_line, row_of
from lockwatch.audit.pack import packed, unpacked
from lockwatch.audit.redact import Redactor
from lockwatch.audit.writer import Writer
from lockwatch.event import APP, Event
from tests.audit.rows import NOW
from tests.audit.tampering import command, export, findings, store, summary

texts = st.text(max_size=30)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
optional = st.none() | texts
events = st.builds(
    Event,
    time_us=st.integers(NOW, NOW + 10**9),
    kind=st.just(APP),
    action=texts,
    user=optional,
    ip=optional,
    path=optional,
    query=optional,
    user_agent=optional,
    status=st.none() | st.integers(),
    latency_us=st.none() | st.integers(),
    count=st.integers(),
    anomaly=st.booleans(),
    decision=st.none() | st.just("limited"),
    reasons=st.lists(texts, max_size=3).map(tuple),
    details=st.dictionaries(texts, values, max_size=4),
)


def written(seen: list[Event]) -> Block:
    return Writer("00000000000000aa", Redactor((), None), random.Random(1).getrandbits).rows(seen)


def odd() -> list[Event]:
    """Events whose spelling something might change on the way."""
    details: list[dict[Any, Any]] = [
        {"b": 1, "a": {"z": 1.0, "y": 1e300, "x": 10**30}},
        {1: "number", "1": "text", "\u00e4": "\U0001f512", "": None},
        {"nul": "a\0b", "half": "\ud800", "quote": '"\\/', "inf": float("inf")},
        {"time": NOW, "nested": [[[[[[[[1]]]]]]]], "bytes": b"\xff"},
    ]
    addresses = ["2001:DB8::0001", "::ffff:192.0.2.1", "192.0.2.1", "unknown", "fe80::1%eth0", None]
    times = [NOW + 1, NOW + 999_999, NOW + 1_000_001]
    return [
        Event(
            time_us=times[i % 3] + i,
            kind=APP,
            action="odd",
            details=details[i % 4],
            ip=addresses[i % 6],
            user="" if i % 2 else None,
        )
        for i in range(24)
    ]


@settings(max_examples=50)
@given(st.lists(events, min_size=1, max_size=5))
def test_no_row_changes_on_its_way_through_spool_and_export(seen: list[Event]) -> None:
    block = written(seen)
    rows = block[:]
    assert block.body == Block.of(rows).body
    assert list(unpacked(packed(block))) == rows
    assert [row_of(json_line(row)) for row in rows] == rows


@settings(max_examples=50)
@given(st.lists(events, min_size=1, max_size=5))
def test_the_chain_of_a_row_is_that_of_its_encoding(seen: list[Event]) -> None:
    chain = b""
    for row in written(seen):
        assert row.chain == (chain := link(chain, row))


def test_what_was_written_is_what_is_checked(audit_url: str, tmp_path: Path) -> None:
    rows = written(odd())[:]
    store(audit_url, rows)
    result = command("verify", audit_url, "--json")
    assert (findings(result), summary(result)["rows"]) == ([], 24)
    out = str(tmp_path / "log.jsonl")
    assert command("export", "--database", audit_url, "--output", out).exit_code == 0
    result = command("verify", out, "--json")
    assert (findings(result), summary(result)["rows"]) == ([], 24)
    assert findings(command("verify", export(tmp_path / "own.jsonl", rows), "--json")) == []
