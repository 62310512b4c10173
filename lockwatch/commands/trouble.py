"""How a command says that it cannot run."""

from __future__ import annotations

import click


class Unusable(click.ClickException):
    """The command cannot run as asked: one line, exit status 2."""

    exit_code = 2
