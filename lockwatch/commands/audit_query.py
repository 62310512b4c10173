"""`lockwatch audit query` and `tail`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import click

from lockwatch.audit.entry import instant
from lockwatch.audit.formats import json_line
from lockwatch.audit.query import MOST, AuditQuery
from lockwatch.audit.reading import Reader
from lockwatch.audit.row import Row
from lockwatch.commands import audit_table
from lockwatch.commands.audit_filters import filters, query_of
from lockwatch.commands.database import database, database_of, run
from lockwatch.commands.plain import plain

LATE_US = 10 * 10**6
"""How much later than others a row may arrive and still be shown by `tail`."""


@click.command()
@filters
@database
@click.option("--limit", type=click.IntRange(1, MOST), default=50, show_default=True, metavar="N", help="Rows at most.")
@click.option("--cursor", metavar="TEXT", help="Go on where an earlier answer ended.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def query(url: str | None, as_json: bool, **options: Any) -> None:
    """Search the audit log, newest first. All filters given must hold."""
    question = query_of(options)

    async def ask() -> tuple[list[Row], str]:
        reader = Reader(database_of(url))
        try:
            rows = await reader.rows(question)
            return rows, reader.cursor_of(rows[-1]) if len(rows) == question.limit else ""
        finally:
            await reader.aclose()

    rows, cursor = run(ask())
    for line in map(json_line, rows) if as_json else audit_table.lines(rows) if rows else ["Nothing of that kind."]:
        click.echo(line)
    if cursor:
        click.echo(f"More with: --cursor {cursor}", err=True)


@click.command()
@filters
@database
@click.option("-n", "--lines", "amount", type=click.IntRange(0, 1000), default=20, show_default=True, help="Rows to begin with.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option(
    "--every", type=click.FloatRange(0.1, 60), default=1.0, show_default=True, metavar="SECONDS", help="How often to look."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def tail(url: str | None, amount: int, follow: bool, every: float, as_json: bool, **options: Any) -> None:
    """Print the newest rows, oldest first, and what comes after them."""
    question = query_of(options)

    async def watch() -> None:
        reader = Reader(database_of(url))
        try:
            newest = (await reader.rows(replace(question, limit=amount)))[::-1] if amount else []
            _show(newest, as_json)
            if follow:
                async for rows in arrivals(reader, question, newest, every):
                    _show(rows, as_json)
        finally:
            await reader.aclose()

    try:
        run(watch())
    except KeyboardInterrupt:
        sys.exit(130)


async def arrivals(reader: Reader, question: AuditQuery, seen: list[Row], every: float) -> AsyncIterator[list[Row]]:
    """What arrives from now on, also up to ten seconds late; each row once."""
    newest = seen[-1:] or await reader.rows(replace(question, limit=1))
    last = newest[0].timestamp if newest else 0
    window = [row async for page in reader.pages(_from(question, last - LATE_US)) for row in page]
    shown = {row.id: row.timestamp for row in window if row.timestamp <= last}
    while True:
        fresh = [row async for page in reader.pages(_from(question, last - LATE_US)) for row in page if row.id not in shown]
        if fresh:
            yield fresh
        shown |= {row.id: row.timestamp for row in fresh}
        last = max([last, *(row.timestamp for row in fresh)])
        shown = {key: time_us for key, time_us in shown.items() if time_us >= last - LATE_US}
        await asyncio.sleep(every)


def _from(question: AuditQuery, time_us: int) -> AuditQuery:
    first = instant(max(time_us, 0))
    return replace(question, from_time=max(first, question.from_time) if question.from_time else first)


def _show(rows: list[Row], as_json: bool) -> None:
    for row in rows:
        click.echo(json_line(row) if as_json else plain("  ".join(filter(None, audit_table.cells(row)))))
