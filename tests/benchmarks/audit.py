"""``audit``: a large audit log on a real PostgreSQL: how fast it takes rows, answers questions, and forgets a month."""

from __future__ import annotations

import asyncio
import platform
import random
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from statistics import median
from typing import Any, Final

import asyncpg
from sqlalchemy.dialects import postgresql

from lockwatch.audit import upgrades
from lockwatch.audit.connect import Database
from lockwatch.audit.entry import microseconds
from lockwatch.audit.query import AuditQuery
from lockwatch.audit.reading import Reader, statement
from lockwatch.audit.retention import prune
from lockwatch.audit.row import COLUMNS, Row
from lockwatch.audit.sinks.postgres import PostgresSink
from tests.benchmarks import audit_cost
from tests.benchmarks.audit_cost import AGENT
from tests.benchmarks.machine import ROOT, description
from tests.benchmarks.table import Report, Table
from tests.servers import start_postgres

SETTINGS: Final = ("shared_buffers=512MB", "max_wal_size=8GB", "checkpoint_timeout=30min")
_SIZES: Final = (
    "SELECT sum(pg_total_relation_size(relid)), sum(pg_table_size(relid)) "
    "FROM pg_partition_tree('lockwatch_audit_log') WHERE isleaf"
)
MONTHS: Final = 10
FIRST: Final = datetime(2026, 1, 1, tzinfo=UTC)
USERS: Final = 100_000
BATCHES: Final = (500, 5000, 20_000)
_FILL: Final = f"""
INSERT INTO lockwatch_audit_log (timestamp, id, process, seq, kind, action, outcome, user_id, ip, ip_source, peer_ip, method, route,
    endpoint, status_code, latency_us, bytes_sent, user_agent, request_id, decision, rate_limit_hit, anomaly_detected,
    count, schema_v, chain)
SELECT to_timestamp(us / 1e6),
    (lpad(to_hex(us / 1000), 12, '0') || '7' || lpad(to_hex(us % 1000 * 4096 / 1000), 3, '0') || '8' || left(h, 15))::uuid,
    '00000000000000aa', $1 + i, 'http', 'request', CASE WHEN i % 50 = 0 THEN 'refused' ELSE 'success' END,
    'user:' || floor({USERS} * random() * random())::int, '10.' || i % 250 || '.' || (i / 250) % 250 || '.7', 'peer', '10.0.0.1',
    'GET', '/items/{{id}}', '/items/' || i, CASE WHEN i % 50 = 0 THEN 429 ELSE 200 END, 1234, 512, '{AGENT}', left(h, 16),
    'allowed', i % 50 = 0, i % 1000 = 0, 1, 1, decode(h || h, 'hex')
FROM (SELECT i, $2::bigint + i * $3::bigint AS us, md5(i::text) AS h FROM generate_series(0, $4::bigint - 1) AS i) AS made
"""


def run(rows: int, drains: int = 500_000, rounds: int = 5) -> Report:
    """Fill a database with so many rows, over ten months, and measure; so many are drained, and what an event costs is measured
    in so many rounds.
    """
    server = start_postgres(options=SETTINGS)
    try:
        url = f"postgresql://postgres@127.0.0.1:{server.port}/postgres"
        asyncio.run(upgrades.upgrade(Database.of(url)))
        spent = audit_cost.costs(url, rounds)
        measured = asyncio.run(_measured(url, rows, server.origin, server.popen.pid, drains, min(rounds, 3)))
        return Report(measured.facts, (spent, *measured.tables))
    finally:
        server.stop()


async def _measured(url: str, rows: int, origin: str, server: int, drains: int, rounds: int) -> Report:
    database = Database.of(url)
    connection = await asyncpg.connect(url)
    await connection.execute("TRUNCATE lockwatch_audit_log")
    written = await _write(database, connection, server)
    drained = await audit_cost.drained(url, connection, server, [_row(i) for i in range(drains)], rounds)
    took = await _fill(connection, rows)
    version = await connection.fetchval("SHOW server_version")
    size, heap = await connection.fetchrow(_SIZES)
    asked = await _ask(database, connection)
    forgotten = await _forget(database, connection)
    await connection.close()
    facts = [
        *description(ROOT),
        f"store: PostgreSQL {version}, {origin}, fsync off; asyncpg {asyncpg.__version__}, python {platform.python_version()}",
        f"log: {rows:,} rows in {MONTHS} partitions, {size / rows:,.0f} bytes each, {(size - heap) / rows:,.0f} in indexes",
        f"made by SQL in {took:,.0f} s, after the rows of the first table were removed",
    ]
    return Report(tuple(facts), (written, drained, asked, forgotten))


async def _write(database: Database, connection: Any, server: int) -> Table:
    """Rows per second through the sink, over one connection."""
    batch = [_row(i) for i in range(100_000)]
    found = []
    for size in BATCHES:
        sink = PostgresSink(database)
        await sink.write(batch[:1])
        await connection.execute("TRUNCATE lockwatch_audit_log")
        began, busy, other = time.perf_counter(), time.process_time(), audit_cost.processor_time(server)
        for start in range(0, len(batch), size):
            await sink.write(batch[start : start + size])
        took, busy = time.perf_counter() - began, time.process_time() - busy
        other = audit_cost.processor_time(server) - other
        await sink.aclose()
        found.append(
            (
                f"{size:,} rows a batch",
                f"{len(batch) / took:,.0f}",
                f"{busy / len(batch) * 1e6:.1f}",
                f"{other / len(batch) * 1e6:.1f}",
            )
        )
    await connection.execute("TRUNCATE lockwatch_audit_log")
    return Table(
        "Rows into Postgres, by COPY, one connection", ("batches", "rows/s", "our CPU, us/row", "the server's"), tuple(found)
    )


