"""Opens the audit database: asyncpg for rows on their way in, SQLAlchemy for reading and migrating. Needs the extra ``audit``."""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
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


def check_installed(dialect: str) -> None:
    """Whether the extra is there, without importing it: that takes seconds. Raises: ConfigurationError."""
    for module in ("sqlmodel", "alembic", "asyncpg" if dialect == "postgresql" else "aiosqlite"):
        try:
            there = find_spec(module) is not None
        except ModuleNotFoundError:
            there = False
        if not there:
            raise ConfigurationError(f"the audit log needs {module}: {EXTRA}")


class Database:
    """An audit database, not opened yet.

    Args:
        address: where it is.
        host: an engine of the application that leads there, and knows how to log in. Its pool is not used: connections belong to
            the event loop that made them. None: the address is enough.
    """

    def __init__(self, address: Address, host: AsyncEngine | None = None) -> None:
        self.address = address
        self._host = host

    @classmethod
    def of(cls, option: str | Address | AsyncEngine) -> Database:
        """From a URL or an `AsyncEngine`. Raises: ConfigurationError."""
        if isinstance(option, Address):
            return cls(option)
        if isinstance(option, str):
            return cls(Address.of(option))
        driver = option.dialect.driver
        if driver == "aiosqlite":
            return cls(Address.of(f"sqlite+aiosqlite:///{option.url.database or ''}"))
        if driver != "asyncpg":
            raise ConfigurationError(
                f"audit= has an engine that connects with {driver}; a correct one is create_async_engine('postgresql+asyncpg://...')"
            )
        return cls(Address("postgresql", option.url.set(query={}, password=None).render_as_string()), option)

    @property
    def dialect(self) -> str:
        """``postgresql`` or ``sqlite``."""
        return self.address.dialect

    @property
    def shown(self) -> str:
        """Where it is, without a password."""
        return self.address.shown

    def engine(self, writes: bool = False) -> AsyncEngine:
        """An engine that connects when it is used, for one event loop. On SQLite, transactions of one that `writes` begin with the
        lock. Raises: ConfigurationError, when the extra is not installed.
        """
        if self.dialect == "postgresql":
            return self._postgres_engine()
        needed("aiosqlite")
        private_file(self.address.path)
        engine: AsyncEngine = _create()(f"sqlite+aiosqlite:///{self.address.path}")
        _teach_sqlite(engine, writes)
        return engine

    async def connect(self, command_timeout: float | None = None) -> asyncpg.Connection[Any]:
        """A connection of asyncpg's own, to Postgres. Raises: whatever asyncpg and the network raise."""
        if self._host is not None:
            proxy: Any = await self._postgres_engine().raw_connection()
            found: asyncpg.Connection[Any] = proxy.driver_connection
            proxy.detach()
            return found
        settings: dict[str, Any] = {"timeout": CONNECT_TIMEOUT, "command_timeout": command_timeout}
        if self.address.statement_cache_size is not None:
            settings["statement_cache_size"] = self.address.statement_cache_size
        connection: asyncpg.Connection[Any] = await needed("asyncpg").connect(self.address.dsn, **settings)
        return connection

    def _postgres_engine(self) -> AsyncEngine:
        needed("asyncpg")
        if self._host is not None:
            own: AsyncEngine = _create()(self._host.url, pool=self._host.sync_engine.pool.recreate())
            return own
        cached = self.address.statement_cache_size
        arguments = {} if cached is None else {"prepared_statement_cache_size": cached}
        engine: AsyncEngine = _create()("postgresql+asyncpg://", async_creator=self.connect, connect_args=arguments)
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


def _create() -> Any:
    return needed("sqlalchemy.ext.asyncio").create_async_engine


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
