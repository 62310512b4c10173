"""`lockwatch db partitions` and `roles`: what only Postgres has."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from lockwatch.audit import partitions as parts
from lockwatch.audit import roles as who
from lockwatch.audit.connect import Database
from lockwatch.audit.formats import moment
from lockwatch.audit.partitions import SPANS
from lockwatch.commands.database import database, database_of, run
from lockwatch.commands.plain import moment_of, size
from lockwatch.commands.printed import JSON, print_json
from lockwatch.commands.report import table
from lockwatch.commands.trouble import Unusable


@click.command()
@database
@click.option("--by", "span", type=click.Choice(SPANS), help="How much time each new partition holds. Those there are stay.")
@click.option("--for", "time", metavar="TIME", help="Make the partition for this time, like 2027-01-01, unless it is there.")
@JSON
def partitions(url: str | None, span: str | None, time: str | None, as_json: bool) -> None:
    """List the partitions. They are made by whoever writes; a day each pays above five million rows a day."""
    place = _postgres(url)
    moment_asked = None if time is None else moment_of(time, datetime.now(UTC))
    by, listed = run(_partitions(place, span, moment_asked))
    if as_json:
        told = [p._asdict() | {"first": moment(p.first), "last": moment(p.last)} for p in listed]
        print_json({"database": place.shown, "new_partitions_hold": by, "partitions": told})
        return
    rows = [(p.name, moment(p.first)[:10], moment(p.last)[:10], str(p.rows), size(p.bytes)) for p in listed]
    for line in table(("partition", "from", "to", "rows", "size"), rows):
        click.echo(line)
    click.echo(f"New partitions hold a {by}.")


@click.command()
@database
@click.option("--writer", default="lockwatch_writer", show_default=True, metavar="ROLE", help="May add rows; nothing else.")
@click.option("--reader", default="lockwatch_reader", show_default=True, metavar="ROLE", help="May read; nothing else.")
@click.option("--apply", "execute", is_flag=True, help="Run the statements, as the owner of the tables, instead of printing them.")
@JSON
def roles(url: str | None, writer: str, reader: str, execute: bool, as_json: bool) -> None:
    """Print the SQL that makes the log append-only: two roles with their rights, and triggers against UPDATE, DELETE and TRUNCATE.

    Grant the roles to the users your application and your analysts log in as.
    """
    statements = run(_roles(_postgres(url), writer, reader, execute))
    if as_json:
        print_json({"statements": statements, "applied": execute})
    elif execute:
        click.echo(f"{len(statements)} statements run.")
    else:
        for statement in statements:
            click.echo(f"{statement};")


async def _partitions(place: Database, span: str | None, time: datetime | None) -> tuple[str, list[parts.Partition]]:
    connection = await place.connect()
    try:
        if span is not None:
            await parts.set_span(connection, span)
        if time is not None:
            await connection.fetchval("SELECT lockwatch_audit_partition($1)", time)
        return await parts.span(connection), await parts.listed(connection)
    finally:
        await connection.close()


async def _roles(place: Database, writer: str, reader: str, execute: bool) -> list[str]:
    connection: Any = await place.connect()
    try:
        names = [partition.name for partition in await parts.listed(connection)]
        statements = who.grants(writer, reader) + who.triggers(names)
        if execute:
            async with connection.transaction():
                for statement in statements:
                    await connection.execute(statement)
        return statements
    finally:
        await connection.close()


def _postgres(url: str | None) -> Database:
    place = database_of(url)
    if place.dialect != "postgresql":
        raise Unusable("SQLite has neither partitions nor roles; this is for Postgres")
    return place