async def _fill(connection: Any, rows: int) -> float:
    began = time.perf_counter()
    each = rows // MONTHS
    for month in range(1, MONTHS + 1):
        start = microseconds(FIRST.replace(month=month))
        await connection.fetchval("SELECT lockwatch_audit_partition($1)", FIRST.replace(month=month))
        await connection.execute(_FILL, month * each, start, 27 * 86_400 * 10**6 // each, each)
    await connection.execute("VACUUM ANALYZE lockwatch_audit_log")
    return time.perf_counter() - began


async def _ask(database: Database, connection: Any) -> Table:
    chance = random.Random(1)
    reader = Reader(database)
    [last] = await reader.rows(AuditQuery(limit=1, offset=1000))
    deep = reader.cursor_of((await reader.rows(AuditQuery(to_time=FIRST.replace(month=5), limit=1)))[0])
    asked: dict[str, Callable[[], AuditQuery]] = {
        "newest 50": lambda: AuditQuery(limit=50),
        "newest 50 of a user": lambda: AuditQuery(user_id=f"user:{chance.randrange(USERS // 2)}", limit=50),
        "newest 50 of an address": lambda: AuditQuery(ip=f"10.{chance.randrange(250)}.{chance.randrange(250)}.7", limit=50),
        "a user who is not there": lambda: AuditQuery(user_id=f"nobody:{chance.random()}", limit=50),
        "newest 50 that were refused": lambda: AuditQuery(rate_limit_hits_only=True, limit=50),
        "newest 50 with an anomaly": lambda: AuditQuery(anomalies_only=True, limit=50),
        "50 of a user in one month": lambda: AuditQuery(
            user_id=f"user:{chance.randrange(USERS // 2)}",
            from_time=FIRST.replace(month=3),
            to_time=FIRST.replace(month=4),
            limit=50,
        ),
        "50 after a cursor five months back": lambda: AuditQuery(limit=50, cursor=deep),
    }
    found = []
    for name, make in asked.items():
        times = []
        for _ in range(40):
            began = time.perf_counter()
            await reader.rows(make())
            times.append((time.perf_counter() - began) * 1000)
        found.append((name, f"{median(times):.1f}", f"{sorted(times)[-2]:.1f}", await _plan(connection, make())))
    await reader.aclose()
    assert last.seq
    columns = ("question", "median", "of 40, last but one", "plan")
    return Table("Questions, in milliseconds, decoding included", columns, tuple(found))


async def _plan(connection: Any, query: AuditQuery) -> str:
    """How Postgres answers, in a few words."""
    compiled = statement(query).compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})
    lines = [line[0] for line in await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS) {compiled}")]
    run_ones = [line for line in lines if "never executed" not in line]
    scans = [found[0] for line in run_ones if (found := re.search(r"(Index|Index Only|Bitmap Heap|Seq) Scan[^(]*", line))]
    names = {re.sub(r".* using lockwatch_audit_log_\d+_\d+_(\w+?)(_idx)? on .*", r"\1", scan.strip()) for scan in scans}
    names = {"empty partitions" if name.startswith("Seq") else "bitmap" if " on " in name else name for name in names}
    took = next(line for line in lines if line.startswith("Execution Time")).split(":")[1].strip()
    return f"{len(scans)} x {' and '.join(sorted(names))}, {took}"


async def _forget(database: Database, connection: Any) -> Table:
    total = "SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('lockwatch_audit_log') WHERE isleaf"
    before, used = await connection.fetchval(total), await connection.fetchval("SELECT pg_database_size(current_database())")
    began = time.perf_counter()
    gone = [part async for part in prune(database, microseconds(FIRST.replace(month=2)))]
    took = time.perf_counter() - began
    after, left = await connection.fetchval(total), await connection.fetchval("SELECT pg_database_size(current_database())")
    row = (
        "a month",
        f"{sum(part.rows for part in gone):,}",
        f"{took:.1f}",
        f"{(before - after) / 2**20:,.0f}",
        f"{(used - left) / 2**20:,.0f}",
    )
    return Table("Forgetting", ("what", "rows", "seconds", "MiB of the log", "MiB of the database"), (row,))


def _row(i: int) -> Row:
    time_us = microseconds(FIRST) + i * 200
    ms, rest = divmod(time_us, 1000)
    text = f"{ms:012x}7{rest * 4096 // 1000:03x}{0x8000_0000_0000_0000 | i:016x}"
    values = dict.fromkeys(COLUMNS) | {
        "timestamp": time_us,
        "id": f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}",
        "process": "00000000000000aa",
        "seq": i + 1,
        "kind": "http",
        "action": "request",
        "outcome": "refused" if i % 50 == 0 else "success",
        "user_id": f"user:{i * 7919 % USERS}",
        "ip": f"10.{i % 250}.{i // 250 % 250}.7",
        "ip_source": "peer",
        "peer_ip": "10.0.0.1",
        "method": "GET",
        "route": "/items/{id}",
        "endpoint": f"/items/{i}",
        "status_code": 200,
        "latency_us": 1234,
        "bytes_sent": 512,
        "user_agent": AGENT,
        "request_id": f"{i:016x}",
        "decision": "allowed",
        "rate_limit_hit": i % 50 == 0,
        "anomaly_detected": False,
        "count": 1,
        "schema_v": 1,
        "chain": i.to_bytes(32, "big"),
    }
    return Row(**values)  # type: ignore[arg-type]
