"""Tables of results, as plain text and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles


@dataclass(frozen=True, slots=True)
class Table:
    """A titled table of text cells; the first column is aligned left, the others right."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def text(self) -> str:
        """The table for a terminal."""
        widths = [max(len(row[i]) for row in (self.columns, *self.rows)) for i in range(len(self.columns))]
        lines = [_aligned(row, widths) for row in (self.columns, *self.rows)]
        return "\n".join([self.title, lines[0], "-" * len(lines[0]), *lines[1:]])

    def markdown(self) -> str:
        """The table for a page of the documentation."""
        rule = ["---", *["---:"] * (len(self.columns) - 1)]
        rows = [self.columns, rule, *self.rows]
        return "\n".join([f"### {self.title}", "", *["| " + " | ".join(row) + " |" for row in rows]])


@dataclass(frozen=True, slots=True)
class Report:
    """A finished run: what it ran on, and what it found."""

    facts: tuple[str, ...]
    tables: tuple[Table, ...]

    def text(self) -> str:
        """For a terminal."""
        return "\n".join([*self.facts, "", *[f"{table.text()}\n" for table in self.tables]])

    def markdown(self) -> str:
        """For a page of the documentation."""
        return "\n".join([*[f"- {fact}" for fact in self.facts], "", *[f"{table.markdown()}\n" for table in self.tables]])


def spread(values: Sequence[float], form: str = "{:.2f}") -> str:
    """Between which values the middle half of `values` lies; of fewer than four, all of them."""
    low, high = (quantiles(values)[0], quantiles(values)[2]) if len(values) > 3 else (min(values), max(values))
    return f"{form.format(low)} to {form.format(high)}"


def middle(values: Sequence[float], form: str = "{:.2f}") -> str:
    """The median of `values`."""
    return form.format(median(values))


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = [
        cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join([first, *others]).rstrip()
