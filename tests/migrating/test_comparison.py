"""docs/comparison.md: every cell of lockwatch leads to tests that exist."""

from __future__ import annotations

import ast
import re
from importlib.metadata import version

import pytest

from tests.test_docs import ROOT

TEXT = (ROOT / "docs" / "comparison.md").read_text("utf-8")
SUBJECTS: list[str] = re.findall(r"^## (.+)$", TEXT, re.MULTILINE)


def table(heading: str) -> list[list[str]]:
    """The cells below a heading, its first row aside."""
    below = re.split(rf"^#+ {re.escape(heading)}$", TEXT, flags=re.MULTILINE)[1]
    rows = re.split(r"^#+ ", below, flags=re.MULTILINE)[0].splitlines()
    return [[cell.strip() for cell in row[1:-1].split("|")] for row in rows if row.startswith("|")]


def functions(path: str) -> set[str]:
    """The names of the tests in a file."""
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_there_are_subjects() -> None:
    assert len(SUBJECTS) >= 6


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_row_is_complete(subject: str) -> None:
    head, _, *rows = table(subject)
    columns = [row[0] for row in table("Comparison")[2:]]
    assert head == ["Feature", "lockwatch", *columns]
    assert {len(row) for row in rows} == {len(head)}


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_cell_of_lockwatch_leads_to_tests_that_exist(subject: str) -> None:
    here = f"{subject} in lockwatch"
    anchor = here.lower().replace(" ", "-")
    held = {row[0]: re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row[2]) for row in table(here)[2:]}
    claimed = {row[0]: row[1] for row in table(subject)[2:] if row[1] != "no"}
    assert set(held) == set(claimed)
    for feature, cell in claimed.items():
        assert re.fullmatch(rf"\[.+\]\(#{anchor}\)", cell), f"{feature}: {cell} leads nowhere"
        assert held[feature], f"{feature} has no test"
        for path, name in held[feature]:
            assert name in functions(path), f"{feature}: {path} has no {name}"


@pytest.mark.parametrize("name", ["flask-limiter", "slowapi", "fastapi-limiter"])
def test_the_versions_are_those_we_run(name: str) -> None:
    assert re.search(rf"^\| [A-Z]+ \| {name} {re.escape(version(name))}\b", TEXT, re.MULTILINE | re.IGNORECASE)
