"""Completion in bash, with names that have spaces: a route is `GET /items`, and has to be one word where it is typed."""

from __future__ import annotations

import os
import re
import shlex
from typing import Final

from click.shell_completion import BashComplete, CompletionItem

_PLAIN: Final = re.compile(r"[\w@%+=:,./~-]*")


class Bash(BashComplete):
    """Quotes what bash would take for more than one word, unless the user has begun to."""

    def format_completion(self, item: CompletionItem) -> str:
        """One line of the answer."""
        if item.type == "plain" and not _PLAIN.fullmatch(item.value) and not _is_quoted():
            item = CompletionItem(shlex.quote(item.value))
        return super().format_completion(item)


def _is_quoted() -> bool:
    """Whether the word that is completed begins with a quote."""
    words, place = os.environ.get("COMP_WORDS", "").split("\n"), os.environ.get("COMP_CWORD", "")
    return place.isdigit() and int(place) < len(words) and words[int(place)].startswith(("'", '"'))
