"""A row as text: nothing is lost as JSON, nothing is run as CSV, and ECS says what others understand."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockwatch.audit import formats
from lockwatch.audit.row import COLUMNS, Row
from tests.audit.rows import FULL, row

TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS, lambda v: st.lists(v) | st.dictionaries(TEXTS, v), max_leaves=8
)
JSON = VALUES.map(lambda value: json.dumps({"value": value}, separators=(",", ":"), ensure_ascii=False))
ROWS = st.builds(
    row,
    st.integers(10**15, 4 * 10**15),
    user_id=st.none() | TEXTS,
    endpoint=st.none() | TEXTS,
    details=st.none() | JSON,
    status_code=st.none() | st.integers(0, 999),
    rate_limit_hit=st.booleans(),
    chain=st.binary(max_size=32),
)


@given(ROWS)
def test_a_json_line_is_one_line_and_gives_the_row_back(given: Row) -> None:
    line = formats.json_line(given)
    assert "\n" not in line
    assert formats.row_of(line) == given


def test_a_full_row_is_json_in_full() -> None:
    assert formats.row_of(formats.json_line(FULL)) == FULL
    assert set(json.loads(formats.json_line(FULL))) == set(COLUMNS)


@pytest.mark.parametrize("line", ["", "7", "{}", '{"timestamp":7}', "[]", '{"timestamp":"2026-11-24T09:30:00Z","nonsense":1}'])
def test_a_line_that_is_no_row_is_a_value_error(line: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        formats.row_of(line)


@given(ROWS)
def test_csv_is_read_again_and_holds_no_formula(given: Row) -> None:
    head, cells = csv.reader(io.StringIO(formats.csv_head() + formats.csv_row(given), newline=""))
    assert tuple(head) == COLUMNS
    found = dict(zip(head, cells, strict=True))
    for name, cell in found.items():
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
        value = getattr(given, name)
        if isinstance(value, str) and name != "timestamp":
            assert cell.removeprefix("'") == value.removeprefix("'")


@pytest.mark.parametrize("evil", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_what_a_spreadsheet_would_run_is_text(evil: str) -> None:
    [cells] = csv.reader(io.StringIO(formats.csv_row(row(user_agent=evil)), newline=""))
    assert cells[COLUMNS.index("user_agent")] == f"'{evil}"


def test_ecs_has_the_fields_others_look_for() -> None:
    event = json.loads(formats.ecs(FULL))
    assert event["@timestamp"] == "2026-11-24T09:30:00.123456Z"
    assert event["event"]["outcome"] == "success"
    assert event["source"] == {"ip": "2001:db8::1"}
    assert event["user"] == {"id": "user:42"}
    assert event["http"]["response"]["status_code"] == 429
    assert event["event"]["duration"] == FULL.latency_us * 1000 if FULL.latency_us else False
    assert event["lockwatch"]["details"]["b"] == 1
    refused = json.loads(formats.ecs(row(outcome="refused")))
    assert refused["event"]["outcome"] == "failure"
    assert refused["event"]["type"] == ["denied", "access"]
