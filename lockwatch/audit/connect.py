"""Opens the audit database: asyncpg for rows on their way in, SQLAlchemy for reading and migrating. Needs the extra ``audit``."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from lockwatch.audit.address import Address
from lockwatch.errors import ConfigurationError

if TYPE_CHECKING:
    import asyncpg
    from sqlalchemy.ext.asyncio import AsyncEngine

CONNECT_TIMEOUT: Final = 10.0
BUSY_MS: Final = 5000
"""Milliseconds a connection to SQLite waits for the one that writes: with 50, four writers lost 3 of 800 batches."""
EXTRA: Final = 'pip install "lockwatch[audit]"'


def needed(module: str) -> Any:
    """A module of the extra. Raises: ConfigurationError, which says how to install it."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("lockwatch"):
            raise
        raise ConfigurationError(f"the audit log needs {error.name}: {EXTRA}") from error


async def connect_postgres(address: Address, command_timeout: float | None = None) -> asyncpg.Connection[Any]:
    """A connection of asyncpg's own. Raises: whatever asyncpg and the network raise."""
    settings: dict[str, Any] = {"timeout": CONNECT_TIMEOUT, "command_timeout": command_timeout}
    if address.statement_cache_size is not None:
        settings["statement_cache_size"] = address.statement_cache_size
    connection: asyncpg.Connection[Any] = await needed("asyncpg").connect(address.dsn, **settings)
    return connection


def engine_at(address: Address, writes: bool = False) -> AsyncEngine:
    """An engine that connects when it is used. On SQLite, one that `writes` takes the lock when a transaction begins.

    Raises: ConfigurationError, when the extra is not installed.
    """
    create: Any = needed("sqlalchemy.ext.asyncio").create_async_engine
    if address.dialect == "postgresql":
        needed("asyncpg")
        cache = {} if address.statement_cache_size is None else {"prepared_statement_cache_size": address.statement_cache_size}

        async def connect() -> asyncpg.Connection[Any]:
            return await connect_postgres(address)

        engine: AsyncEngine = create("postgresql+asyncpg://", async_creator=connect, connect_args=cache)
        return engine
    needed("aiosqlite")
    private_file(address.path)
    engine = create(f"sqlite+aiosqlite:///{address.path}")
    _teach_sqlite(engine, writes)
    return engine


def private_file(path: str) -> None:
    """Make the file of a database, for its owner alone, unless it exists: rows hold addresses and names."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        raise ConfigurationError(f"the audit log cannot be kept in {path!r}: {error.strerror}") from None


def pragmas(busy_ms: int = BUSY_MS) -> tuple[str, ...]:
    """What every connection to SQLite sets. `auto_vacuum` counts in a file that is still empty."""
    return (
        f"PRAGMA busy_timeout={busy_ms}",
        "PRAGMA auto_vacuum=INCREMENTAL",
        "PRAGMA journal_mode=WAL",
        "PRAGMA synchronous=NORMAL",
    )


def _teach_sqlite(engine: AsyncEngine, writes: bool) -> None:
    """Begin transactions ourselves, so that DDL is inside of them: the driver would begin one before the first change only."""
    event: Any = import_module("sqlalchemy.event")

    def opened(connection: Any, _: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in pragmas():
            cursor.execute(pragma)
        cursor.close()

    def begun(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    event.listen(engine.sync_engine, "connect", opened)
    event.listen(engine.sync_engine, "begin", begun)
