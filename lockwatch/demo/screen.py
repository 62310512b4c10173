"""What people read: plain text, with colours and a moving line on terminals that have them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from shutil import get_terminal_size
from typing import TextIO

import click

from lockwatch.demo.claims import Claim


class Screen:
    """The story on stdout, what happens meanwhile on stderr.

    Args:
        story: False leaves stdout to something else (JSON).
    """

    def __init__(self, story: bool = True) -> None:
        self._story = story
        self._moves = _is_terminal(sys.stderr)
        self._colours = _is_terminal(sys.stdout) and not os.environ.get("NO_COLOR")
        self._marks = ("✓", "✗") if _can_print("✓✗") else ("ok", "FAILED")
        self._width = 0

    def say(self, *lines: str) -> None:
        """Lines of the story."""
        self.clear()
        for line in lines if self._story else ():
            click.echo(line, color=self._colours)

    def title(self, text: str) -> None:
        """The beginning of a step."""
        self.say("", self._styled(text, bold=True))

    def claim(self, claim: Claim) -> None:
        """A claim and its mark; what was expected and seen, when it does not hold."""
        mark = self._styled(self._marks[0], fg="green") if claim.holds else self._styled(self._marks[1], fg="red")
        self.say(f"   {mark} {claim.text}")
        if not claim.holds:
            self.say(f"       expected: {claim.expected}", f"       seen:     {claim.seen}")

    def note(self, text: str) -> None:
        """A line beside the story."""
        self.clear()
        click.echo(text, err=True)

    def progress(self, text: str, passing: bool = False) -> None:
        """What happens now; the next output replaces it. Without a moving line it is a note, and nothing when `passing`."""
        if self._moves:
            self.clear()
            shown = f"   {text} "[: get_terminal_size().columns - 1]
            click.echo(shown, err=True, nl=False)
            self._width = len(shown)
        elif not passing:
            self.note(f"   {text}")

    def clear(self) -> None:
        """Erase the moving line."""
        if self._width:
            click.echo(f"\r{' ' * self._width}\r", err=True, nl=False)
            self._width = 0

    def _styled(self, text: str, fg: str | None = None, bold: bool | None = None) -> str:
        return click.style(text, fg=fg, bold=bold) if self._colours else text


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Columns as wide as they need to be: the first to the left, the others to the right."""
    cells = [list(head), *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "   " + "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
        for line in cells
    ]


def _cell(value: object) -> str:
    return "-" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _can_print(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
