"""Reads the audit log, newest or oldest first, page by page: each page is one statement that begins where the last one ended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from lockwatch.audit import cursor
from lockwatch.audit.connect import Database, needed
from lockwatch.audit.cursor import Place
from lockwatch.audit.entry import AuditLogEntry, instant, microseconds
from lockwatch.audit.query import MOST, AuditQuery, Condition, conditions
from lockwatch.audit.row import COLUMNS, Row

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.ext.asyncio import AsyncEngine

_TIMESTAMP: Final = COLUMNS.index("timestamp")


class Reader:
    """An audit database, opened for reading on one event loop.

    Args:
        database: where it is.
        key: what cursors are signed with.
    """

    def __init__(self, database: Database, key: bytes = b"") -> None:
        needed("sqlmodel")
        self.engine: AsyncEngine = database.engine()
        self._key = key

    async def entries(self, query: AuditQuery) -> list[AuditLogEntry]:
        """The answer to a question, newest first, each entry with its cursor. Raises: CursorError."""
        return [AuditLogEntry.of(row, self.cursor_of(row)) for row in await self.rows(query)]

    async def rows(self, query: AuditQuery, oldest_first: bool = False) -> list[Row]:
        """The same as rows, from either end. Raises: CursorError."""
        after = None if query.cursor is None else cursor.decode(query.cursor, self._key)
        async with self.engine.connect() as connection:
            found = await connection.execute(statement(query, after, oldest_first))
            return [_row(values) for values in found]

    async def pages(self, query: AuditQuery, size: int = MOST, oldest_first: bool = True) -> AsyncIterator[list[Row]]:
        """Everything a question is about, in pages; its limit does not count."""
        while True:
            page = await self.rows(replace(query, limit=size), oldest_first)
            if page:
                yield page
            if len(page) < size:
                return
            query = replace(query, cursor=self.cursor_of(page[-1]), offset=0)

    def cursor_of(self, row: Row) -> str:
        """Where to go on after a row."""
        return cursor.encode(Place(row.timestamp, row.id), self._key)

    async def aclose(self) -> None:
        """Close its connections."""
        await self.engine.dispose()


def statement(query: AuditQuery, after: Place | None = None, oldest_first: bool = False) -> Select[Any]:
    """The SELECT of a question. The order is that of the indexes, so that an answer costs what it shows, not what there is."""
    from sqlalchemy import select

    from lockwatch.audit.models import AuditLog

    columns: Any = AuditLog.__table__.c  # type: ignore[attr-defined]
    found = select(*columns).where(*[_clause(columns, condition) for condition in conditions(query)])
    if query.outcome is not None:
        found = found.where(columns.outcome != "success") if query.outcome != "success" else found
    if after is not None:
        found = found.where(*_beyond(columns, after, oldest_first))
    order = (columns.timestamp.asc(), columns.id.asc()) if oldest_first else (columns.timestamp.desc(), columns.id.desc())
    return found.order_by(*order).limit(query.limit).offset(query.offset or None)


def _beyond(columns: Any, after: Place, oldest_first: bool) -> list[ColumnElement[bool]]:
    """Past a place; the time alone too, by which Postgres leaves out partitions."""
    from sqlalchemy import literal, tuple_

    moment = literal(instant(after.timestamp), columns.timestamp.type)
    here, there = tuple_(columns.timestamp, columns.id), tuple_(moment, literal(after.id, columns.id.type))
    if oldest_first:
        return [here > there, columns.timestamp >= moment]
    return [here < there, columns.timestamp <= moment]


def _clause(columns: Any, condition: Condition) -> ColumnElement[bool]:
    from sqlalchemy import func

    column = columns[condition.column]
    value: Any = instant(condition.value) if condition.column == "timestamp" else condition.value
    found: ColumnElement[bool]
    match condition.operator:
        case "=":
            found = column == value
        case "<":
            found = column < value
        case ">=":
            found = column >= value
        case "starts":
            found = func.substr(column, 1, len(value)) == value  # LIKE has wildcards, and on SQLite no case
        case _:
            found = column
    return found


def _row(values: Any) -> Row:
    found = list(values)
    found[_TIMESTAMP] = microseconds(found[_TIMESTAMP])
    return Row(*found)
