"""What is in an audit database, read without our code."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

import asyncpg

from lockwatch.audit.row import COLUMNS, Row


def stored(url: str) -> list[Row]:
    """All rows, oldest first."""
    if url.startswith("sqlite"):
        return [Row(*found) for found in fetch(url, f"SELECT {', '.join(COLUMNS)} FROM lockwatch_audit_log ORDER BY timestamp, id")]
    columns = ", ".join(
        {"timestamp": "(extract(epoch FROM timestamp) * 1000000)::bigint", "id": "id::text"}.get(c, c) for c in COLUMNS
    )
    return [Row(*found) for found in fetch(url, f"SELECT {columns} FROM lockwatch_audit_log t ORDER BY t.timestamp, t.id")]


def fetch(url: str, statement: str) -> list[tuple[Any, ...]]:
    """The rows a statement gives."""
    if url.startswith("sqlite"):
        file = sqlite3.connect(url.removeprefix("sqlite+aiosqlite:///"), isolation_level=None)
        try:
            return file.execute(statement).fetchall()
        finally:
            file.close()

    async def ask() -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(url)
        try:
            return [tuple(row) for row in await connection.fetch(statement)]
        finally:
            await connection.close()

    return asyncio.run(ask())
