"""What was measured, in a file: one JSON object a line, so that a run that was stopped goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from tests.benchmarks.table import Report, Table
from tests.simulation.report import published

Record: TypeAlias = Mapping[str, Any]


def read(files: Iterable[Path]) -> list[Record]:
    """All records of files, those that are there."""
    return [json.loads(line) for file in files if file.exists() for line in file.read_text("utf-8").splitlines()]


def append(file: Path | None, record: Record) -> None:
    """Add one, where there is a file."""
    if file is not None:
        with file.open("a", encoding="utf-8") as opened:
            opened.write(json.dumps(record) + "\n")


def kept(name: str, report: Report) -> Record:
    """A finished report as a record."""
    tables = [{"title": table.title, "columns": table.columns, "rows": table.rows} for table in report.tables]
    return {"report": name, "facts": report.facts, "tables": tables}


def reports(records: Sequence[Record]) -> dict[str, Report]:
    """The finished reports among records, the last of each name."""
    return {record["report"]: _report(record) for record in records if "report" in record}


def publish(page: Path, found: Mapping[str, Report]) -> list[str]:
    """Put reports into the places a page has for them (``<!-- figures: NAME -->``). Returns: names it has no place for."""
    text, homeless = page.read_text("utf-8"), []
    for name, report in found.items():
        if f"<!-- figures: {name} -->" in text:
            text = published(text, name, figures(report))
        else:
            homeless.append(name)
    page.write_text(text, "utf-8")
    return homeless


def figures(report: Report) -> str:
    """A report as a page shows it: facts, then tables, whose titles are no headings."""
    tables = [table.markdown().partition("\n\n")[2] for table in report.tables]
    titled = [f"{table.title}:\n\n{text}" if table.title else text for table, text in zip(report.tables, tables, strict=True)]
    return "\n".join(["", *[f"- {fact}" for fact in report.facts], "", "\n\n".join(titled), ""])


def _report(record: Record) -> Report:
    tables = [Table(one["title"], tuple(one["columns"]), tuple(map(tuple, one["rows"]))) for one in record["tables"]]
    return Report(tuple(record["facts"]), tuple(tables))
