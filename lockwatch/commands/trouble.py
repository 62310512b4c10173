"""How a command says that it cannot run."""

from __future__ import annotations

import click


class Unusable(click.ClickException):
    """The command cannot run as asked: one line, exit status 2."""

    exit_code = 2


class Misconfigured(Unusable):
    """An application cannot be made, because its settings are wrong.

    Args:
        message: the line that is printed.
        where: file and line.
        what: what is wrong, and what a correct setting looks like.
    """

    def __init__(self, message: str, where: str, what: str) -> None:
        super().__init__(message)
        self.where, self.what = where, what
