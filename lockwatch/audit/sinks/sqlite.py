"""Rows into a SQLite file: the driver of the standard library, a transaction per batch. It waits for others without a thread."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Final

from lockwatch.audit import upgrades
from lockwatch.audit.connect import Database, pragmas, private_file
from lockwatch.audit.parking import halves, parked
from lockwatch.audit.row import COLUMNS, Row
from lockwatch.audit.sinks.standing import Standing

PATIENCE: Final = 5.0
"""Seconds to wait for the process that writes."""
_PAUSE: Final = 0.005
_BUSY: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_INSERT: Final = (
    f"INSERT INTO lockwatch_audit_log ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))}) "  # noqa: S608
    "ON CONFLICT (timestamp, id) DO NOTHING"
)
_PARK: Final = (
    "INSERT INTO lockwatch_audit_parked (parked_at, id, process, seq, chain, error, row) "
    "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
_POISON: Final = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    ValueError,
    TypeError,
    OverflowError,
)


class SqliteSink:
    """The table ``lockwatch_audit_log`` in a file.

    Args:
        database: where it is.
        migrate: make or change the tables when they are missing or old.
        clock: seconds that only go forward.
        patience: seconds that a lock of somebody else's is waited for.
    """

    def __init__(
        self,
        database: Database,
        migrate: bool = True,
        clock: Callable[[], float] = time.monotonic,
        patience: float = PATIENCE,
    ) -> None:
        self.name = database.shown
        self.standing = Standing(self.name, clock)
        self.parked = 0
        self._database = database
        self._migrate = migrate
        self._clock = clock
        self._patience = patience
        self._file: sqlite3.Connection | None = None

    async def write(self, rows: Sequence[Row]) -> None:
        """Deliver all rows. Raises: SinkError."""
        if not rows:
            return
        self.standing.check()
        try:
            file = self._file = self._file or await self._open()
            await self._deliver(file, rows)
        except (sqlite3.Error, OSError) as error:
            self._close()
            raise self.standing.failed(str(error) or type(error).__name__) from error
        except BaseException:
            self._close()
            raise
        self.standing.worked()

    async def aclose(self) -> None:
        """Close the file."""
        self._close()

    async def _deliver(self, file: sqlite3.Connection, rows: Sequence[Row]) -> None:
        """Store rows; where one is refused, look for it by halves."""
        await self._begin(file)
        try:
            file.executemany(_INSERT, rows)
        except _POISON as error:
            file.execute("ROLLBACK")
            if len(rows) > 1:
                for half in halves(rows):
                    await self._deliver(file, half)
            else:
                await self._park(file, rows[0], error)
        else:
            file.execute("COMMIT")

    async def _park(self, file: sqlite3.Connection, row: Row, error: BaseException) -> None:
        await self._begin(file)
        file.execute(_PARK, (time.time_ns() // 1000, *parked(row, error)))
        file.execute("COMMIT")
        self.parked += 1

    async def _begin(self, file: sqlite3.Connection) -> None:
        """Take the lock of the file, as soon as it is free."""
        last = self._clock() + self._patience
        while True:
            try:
                file.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in _BUSY or self._clock() > last:
                    raise
                await asyncio.sleep(_PAUSE)
            else:
                return

    async def _open(self) -> sqlite3.Connection:
        private_file(self._database.address.path)
        file = sqlite3.connect(self._database.address.path, isolation_level=None)
        try:
            for pragma in pragmas(busy_ms=0):
                await self._set(file, pragma)
            found = _revision(file)
            if found is None or found < upgrades.HEAD:
                await self._upgrade(found)
        except BaseException:
            file.close()
            raise
        return file

    async def _set(self, file: sqlite3.Connection, pragma: str) -> None:
        """Turning a file to WAL needs it alone for a moment."""
        last = self._clock() + self._patience
        while True:
            try:
                file.execute(pragma).fetchall()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in _BUSY or self._clock() > last:
                    raise
                await asyncio.sleep(_PAUSE)
            else:
                return

    async def _upgrade(self, found: str | None) -> None:
        if not self._migrate:
            why = "its tables are missing" if found is None else f"its tables are at revision {found}"
            raise self.standing.failed(f"{why}; run: lockwatch db upgrade")
        try:
            await upgrades.upgrade_aside(self._database)
        except RuntimeError as error:  # no thread begins any more
            raise self.standing.failed(f"the process ends before its tables are made ({error})") from error

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


def _revision(file: sqlite3.Connection) -> str | None:
    there = file.execute("SELECT count(*) FROM sqlite_master WHERE name = 'lockwatch_alembic_version'").fetchone()[0]
    if not there:
        return None
    found: str | None = file.execute("SELECT max(version_num) FROM lockwatch_alembic_version").fetchone()[0]
    return found
