"""How a command says that it cannot run."""

from __future__ import annotations

from typing import Final

import click

_EXTRAS: Final = {
    **dict.fromkeys(("sqlalchemy", "sqlmodel", "asyncpg", "aiosqlite", "alembic", "greenlet"), "audit"),
    **dict.fromkeys(("fastapi", "starlette"), "fastapi"),
    **dict.fromkeys(("flask", "werkzeug"), "flask"),
    "jwt": "pyjwt",
    "uvicorn": "demo",
}


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


def installing(module: str | None = None) -> str:
    """The line that installs the extra a module comes with, or every extra; empty where it comes with none."""
    extra = "all" if module is None else _EXTRAS.get(module.partition(".")[0], "")
    return f'pip install "lockwatch[{extra}]"' if extra else ""
