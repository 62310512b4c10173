"""The hash chain binds every field of every row."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lockwatch.audit.block import Block
from lockwatch.audit.chain import START, encoding, link
from lockwatch.audit.encoding import ORDER, Unencodable, named
from lockwatch.audit.row import COLUMNS, Row
from tests.audit.rows import FULL

NUMBERS = ("timestamp", "seq", "count", "schema_v")
MAYBE = ("latency_us", "bytes_sent")
FLAGS = ("rate_limit_hit", "anomaly_detected")
BOUND = ("id", "process", "kind", "action", "outcome")
whole = st.integers(-(2**63), 2**63 - 1)
words = st.text(max_size=12) | st.sampled_from(["", "0", "None", "-1", "\n", " 1"])


CHOICES: dict[str, st.SearchStrategy[Any]] = (
    dict.fromkeys(COLUMNS, st.none() | words)
    | dict.fromkeys(NUMBERS, whole)
    | dict.fromkeys(MAYBE, st.none() | whole)
    | dict.fromkeys(FLAGS, st.booleans())
    | dict.fromkeys(BOUND, words)
    | {
        "status_code": st.none() | st.integers(-(2**31), 2**31 - 1) | whole,
        "id": st.uuids().map(str) | words,
        "chain": st.binary(max_size=32),
    }
)


def values(name: str) -> st.SearchStrategy[Any]:
    return CHOICES[name]


rows = st.builds(Row, **{name: values(name) for name in COLUMNS})
changes = st.sampled_from([name for name in COLUMNS if name != "chain"]).flatmap(
    lambda name: st.tuples(st.just(name), values(name))
)
previous = st.binary(min_size=32, max_size=32)


@given(rows, changes, previous)
def test_any_change_of_any_field_changes_the_link(row: Row, change: tuple[str, Any], before: bytes) -> None:
    name, value = change
    assume(getattr(row, name) != value)
    assert link(before, row) != link(before, row._replace(**{name: value}))


@given(rows, rows)
def test_different_rows_have_different_encodings(one: Row, other: Row) -> None:
    assert (encoding(one) == encoding(other)) == (one[:-1] == other[:-1])


@given(rows, st.data())
def test_no_text_can_pass_for_its_neighbour(row: Row, data: st.DataObject) -> None:
    """A character moved from one text to another is another row."""
    texts = [name for name in COLUMNS if isinstance(getattr(row, name), str)]
    giver = data.draw(st.sampled_from([name for name in texts if getattr(row, name)] or [None]))
    assume(giver is not None)
    taker = data.draw(st.sampled_from([name for name in texts if name != giver]))
    text: str = getattr(row, str(giver))
    moved = row._replace(**{str(giver): text[:-1], taker: text[-1] + getattr(row, taker)})
    assert encoding(moved) != encoding(row)


@given(rows, previous, previous)
def test_the_row_before_counts(row: Row, one: bytes, other: bytes) -> None:
    assert (link(one, row) == link(other, row)) == (one == other)


def test_the_first_row_follows_zeros() -> None:
    assert link(b"", Row(1, "i", "p", 1, "http", "a", "o")) == link(START, Row(1, "i", "p", 1, "http", "a", "o"))


@given(rows)
def test_a_row_from_sqlite_has_the_encoding_it_was_written_with(row: Row) -> None:
    read = row._replace(rate_limit_hit=int(row.rate_limit_hit), anomaly_detected=int(row.anomaly_detected))
    assert encoding(read) == encoding(row)


def test_the_encoding_is_what_the_documentation_says() -> None:
    row = Row(
        1_795_512_600_000_001,
        "01a20ce4-1560-7000-8002-9aaaaaaaa814",
        "00000000000000aa",
        3,
        "http",
        "request",
        "success",
        user_id="\u00e4",
        query="",
        status_code=200,
        rate_limit_hit=True,
        details="{}",
    )
    numbers = [
        (1_795_512_600_000_001 - 946_684_800_000_000).to_bytes(8, "big"),
        bytes.fromhex("01a20ce41560700080029aaaaaaaa814"),
        (3).to_bytes(8, "big"),
        (1).to_bytes(4, "big"),
        b"\x01",
        b"\x00",
        (1).to_bytes(8, "big"),
        (200).to_bytes(4, "big"),
        None,
        None,
    ]
    texts = [b"00000000000000aa", b"http", b"request", b"success", "\u00e4".encode(), *[None] * 6, b"", *[None] * 12, b"{}"]
    fields = [b"\xff\xff\xff\xff" if f is None else len(f).to_bytes(4, "big") + f for f in (*numbers, *texts)]
    assert encoding(row) == b"\x00\x24" + b"".join(fields)


@given(rows)
def test_a_row_is_read_from_the_bytes_postgres_takes(row: Row) -> None:
    try:
        body = Block.of([row, row]).body
    except Unencodable:
        assert encoding(row).startswith(b"?")
    else:
        assert list(Block(2, None, body)) == [row, row]
        assert named(body, ORDER) == [row, row]


@given(st.data())
def test_a_row_that_ends_too_early_is_no_row(data: st.DataObject) -> None:
    body = Block.of([FULL]).body
    cut = body[: data.draw(st.integers(1, len(body) - 1))]
    for read in (lambda: list(Block(1, None, cut)), lambda: named(cut, ORDER)):
        with pytest.raises(ValueError):  # noqa: PT011 - a UnicodeDecodeError too
            read()
