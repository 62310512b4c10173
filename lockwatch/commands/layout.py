"""Tables whose cells have several lines, in any width: columns where they fit, else a paragraph for each row."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from textwrap import wrap
from typing import Final

_NARROWEST: Final = 20
_GAP: Final = "  "
_INDENT: Final = "  "


def width() -> int:
    """The columns there are: what COLUMNS says, else those of the terminal; 0, for any number, where none is written to."""
    told = os.environ.get("COLUMNS", "")
    if told.isascii() and told.isdigit() and int(told):
        return max(_NARROWEST, int(told))
    try:
        return max(_NARROWEST, os.get_terminal_size(sys.stdout.fileno()).columns)
    except (OSError, ValueError, AttributeError):
        return 0


def laid_out(head: Sequence[str], rows: Sequence[Sequence[str]], columns: int) -> list[str]:
    """Rows under their heads, none of their lines longer than `columns` unless a word is; 0 for any length."""
    widths = [max(len(line) for cell in column for line in cell.split("\n")) for column in zip(head, *rows, strict=True)]
    if columns and sum(widths) + len(_GAP) * (len(widths) - 1) > columns:
        return list(_paragraphs(head, rows, columns))
    return [line for row in (head, *rows) for line in _aligned(row, widths)]


def _aligned(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    for parts in zip_longest(*[cell.split("\n") for cell in row], fillvalue=""):
        yield _GAP.join(part.ljust(w) for part, w in zip(parts, widths, strict=True)).rstrip()


def _paragraphs(head: Sequence[str], rows: Sequence[Sequence[str]], columns: int) -> Iterator[str]:
    """The first two cells in a line, the others below, beside their heads."""
    label = max(map(len, head[2:]), default=0)
    for number, (first, second, *others) in enumerate(rows):
        if number:
            yield ""
        yield from _wrapped(f"{first} {second}", "", columns)
        for name, cell in zip(head[2:], others, strict=True):
            for place, line in enumerate(cell.split("\n") if cell not in ("", "-") else ()):
                yield from _wrapped(line, f"{_INDENT}{(name if place == 0 else '').ljust(label)} ", columns)


def _wrapped(text: str, indent: str, columns: int) -> list[str]:
    return wrap(
        text,
        columns,
        initial_indent=indent,
        subsequent_indent=" " * (len(indent) + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )
