"""Forgets what is old: whole partitions on Postgres, rows on SQLite. What the hash chains need to go on is anchored first."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from lockwatch.audit import partitions
from lockwatch.audit.connect import Database, pragmas
from lockwatch.audit.entry import instant

if TYPE_CHECKING:
    import asyncpg

Sign: TypeAlias = Callable[[str, int, bytes], str | None]
"""Signs that the chain of a process begins after a row: process, number and chain of the row."""
PORTION: Final = 10_000
"""Rows of one transaction on SQLite, where writers wait for it."""
_KNOT: Final = "lpad(seq::text, 19, '0') || ' ' || (extract(epoch FROM timestamp) * 1000000)::bigint || ' ' || encode(chain, 'hex')"
_LASTS: Final = f"SELECT process, count(*) AS rows, max({_KNOT}) AS knot FROM {{table}} GROUP BY process"  # noqa: S608
_ANCHOR: Final = """
INSERT INTO lockwatch_audit_anchor AS old (process, seq, chain, timestamp, rows, pruned_at, signature)
VALUES ($1, $2, $3, $4, $5 + coalesce((SELECT sum(rows) FROM lockwatch_audit_anchor WHERE process = $1), 0), $6, $7)
ON CONFLICT (process, seq) DO UPDATE SET rows = excluded.rows, pruned_at = excluded.pruned_at
"""
_OLDER: Final = "DELETE FROM lockwatch_audit_anchor WHERE process = $1 AND seq < $2"


class Last(NamedTuple):
    """The last row of a process among those that go, and how many go."""

    process: str
    seq: int
    timestamp: int
    chain: bytes
    rows: int


class Pruned(NamedTuple):
    """What went: a partition, or a portion of rows."""

    name: str
    rows: int
    bytes: int


def unsigned(process: str, seq: int, chain: bytes) -> str | None:
    """Signs nothing."""
    return None


async def prune(database: Database, before: int, sign: Sign = unsigned) -> AsyncIterator[Pruned]:
    """Forget what is older than `before`, microseconds since 1970; on Postgres partitions that are so as a whole.

    It may be interrupted at any point; the next one goes on. Needs the rights of the owner of the tables.
    """
    if database.dialect == "sqlite":
        for portion in _prune_file(database.address.path, before, sign):
            yield portion
        return
    connection = await database.connect()
    try:
        for name in await partitions.left_over(connection):
            yield await _drop(connection, name, sign)
        for partition in await partitions.listed(connection):
            if partition.last <= before or partition.pending:
                await partitions.detach(connection, partition)
                yield await _drop(connection, partition.name, sign)
        await connection.execute("DELETE FROM lockwatch_audit_parked WHERE parked_at < $1", instant(before))
    finally:
        await connection.close()


async def outlook(database: Database, before: int) -> list[Pruned]:
    """What `prune` would forget."""
    if database.dialect == "sqlite":
        file = _opened(database.address.path)
        [(rows,)] = file.execute("SELECT count(*) FROM lockwatch_audit_log WHERE timestamp < ?", (before,))
        file.close()
        return [Pruned("rows", rows, 0)]
    connection = await database.connect()
    try:
        return [
            Pruned(partition.name, partition.rows, partition.bytes)
            for partition in await partitions.listed(connection)
            if partition.last <= before
        ]
    finally:
        await connection.close()


async def _drop(connection: asyncpg.Connection[Any], name: str, sign: Sign) -> Pruned:
    """Anchor the chains of a detached partition and drop it, both or neither."""
    table = partitions.quoted(name)
    size = await connection.fetchval("SELECT pg_total_relation_size($1::regclass)", table)
    async with connection.transaction():
        lasts = [_last(found) for found in await connection.fetch(_LASTS.format(table=table))]
        for last in lasts:
            signature = sign(last.process, last.seq, last.chain)
            moments = instant(last.timestamp), last.rows, instant(time.time_ns() // 1000)
            await connection.execute(_ANCHOR, last.process, last.seq, last.chain, *moments, signature)
            await connection.execute(_OLDER, last.process, last.seq)
        await connection.execute(f"DROP TABLE {table}")
    return Pruned(name, sum(last.rows for last in lasts), size)


def _last(found: Any) -> Last:
    seq, timestamp, chain = found["knot"].split(" ")
    return Last(found["process"], int(seq), int(timestamp), bytes.fromhex(chain), found["rows"])


def _prune_file(path: str, before: int, sign: Sign) -> Iterable[Pruned]:
    file = _opened(path)
    try:
        while rows := _forget_some(file, before, sign):
            yield Pruned("rows", rows, 0)
        file.execute("DELETE FROM lockwatch_audit_parked WHERE parked_at < ?", (before,))
        yield Pruned("file", 0, _shrink(file))
    finally:
        file.close()


def _forget_some(file: sqlite3.Connection, before: int, sign: Sign) -> int:
    """Anchor and delete the oldest rows; how many."""
    file.execute("BEGIN IMMEDIATE")
    try:
        edge = file.execute(
            "SELECT timestamp FROM lockwatch_audit_log WHERE timestamp < ? ORDER BY timestamp LIMIT 1 OFFSET ?", (before, PORTION)
        ).fetchone()
        until = min(edge[0] + 1, before) if edge else before
        lasts = file.execute(
            "SELECT process, max(seq), timestamp, chain, count(*) FROM lockwatch_audit_log WHERE timestamp < ? GROUP BY process",
            (until,),
        ).fetchall()
        for last in map(Last._make, lasts):
            _anchor_in_file(file, last, sign)
        gone = file.execute("DELETE FROM lockwatch_audit_log WHERE timestamp < ?", (until,)).rowcount
    except BaseException:
        file.execute("ROLLBACK")
        raise
    file.execute("COMMIT")
    return gone


def _anchor_in_file(file: sqlite3.Connection, last: Last, sign: Sign) -> None:
    [(before,)] = file.execute("SELECT coalesce(sum(rows), 0) FROM lockwatch_audit_anchor WHERE process = ?", (last.process,))
    file.execute("DELETE FROM lockwatch_audit_anchor WHERE process = ? AND seq <= ?", (last.process, last.seq))
    file.execute(
        "INSERT OR IGNORE INTO lockwatch_audit_anchor (process, seq, chain, timestamp, rows, pruned_at, signature) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            *(last.process, last.seq, last.chain, last.timestamp, last.rows + before, time.time_ns() // 1000),
            sign(last.process, last.seq, last.chain),
        ),
    )


def _shrink(file: sqlite3.Connection) -> int:
    """Give free pages back to the file system; how many bytes. A file that was not made by lockwatch needs a VACUUM for that."""
    before = file.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchone()[0]
    file.executescript("PRAGMA incremental_vacuum")  # `execute` would take one step, which is one page
    file.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    after = file.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchone()[0]
    return int(before - after)


def _opened(path: str) -> sqlite3.Connection:
    file = sqlite3.connect(path, isolation_level=None)
    for pragma in pragmas():
        file.execute(pragma).fetchall()
    return file
