"""Rows into Postgres: COPY of the bytes their chains are made over, and what COPY cannot do when a batch comes again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from lockwatch.audit import upgrades
from lockwatch.audit.block import Block
from lockwatch.audit.connect import Database, needed
from lockwatch.audit.encoding import END, ORDER, SIGNATURE, SINCE_2000
from lockwatch.audit.parking import halves, parked
from lockwatch.audit.row import COLUMNS, Row
from lockwatch.audit.sinks.standing import Standing
from lockwatch.errors import ConfigurationError, SinkError

if TYPE_CHECKING:
    import asyncpg

TABLE: Final = "lockwatch_audit_log"
DEADLINE: Final = 30.0
"""Seconds for one batch, the connection included."""
AHEAD: Final = 3600.0
"""Seconds between two looks whether partitions for the time to come are there."""
_DAY_US: Final = 86_400 * 10**6
_TYPES: Final = {
    "timestamp": "timestamptz",
    "id": "uuid",
    "status_code": "int4",
    "schema_v": "int4",
    "rate_limit_hit": "bool",
    "anomaly_detected": "bool",
    "reasons": "json",
    "flags": "json",
    "details": "json",
    "chain": "bytea",
} | dict.fromkeys(("seq", "latency_us", "bytes_sent", "count"), "int8")
_ARRAYS: Final = ", ".join(f"${i}::{_TYPES.get(name, 'text')}[]" for i, name in enumerate(COLUMNS, 1))
_AGAIN: Final = f"INSERT INTO {TABLE} ({', '.join(COLUMNS)}) SELECT * FROM unnest({_ARRAYS}) ON CONFLICT DO NOTHING"  # noqa: S608
_PARK: Final = (
    "INSERT INTO lockwatch_audit_parked (id, parked_at, process, seq, chain, error, row) "
    "VALUES ($1, now(), $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING"
)
_POISON_STATES: Final = ("22", "23", "54")
"""Classes of SQLSTATE that are about one row: data, constraints, limits of an index."""


class PostgresSink:
    """The table ``lockwatch_audit_log``.

    Args:
        database: where it is.
        migrate: make or change the tables when they are missing or old.
        clock: seconds that only go forward.
        deadline: seconds for one batch, the connection included.

    Attributes:
        takes_bodies: blocks are written by their bodies, so nobody need make values of them.
    """

    takes_bodies: Final = True

    def __init__(
        self,
        database: Database,
        migrate: bool = True,
        clock: Callable[[], float] = time.monotonic,
        deadline: float = DEADLINE,
    ) -> None:
        needed("asyncpg")
        self.name = database.shown
        self.standing = Standing(self.name, clock)
        self.parked = 0
        self._database = database
        self._migrate = migrate
        self._clock = clock
        self._deadline = deadline
        self._connection: asyncpg.Connection[Any] | None = None
        self._doubt = False
        self._looked = 0.0

    async def write(self, rows: Sequence[Row]) -> None:
        """Deliver all rows. Raises: SinkError."""
        if not rows:
            return
        self.standing.check()
        try:
            async with asyncio.timeout(self._deadline):
                await self._deliver(await self._open(), rows, not self._doubt)
        except SinkError:
            self._drop()
            raise
        except _down() as error:
            self._doubt = True
            self._drop()
            raise self.standing.failed(_told(error, self._deadline)) from error
        except BaseException:
            self._doubt = True
            self._drop()
            raise
        self._doubt = False
        self.standing.worked()

    async def aclose(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                await connection.close(timeout=2)
            except _down():
                connection.terminate()

    async def _deliver(self, connection: asyncpg.Connection[Any], rows: Sequence[Row], first: bool, made: bool = False) -> None:
        """Store rows; where one is refused, look for it by halves."""
        try:
            await (_copy if first else _insert)(connection, rows)
        except _unique():
            await self._deliver(connection, rows, False, made)
        except _poison() as error:
            if not made and _no_partition(error):
                await _make_partitions(connection, rows)
                await self._deliver(connection, rows, first, True)
            elif not _is_poison(error):
                raise
            elif len(rows) == 1:
                await self._park(connection, rows[0], error)
            else:
                for half in halves(rows):
                    await self._deliver(connection, half, first, made)

    async def _park(self, connection: asyncpg.Connection[Any], row: Row, error: BaseException) -> None:
        await connection.execute(_PARK, *parked(row, error))
        self.parked += 1

    async def _open(self) -> asyncpg.Connection[Any]:
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._database.connect(self._deadline)
            await _teach_time(self._connection)
            await self._check_tables(self._connection)
            self._looked = 0.0
        if self._clock() - self._looked > AHEAD or not self._looked:
            await _partitions_ahead(self._connection)
            self._looked = self._clock()
        return self._connection

    async def _check_tables(self, connection: asyncpg.Connection[Any]) -> None:
        found = await _revision(connection)
        if found is not None and found >= upgrades.HEAD:
            return
        if not self._migrate:
            why = "its tables are missing" if found is None else f"its tables are at revision {found}"
            raise self.standing.failed(f"{why}; run: lockwatch db upgrade")
        try:
            await upgrades.upgrade_aside(self._database)
        except (ConfigurationError, OSError):  # OSError: it went away just now
            raise
        except Exception as error:
            told = _told(getattr(error, "orig", None) or error, self._deadline)
            raise self.standing.failed(f"its tables cannot be made ({told}); run as their owner: lockwatch db upgrade") from error

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()


async def _copy(connection: asyncpg.Connection[Any], rows: Sequence[Row]) -> None:
    data = memoryview(SIGNATURE + Block.of(rows).body + END)  # bytes would be the name of a file
    await connection.copy_to_table(TABLE, source=data, columns=ORDER, format="binary")


async def _insert(connection: asyncpg.Connection[Any], rows: Sequence[Row]) -> None:
    await connection.execute(_AGAIN, *zip(*rows, strict=True))


async def _make_partitions(connection: asyncpg.Connection[Any], rows: Iterable[Row]) -> None:
    """A partition for each day of the rows. A time no partition is made for is left to be found."""
    for moment in {row.timestamp // _DAY_US: row.timestamp for row in rows}.values():
        try:
            await connection.fetchval("SELECT lockwatch_audit_partition($1)", moment)
        except _poison() as error:
            if not _is_poison(error):
                raise


async def _partitions_ahead(connection: asyncpg.Connection[Any]) -> None:
    """Partitions for now and the days to come, where we may make them."""
    try:
        await connection.execute(
            "SELECT lockwatch_audit_partition(now() + make_interval(days => d)) FROM unnest('{0,1,2,8}'::int[]) d"
        )
    except needed("asyncpg").InsufficientPrivilegeError:
        pass


async def _revision(connection: asyncpg.Connection[Any]) -> str | None:
    errors = needed("asyncpg")
    try:
        found: str | None = await connection.fetchval("SELECT max(version_num) FROM lockwatch_alembic_version")
    except errors.UndefinedTableError:
        return None
    except errors.InsufficientPrivilegeError:
        return upgrades.HEAD
    return found


async def _teach_time(connection: asyncpg.Connection[Any]) -> None:
    """Have timestamps be microseconds since 1970 in both directions, as in a `Row`: no `datetime` is made per row."""
    await connection.set_type_codec(
        "timestamptz",
        schema="pg_catalog",
        format="tuple",
        encoder=lambda time_us: (time_us - SINCE_2000,),
        decoder=lambda found: found[0] + SINCE_2000,
    )


def _no_partition(error: BaseException) -> bool:
    return getattr(error, "sqlstate", None) == "23514" and not getattr(error, "constraint_name", None)


def _is_poison(error: BaseException) -> bool:
    """Whether an error is about a row, not about the server."""
    state: str | None = getattr(error, "sqlstate", None)
    if state is not None:
        return state.startswith(_POISON_STATES)
    return not isinstance(error, OSError | needed("asyncpg").exceptions.ClientConfigurationError)


def _unique() -> Any:
    return needed("asyncpg").UniqueViolationError


def _poison() -> tuple[type[BaseException], ...]:
    """What a row can be the cause of: an error of the server, or of asyncpg's encoders."""
    return needed("asyncpg").PostgresError, ValueError, TypeError, OverflowError


def _down() -> tuple[type[BaseException], ...]:
    errors = needed("asyncpg")
    return errors.PostgresError, errors.InterfaceError, errors.InternalClientError, OSError, EOFError


def _told(error: BaseException, deadline: float) -> str:
    """An error in one line, without a password: these name neither URL nor login data other than the user."""
    if isinstance(error, TimeoutError):
        return f"no answer within {deadline:g} s"
    text = str(error).strip().partition("\n")[0]
    if isinstance(error, OSError):
        text = error.strerror or type(error).__name__
    return text or type(error).__name__
