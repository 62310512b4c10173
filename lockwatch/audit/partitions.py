"""The partitions of the audit log on Postgres: which there are, how large, and how one goes without anybody waiting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from lockwatch.audit.entry import microseconds

if TYPE_CHECKING:
    import asyncpg

SPANS: Final = ("day", "week", "month")
MARK: Final = "lockwatch: to be dropped"
"""Comment of a partition that is on its way out, by which a pruning that was interrupted is taken up again."""
_LIST: Final = r"""
SELECT c.relname AS name,
       substring(b FROM $r$FROM \('([^']+)'\)$r$)::timestamptz AS first,
       substring(b FROM $r$TO \('([^']+)'\)$r$)::timestamptz AS last,
       greatest(c.reltuples, 0)::bigint AS rows, pg_total_relation_size(c.oid) AS bytes, i.inhdetachpending AS pending
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid, pg_get_expr(c.relpartbound, c.oid) AS b
WHERE i.inhparent = 'lockwatch_audit_log'::regclass
ORDER BY first
"""
_LEFT: Final = """
SELECT c.relname FROM pg_class c JOIN pg_class log ON log.relnamespace = c.relnamespace
WHERE log.oid = 'lockwatch_audit_log'::regclass AND c.relkind = 'r' AND NOT c.relispartition
  AND obj_description(c.oid, 'pg_class') = $1
"""


class Partition(NamedTuple):
    """A partition.

    Attributes:
        name: of its table.
        first: microseconds since 1970 from which it holds rows.
        last: up to which, not included.
        rows: about how many, as Postgres estimates.
        bytes: with its indexes.
        pending: a detach has begun and did not end.
    """

    name: str
    first: int
    last: int
    rows: int
    bytes: int
    pending: bool


async def listed(connection: asyncpg.Connection[Any]) -> list[Partition]:
    """All partitions, oldest first."""
    return [
        Partition(r["name"], microseconds(r["first"]), microseconds(r["last"]), r["rows"], r["bytes"], r["pending"])
        for r in await connection.fetch(_LIST)
    ]


async def detach(connection: asyncpg.Connection[Any], partition: Partition) -> None:
    """Take a partition out of the log. Who reads or writes meanwhile does not wait."""
    name = quoted(partition.name)
    await connection.execute(f"COMMENT ON TABLE {name} IS '{MARK}'")
    how = "FINALIZE" if partition.pending else "CONCURRENTLY"
    await connection.execute(f"ALTER TABLE lockwatch_audit_log DETACH PARTITION {name} {how}")


async def left_over(connection: asyncpg.Connection[Any]) -> list[str]:
    """Tables that were detached to be dropped, and still are there."""
    return [r["relname"] for r in await connection.fetch(_LEFT, MARK)]


async def span(connection: asyncpg.Connection[Any]) -> str:
    """How much time a new partition holds: one of `SPANS`."""
    found: str | None = await connection.fetchval("SELECT value FROM lockwatch_audit_setting WHERE name = 'partition'")
    return found or "month"


async def set_span(connection: asyncpg.Connection[Any], value: str) -> None:
    """Have new partitions hold a day, a week or a month. Those there are stay."""
    await connection.execute("UPDATE lockwatch_audit_setting SET value = $1 WHERE name = 'partition'", value)


def quoted(name: str) -> str:
    """A name as SQL spells it."""
    return '"' + name.replace('"', '""') + '"'
