"""docs/tricky-cases.md: thirty cases, each held by tests that exist."""

from __future__ import annotations

import re

import pytest

from tests.migrating.test_comparison import functions
from tests.test_docs import table

ROWS = table("tricky-cases.md", "Tricky cases")


def test_there_are_thirty_cases() -> None:
    assert [row[0] for row in ROWS] == [str(number) for number in range(1, 31)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[1])
def test_every_case_is_held_by_tests_that_exist(row: list[str]) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row[3])
    assert row[3] == ", ".join(f"`{path}::{name}`" for path, name in named), "a cell names tests and nothing else"
    for path, name in named:
        assert name.startswith("test_")
        assert name in functions(path), f"{path} has no {name}"
