"""Where rows of the audit log go: a database, JSON lines, a function. A sink is for one event loop, and for one batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from lockwatch.audit.row import Row
from lockwatch.errors import ConfigurationError

EXAMPLE: Final = "'postgresql+asyncpg://user:password@localhost/audit', 'sqlite+aiosqlite:///audit.db', 'stdout:' or a function"


class Sink(Protocol):
    """Takes rows. Each acknowledges for itself."""

    @property
    def name(self) -> str:
        """For logs and health; without a password."""

    async def write(self, rows: Sequence[Row]) -> None:
        """Deliver all rows, also those it has already; a row nobody can store is parked. Raises: SinkError."""

    async def aclose(self) -> None:
        """Let go of what is open. A later `write` opens it again."""


def sink_of(option: Any, migrate: bool = True) -> Sink:
    """The sink for an option: a URL, an `AsyncEngine`, a function (sync or async) of a list of `AuditLogEntry`, or a sink.

    With `migrate`, missing tables are made when the sink is first used. Raises: ConfigurationError.
    """
    if isinstance(option, str):
        return _named(option, migrate)
    if hasattr(option, "sync_engine"):
        return _database(option, migrate)
    if hasattr(option, "write") and hasattr(option, "aclose"):
        sink: Sink = option
        return sink
    if callable(option):
        return _function(option)
    raise ConfigurationError(f"audit_sinks has a {type(option).__name__}; correct ones are {EXAMPLE}")


def _named(url: str, migrate: bool) -> Sink:
    if url != "stdout:":
        return _database(url, migrate)
    from lockwatch.audit.sinks.stdout import Stdout

    return Stdout()


def _database(option: Any, migrate: bool) -> Sink:
    from lockwatch.audit.connect import Database, check_installed

    database = Database.of(option)
    check_installed(database.dialect)
    if database.dialect == "sqlite":
        from lockwatch.audit.sinks.sqlite import SqliteSink

        return SqliteSink(database, migrate)
    from lockwatch.audit.sinks.postgres import PostgresSink

    return PostgresSink(database, migrate)


def _function(option: Callable[..., Any]) -> Sink:
    from lockwatch.audit.sinks.function import FunctionSink

    return FunctionSink(option)
