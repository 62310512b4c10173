"""Where a check of the audit log gets rows from: a database, or an export. Does I/O; reads only."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, Any, Final, Protocol
from urllib.parse import quote

from lockwatch.audit.checkpoint import Anchor, Head
from lockwatch.audit.connect import Database
from lockwatch.audit.formats import row_of
from lockwatch.audit.row import COLUMNS, Row
from lockwatch.errors import ConfigurationError

BATCH: Final = 2000
_LOG: Final = "lockwatch_audit_log"
_ON_POSTGRES: Final = {"timestamp": "(extract(epoch FROM timestamp) * 1000000)::bigint", "id": "id::text"}
_HEADS: Final = (
    f"SELECT l.process, l.seq, l.chain FROM {_LOG} l "  # noqa: S608
    f"JOIN (SELECT process, max(seq) AS seq FROM {_LOG} GROUP BY process) m ON l.process = m.process AND l.seq = m.seq"
)
_ANCHORS: Final = "SELECT process, seq, chain, signature FROM lockwatch_audit_anchor"
_PARKED: Final = 'SELECT "row" FROM lockwatch_audit_parked'


class Source(Protocol):
    """A log to check, opened."""

    async def anchors(self) -> list[Anchor]:
        """Where pruned chains begin."""

    async def parked(self) -> list[Row]:
        """Rows that were put aside."""

    def rows(self) -> AsyncIterator[Row]:
        """All rows by time, oldest first. Raises: ValueError, for a line of an export that is none."""

    async def heads(self) -> list[Head]:
        """The last row of each process."""


@asynccontextmanager
async def opened(option: str | Database) -> AsyncIterator[Source]:
    """A log: the URL of a database, the path of a SQLite file or of an export in JSON lines, ``-`` for standard input.

    Raises: ConfigurationError, and what the database raises.
    """
    if isinstance(option, str) and "://" not in option:
        if not _is_sqlite(option):
            with _export(option) as lines:
                yield lines
            return
        option = f"sqlite:///{quote(option)}"
    database = Database.of(option) if isinstance(option, str) else option
    if database.dialect == "sqlite":
        with _sqlite(database.address.path) as file:
            yield file
        return
    connection = await database.connect()
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            yield _Postgres(connection)
    finally:
        await connection.close()


class _Postgres:
    """One snapshot of the tables."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def anchors(self) -> list[Anchor]:
        return [Anchor(*found) for found in await self._connection.fetch(_ANCHORS)]

    async def parked(self) -> list[Row]:
        return [_unparked(found[0]) for found in await self._connection.fetch(_PARKED)]

    async def rows(self) -> AsyncIterator[Row]:
        columns = ", ".join(_ON_POSTGRES.get(name, f't."{name}"') for name in COLUMNS)
        query = f"SELECT {columns} FROM {_LOG} t ORDER BY t.timestamp, t.id"  # noqa: S608
        async for found in self._connection.cursor(query, prefetch=BATCH):
            yield Row(*found)

    async def heads(self) -> list[Head]:
        return [Head(*found) for found in await self._connection.fetch(_HEADS)]


class _Sqlite:
    """A SQLite file."""

    def __init__(self, file: sqlite3.Connection) -> None:
        self._file = file

    async def anchors(self) -> list[Anchor]:
        return [Anchor(*found) for found in self._file.execute(_ANCHORS)]

    async def parked(self) -> list[Row]:
        return [_unparked(found[0]) for found in self._file.execute(_PARKED)]

    async def rows(self) -> AsyncIterator[Row]:
        columns = ", ".join(f'"{name}"' for name in COLUMNS)
        for found in self._file.execute(f"SELECT {columns} FROM {_LOG} ORDER BY timestamp, id"):  # noqa: S608
            yield Row(*found)

    async def heads(self) -> list[Head]:
        return [Head(*found) for found in self._file.execute(_HEADS)]


class _Export:
    """JSON lines, as `lockwatch audit export` writes them. It holds no anchors."""

    def __init__(self, lines: IO[str], name: str) -> None:
        self._lines = lines
        self._name = name

    async def anchors(self) -> list[Anchor]:
        return []

    async def parked(self) -> list[Row]:
        return []

    async def rows(self) -> AsyncIterator[Row]:
        for number, line in enumerate(self._lines, 1):
            if line.strip():
                try:
                    yield row_of(line)
                except ValueError as error:
                    raise ConfigurationError(f"line {number} of {self._name}: {error}") from None

    async def heads(self) -> list[Head]:
        last: dict[str, Head] = {}
        async for row in self.rows():
            if row.process not in last or row.seq > last[row.process].seq:
                last[row.process] = Head(row.process, row.seq, row.chain)
        return list(last.values())


@contextmanager
def _sqlite(path: str) -> Iterator[_Sqlite]:
    if not Path(path).exists():
        raise ConfigurationError(f"there is no audit log in {path!r}")
    file = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, isolation_level=None)
    try:
        file.execute("BEGIN")
        yield _Sqlite(file)
    finally:
        file.close()


@contextmanager
def _export(path: str) -> Iterator[_Export]:
    if path == "-":
        yield _Export(sys.stdin, "standard input")
        return
    try:
        with open(path, encoding="utf-8") as lines:
            yield _Export(lines, path)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise ConfigurationError(f"{path!r} cannot be read: {error.strerror}") from None


def _is_sqlite(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(16) == b"SQLite format 3\0"
    except OSError:
        return False


def _unparked(text: str) -> Row:
    """A row from ``lockwatch_audit_parked``, as it was written."""
    values: dict[str, Any] = json.loads(text)
    return Row(**values | {"chain": bytes.fromhex(values["chain"])})
