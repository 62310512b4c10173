"""What the commands on the audit database share: where it is, and errors as one line."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import click

from lockwatch.audit.address import EXAMPLES
from lockwatch.audit.connect import Database
from lockwatch.audit.drivers import is_of_a_database, lacks_tables, told_by
from lockwatch.commands.trouble import Unusable
from lockwatch.errors import LockwatchError

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
VARIABLE = "LOCKWATCH_DATABASE_URL"


def database(command: F) -> F:
    """Give a command `--database`, as its argument `url`."""
    found: F = click.option(
        "--database", "url", metavar="URL", help=f"The audit database; {VARIABLE} or the file named by {VARIABLE}_FILE by default."
    )(command)
    return found


def given_url(url: str | None) -> str:
    """The URL of the database a command is about. Raises: Unusable."""
    found = url or os.environ.get(VARIABLE) or _from_file()
    if not found:
        raise Unusable(f"no database: give --database or set {VARIABLE}, for example to {EXAMPLES}")
    return found


def database_of(url: str | None) -> Database:
    """The database a command is about. Raises: Unusable."""
    try:
        return Database.of(given_url(url))
    except LockwatchError as error:
        raise Unusable(str(error)) from None


def run(work: Coroutine[Any, Any, T]) -> T:
    """Do something with the database. Raises: Unusable, for what a user or a server can be the cause of."""
    try:
        return asyncio.run(work)
    except LockwatchError as error:
        raise Unusable(str(error)) from None
    except BrokenPipeError:  # who read our output has gone
        raise
    except OSError as error:
        raise Unusable(f"the database does not answer: {error.strerror or type(error).__name__}") from None
    except Exception as error:
        if not is_of_a_database(error):
            raise
        raise Unusable(_refused(told_by(error))) from None


def _refused(text: str) -> str:
    return f"the database refuses: {text}{'; run: lockwatch db upgrade' if lacks_tables(text) else ''}"


def _from_file() -> str | None:
    path = os.environ.get(f"{VARIABLE}_FILE")
    if not path:
        return None
    try:
        return Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise Unusable(f"{VARIABLE}_FILE names {path!r}, which cannot be read: {why}") from None
