"""Run by Alembic for every command on the audit log.

The database is the connection or the address that `lockwatch.audit.upgrades` hands over, else `LOCKWATCH_DATABASE_URL`. Tables of
the application that uses the same database are neither compared nor touched.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import sqlalchemy as sa
from alembic import context

from lockwatch.audit import models
from lockwatch.audit.address import EXAMPLES, Address
from lockwatch.audit.connect import Database
from lockwatch.audit.upgrades import VERSION_TABLE
from lockwatch.errors import ConfigurationError


def ours(name: str | None, kind: str, parents: Any) -> bool:
    """Whether autogenerate may look at this: tables of the audit log, without the partitions, which no migration knows."""
    return kind != "table" or name in models.Base.metadata.tables


def migrate(connection: sa.Connection | None, /, **settings: Any) -> None:
    """Run what was asked for, in the transaction of a connection or as a script. One process at a time: the others find it done."""
    if connection is not None and connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(5501737)")
    context.configure(
        connection=connection,
        target_metadata=models.Base.metadata,
        version_table=VERSION_TABLE,
        include_name=ours,
        compare_type=True,
        **settings,
    )
    with context.begin_transaction():
        context.run_migrations()


async def connected(address: Address) -> None:
    """Open the database, migrate, and close it."""
    engine = Database(address).engine(writes=True)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(migrate)
            await connection.commit()
    finally:
        await engine.dispose()


def address() -> Address:
    """Raises: ConfigurationError."""
    given = context.config.attributes.get("address")
    if isinstance(given, Address):
        return given
    url = os.environ.get("LOCKWATCH_DATABASE_URL")
    if not url:
        raise ConfigurationError(f"no database: set LOCKWATCH_DATABASE_URL, for example to {EXAMPLES}")
    return Address.of(url)


def main() -> None:
    """Migrate where we were told to."""
    handed_over = context.config.attributes.get("connection")
    if context.is_offline_mode():
        migrate(None, dialect_name=address().dialect, literal_binds=True)
    elif handed_over is not None:
        migrate(handed_over)
    else:
        asyncio.run(connected(address()))


main()
