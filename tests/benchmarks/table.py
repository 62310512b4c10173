"""Tables of results, as plain text and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


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


def spread(values: Sequence[float], form: str = "{:.2f}") -> str:
    """The least and the greatest of `values`."""
    return f"{form.format(min(values))} to {form.format(max(values))}"


def middle(values: Sequence[float], form: str = "{:.2f}") -> str:
    """The median of `values`."""
    return form.format(median(values))


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = [
        cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join([first, *others]).rstrip()
