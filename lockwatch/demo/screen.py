"""What people read: plain text, colours and a moving line on a terminal that can show them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import click

from lockwatch.demo.claims import Claim


class Screen(Protocol):
    """Where a story is told."""

    def say(self, text: str = "") -> None:
        """A line of the story."""

    def progress(self, text: str) -> None:
        """What happens now; the next progress or line replaces it."""

    def claim(self, claim: Claim) -> None:
        """A checked claim."""


class Terminal:
    """The story on stdout, progress on stderr: moving where that is a terminal, otherwise once per message."""

    def __init__(self) -> None:
        self._moving = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._colours = sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")
        self._shown = 0
        self._marks = ("\u2713", "\u2717") if _can_print("\u2713\u2717") else ("ok", "FAILED")
