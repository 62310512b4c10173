"""``plot``: all pictures that files of records have the figures for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.benchmarks import curves
from tests.benchmarks.records import Record, reports
from tests.benchmarks.table import Report
from tests.svg import Bar, bars

TITLES: Final = {
    "requests": "Requests per second of a FastAPI route, to those of the bare application",
    "flask": "Requests per second of a Flask route, to those of the bare application",
}
LARGEST: Final = 60_000
"""Bytes that no picture is larger than."""


def write(records: Sequence[Record], folder: Path) -> list[Path]:
    """Write the pictures. Returns: their files."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = reports(records)
    drawn = {f"{name}.svg": _against_bare(title, kept[name]) for name, title in TITLES.items() if name in kept}
    written = []
    for name, picture in (drawn | curves.pictures(records)).items():
        if len(picture.encode()) > LARGEST:
            raise ValueError(f"{name} is {len(picture.encode()):,} bytes large")
        (folder / name).write_text(picture, "utf-8")
        written.append(folder / name)
    return written


def _against_bare(title: str, report: Report) -> str:
    """The column ``of bare`` of a table of `throughput`, with its middle half."""
    table = report.tables[0]
    ratio, half = table.columns.index("of bare"), table.columns.index("middle half")
    spans = [row[half].partition(" to ") for row in table.rows]
    found = [Bar(row[0], float(row[ratio]), float(low), float(high)) for row, (low, _, high) in zip(table.rows, spans, strict=True)]
    return bars(title, "of the bare application", found)
