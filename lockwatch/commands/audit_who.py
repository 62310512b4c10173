"""`lockwatch audit who`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from ipaddress import ip_address

import click

from lockwatch.audit.formats import json_line, moment
from lockwatch.audit.portrait import Portrait, portrait
from lockwatch.audit.query import AuditQuery
from lockwatch.audit.reading import Reader
from lockwatch.audit.row import Row
from lockwatch.commands import audit_table
from lockwatch.commands.database import database, database_of, run
from lockwatch.commands.plain import moment_of, plain

_NAMES = {"status_code": "status", "ip": "addresses", "user_id": "users", "user_agent": "agents", "campaign_id": "attacks"}


@click.command()
@click.argument("subject")
@database
@click.option("--user", "is_user", is_flag=True, help="SUBJECT is a user, even if it looks like an address.")
@click.option("--since", default="30d", show_default=True, metavar="TIME", help="How far to look back.")
@click.option("--lines", "amount", type=click.IntRange(0, 1000), default=10, show_default=True, help="Newest rows to show.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def who(subject: str, url: str | None, is_user: bool, since: str, amount: int, as_json: bool) -> None:
    """Tell what an address or a user did: when, what, how it ended, and with whom it shares addresses."""
    first = moment_of(since, datetime.now(UTC))
    address = None if is_user else _address(subject)

    async def ask() -> tuple[Portrait, list[Row]]:
        reader = Reader(database_of(url))
        try:
            found = await portrait(reader, "user_id" if address is None else "ip", address or subject, first)
            asked = AuditQuery(user_id=None if address else subject, ip=address, limit=max(amount, 1))
            return found, (await reader.rows(asked))[:amount]
        finally:
            await reader.aclose()

    found, rows = run(ask())
    if as_json:
        times = {name: None if at is None else moment(at) for name, at in (("first", found.first), ("last", found.last))}
        click.echo(json.dumps(asdict(found) | times | {"rows": [json.loads(json_line(row)) for row in rows]}, indent=2))
        return
    for line in _told(found, since, rows):
        click.echo(line)


def _told(found: Portrait, since: str, rows: list[Row]) -> Iterator[str]:
    name = plain(found.subject)
    if found.first is None or found.last is None:
        yield f"{name}: nothing since {plain(since)}"
        return
    yield f"{name}: {found.events} events, {found.refused} refused by limits, {found.anomalies} with an anomaly"
    yield f"from {moment(found.first)[:19]} to {moment(found.last)[:19]} UTC"
    yield ""
    for aspect, values in found.aspects.items():
        told = ", ".join(f"{plain(value, 60)} ({count})" for value, count in values)
        yield f"{_NAMES.get(aspect, aspect):<10} {told}"
    if rows:
        yield ""
        yield from audit_table.lines(rows)


def _address(text: str) -> str | None:
    try:
        return str(ip_address(text))
    except ValueError:
        return None
