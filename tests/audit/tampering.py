"""A log with chains as processes write them, and hands that change it by SQL."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import asyncpg
from click.testing import CliRunner, Result

from lockwatch.audit.chain import link
from lockwatch.audit.formats import json_line
from lockwatch.audit.row import Row
from lockwatch.audit.sinks import sink_of
from lockwatch.cli import main
from tests.audit.rows import NOW, row_id

A, B = "aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb"


def chained(process: str, amount: int, time_us: int = NOW, start: int = 1, previous: bytes = b"", **values: Any) -> list[Row]:
    """Rows of one process, a second apart."""
    found = []
    for seq in range(start, start + amount):
        when = time_us + seq * 1_000_000
        row = Row(
            when, row_id(when, int(process, 16) % 2**40 * 1000 + seq), process, seq, "http", "request", "success", user_id="u"
        )._replace(ip="2001:db8::1", details='{"b":1,"a":"\u00e4"}', rate_limit_hit=seq % 2 == 0, **values)
        previous = link(previous, row)
        found.append(row._replace(chain=previous))
    return found


def gap(writer: str, seq: int, previous: bytes, time_us: int, **details: Any) -> Row:
    """A row that declares a loss."""
    row = Row(
        time_us, row_id(time_us, seq), writer, seq, "system", "gap", "failure", details=json.dumps(details, separators=(",", ":"))
    )
    return row._replace(chain=link(previous, row))


def by_time(*logs: Iterable[Row]) -> list[Row]:
    """As a database gives them."""
    return sorted((row for log in logs for row in log), key=lambda row: (row.timestamp, row.id))


def store(url: str, rows: Iterable[Row]) -> None:
    """Write rows as an application does."""

    async def deliver() -> None:
        sink = sink_of(url)
        await sink.write(list(rows))
        await sink.aclose()

    asyncio.run(deliver())


def sql(url: str, *statements: str) -> None:
    """Do something by SQL, as somebody would who has the rights."""
    if url.startswith("sqlite"):
        file = sqlite3.connect(url.removeprefix("sqlite+aiosqlite:///"), isolation_level=None)
        for statement in statements:
            assert file.execute(statement).rowcount != 0
        file.close()
        return

    async def do() -> None:
        connection = await asyncpg.connect(url)
        for statement in statements:
            assert await connection.execute(statement) not in ("UPDATE 0", "DELETE 0")
        await connection.close()

    asyncio.run(do())


def export(path: Path, rows: Iterable[Row]) -> str:
    """Write rows as `lockwatch audit export` does."""
    path.write_text("".join(f"{json_line(row)}\n" for row in rows), encoding="utf-8")
    return str(path)


def command(*words: str) -> Result:
    """Run `lockwatch audit`."""
    return CliRunner().invoke(main, ["audit", *words])


def findings(result: Result) -> list[tuple[str, str, int, int]]:
    """Kind, process, first and last row of each finding of `verify --json`."""
    assert result.exit_code in (0, 1), result.output
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    found = [(line["kind"], line["process"], line["seq"], line["until"]) for line in lines[:-1]]
    assert (result.exit_code, lines[-1]["summary"]["findings"]) == (1 if found else 0, len(found))
    return found


def summary(result: Result) -> dict[str, Any]:
    """The last line of `verify --json`."""
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])["summary"]
    return found
