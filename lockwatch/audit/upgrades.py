"""Brings the tables of the audit log to the revision this release knows, and back. Alembic is loaded when it is needed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from lockwatch import native
from lockwatch.audit.address import Address
from lockwatch.audit.connect import Database, needed

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

HEAD: Final = "0001"
"""The newest revision."""
VERSION_TABLE: Final = "lockwatch_alembic_version"
"""Where the revision of the tables stands."""
_ALEMBIC: Final = native.lock()
"""Alembic keeps what it is doing in its modules: one migration at a time in a process."""


def configuration(address: Address | None = None, connection: Connection | None = None) -> Config:
    """How Alembic finds our migrations, wherever lockwatch is installed."""
    config: Config = needed("alembic.config").Config()
    config.set_main_option("script_location", "lockwatch:audit/migrations")
    config.set_main_option("path_separator", "os")
    config.attributes.update(address=address, connection=connection)
    return config


async def upgrade(database: Database, revision: str = "head") -> None:
    """Bring the tables to a revision. Processes that do so at once wait for each other; the first one does it.

    Raises: ConfigurationError, alembic.util.CommandError for a revision there is not.
    """
    if revision == "head" and await current(database) == HEAD:
        return
    await _run(database, partial(_command, "upgrade", revision))


async def upgrade_aside(database: Database) -> None:
    """`upgrade` in a thread of its own: SQLAlchemy and Alembic may take seconds to import, and rows wait to be spooled."""
    if native.patched():
        await upgrade(database)
    else:
        await asyncio.to_thread(lambda: asyncio.run(upgrade(database)))


async def downgrade(database: Database, revision: str) -> None:
    """Take the tables back. Below ``0001`` they are gone, with every row."""
    await _run(database, partial(_command, "downgrade", revision))


async def current(database: Database) -> str | None:
    """The revision the tables are at; None when there are none."""
    engine = database.engine()
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(_revision)
    finally:
        await engine.dispose()


def script(database: Database, revision: str = "head") -> None:
    """Print the SQL of an upgrade from nothing, for who may not connect."""
    needed("alembic.command").upgrade(configuration(database.address), revision, sql=True)


async def _run(database: Database, work: Callable[[Connection], Any]) -> None:
    for module in ("alembic.command", "lockwatch.audit.models"):  # nobody waits for a lock meanwhile
        needed(module)
    engine = database.engine(writes=True)
    while not _ALEMBIC.acquire(blocking=False):  # noqa: ASYNC110 - another thread holds it, or a task of this loop
        await asyncio.sleep(0.01)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(work)
    finally:
        _ALEMBIC.release()
        await engine.dispose()


def _command(name: str, revision: str, connection: Connection) -> None:
    getattr(needed("alembic.command"), name)(configuration(connection=connection), revision)


def _revision(connection: Connection) -> str | None:
    if not needed("sqlalchemy").inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.exec_driver_sql(f"SELECT max(version_num) FROM {VERSION_TABLE}").scalar()  # noqa: S608
    return found
