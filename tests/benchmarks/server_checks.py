"""What a check costs Redis itself: bytes per admitted request, microseconds of its one thread."""

from __future__ import annotations

from typing import Any, Final

import redis

from lockwatch.flow import Call
from lockwatch.stores.connect import address_of
from lockwatch.stores.redis_sync import RedisStore
from tests.benchmarks.redis_checks import async_contenders, on_loop, timed_async
from tests.benchmarks.rounds import spread_out
from tests.benchmarks.table import Table

_HOUR: Final = 3_600_000_000
_QUOTA: Final = 1000
_SEEN_AT: Final = (10, 100, 300, 513, 999, _QUOTA)


def tables(url: str, checks: int) -> list[Table]:
    """Bytes, then microseconds."""
    with redis.Redis.from_url(url) as client:
        client.flushall()
        bytes_table = Table(
            "Bytes per admitted request, 1000/hour on Redis", ("admitted so far", "bytes", "per request"), _bytes(url, client)
        )
        client.flushall()
        return [bytes_table, on_loop(lambda: _server_time(url, client, checks))]


def _bytes(url: str, client: Any) -> tuple[tuple[str, ...], ...]:
    store, rows, worst = RedisStore(address_of(url), 5.0), [], (0.0, 0, 0)
    for admitted in range(1, _QUOTA + 1):
        store.call(Call("admit", ("bench:bytes",), (0, 0, _QUOTA, _HOUR, 0, 1)))
        size = int(client.memory_usage("bench:bytes"))
        if admitted in _SEEN_AT:
            rows.append((f"{admitted:,}", f"{size:,}", f"{size / admitted:.1f}"))
        if admitted >= 100:
            worst = max(worst, (size / admitted, size, admitted))
    store.close()
    return (*rows, (f"worst from 100 on: {worst[2]:,}", f"{worst[1]:,}", f"{worst[0]:.1f}"))


async def _server_time(url: str, client: Any, checks: int) -> Table:
    contenders, close = async_contenders(url)
    subjects = spread_out(checks).subjects(0)
    rows = []
    for name, check in contenders.items():
        for many in (1, 50):
            await timed_async(check, subjects[:200], many)
            client.config_resetstat()
            await timed_async(check, subjects, many)
            rows.append((f"{name}, {many} at a time", *_spent(client.info("commandstats"), checks)))
    await close()
    return Table("Time of the server per check", ("", "us per check", "commands sent per check"), tuple(rows))


def _spent(stats: dict[str, dict[str, float]], checks: int) -> tuple[str, str]:
    """Scripts include what they call, so only what a client sent is added up."""
    sent = {name: row for name, row in stats.items() if name in ("cmdstat_ping", "cmdstat_evalsha", "cmdstat_eval")}
    spent = sum(row["usec"] for row in sent.values())
    return f"{spent / checks:.2f}", f"{sum(row['calls'] for row in sent.values()) / checks:.3f}"
