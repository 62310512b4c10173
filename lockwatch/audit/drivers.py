"""Errors of databases, told from bugs of ours. Nothing of a driver is imported. Pure."""

from __future__ import annotations

from typing import Final

_DRIVERS: Final = ("asyncpg", "sqlalchemy", "sqlite3", "aiosqlite", "alembic")


def is_of_a_database(error: BaseException) -> bool:
    """Whether a database, or the way to it, is what failed."""
    return isinstance(error, OSError) or type(error).__module__.startswith(_DRIVERS)


def told_by(error: BaseException) -> str:
    """The first line of what the driver said, without what SQLAlchemy puts around it."""
    cause = getattr(error, "orig", None) or error
    return str(cause).strip().partition("\n")[0].rpartition(">: ")[2] or type(cause).__name__


def lacks_tables(text: str) -> bool:
    """Whether what a driver said is that there are no tables."""
    return "does not exist" in text or "no such table" in text
