"""The hash chain binds every field of every row."""

from __future__ import annotations

from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from lockwatch.audit.chain import START, encoding, link
from lockwatch.audit.row import COLUMNS, Row

NUMBERS = ("timestamp", "seq", "count", "schema_v")
MAYBE = ("status_code", "latency_us", "bytes_sent")
FLAGS = ("rate_limit_hit", "anomaly_detected")
BOUND = ("id", "process", "kind", "action", "outcome")
whole = st.integers(-(2**63), 2**63 - 1)
words = st.text(max_size=12) | st.sampled_from(["", "0", "None", "-1", "\n", " 1"])


def values(name: str) -> st.SearchStrategy[Any]:
    if name in NUMBERS:
        return whole
    if name in MAYBE:
        return st.none() | whole
    if name in FLAGS:
        return st.booleans()
    if name == "chain":
        return st.binary(max_size=32)
    return words if name in BOUND else st.none() | words


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
    row = Row(1_795_512_600_000_001, "i", "pp", 3, "http", "request", "success", user_id="\u00e4", query="", rate_limit_hit=True)
    head, _, rest = encoding(row).partition(b"\n")
    assert head == b"lockwatch-row-1 1795512600000001 3 1 0 1 1 None None None"
    lengths = [int.from_bytes(rest[i : i + 4], "big", signed=True) for i in range(0, 104, 4)]
    assert lengths[:6] == [1, 2, 4, 7, 7, 1]
    assert sorted(lengths[6:]) == [-1] * 19 + [0]
    assert rest[104:] == "ipphttprequestsuccess\u00e4".encode()
