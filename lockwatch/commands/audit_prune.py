"""`lockwatch audit prune` and `stats`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import click

from lockwatch.audit import partitions, seals, upgrades
from lockwatch.audit.checkpoint import Anchor
from lockwatch.audit.connect import Database
from lockwatch.audit.entry import microseconds
from lockwatch.audit.formats import moment
from lockwatch.audit.retention import Pruned, Sign, outlook, unsigned
from lockwatch.audit.retention import prune as forget
from lockwatch.commands.database import database, database_of, run
from lockwatch.commands.plain import moment_of, size
from lockwatch.commands.printed import JSON, print_json
from lockwatch.commands.report import table
from lockwatch.commands.trouble import Unusable
from lockwatch.errors import LockwatchError


@click.command()
@database
@click.option("--keep", metavar="TIME", help="How much to keep, like 90d or 52w.")
@click.option("--before", metavar="TIME", help="Forget what is older than then, like 2026-08-01.")
@click.option("--key", "key_path", metavar="FILE", help="Ed25519 private key in PEM, of checkpoints: signs where the chains begin.")
@click.option("--origin", default=seals.ORIGIN, show_default=True, metavar="NAME", help="Name of this log, in every signature.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@JSON
def prune(
    url: str | None,
    keep: str | None,
    before: str | None,
    key_path: str | None,
    origin: str,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Forget what is old. Run it as the owner of the tables, from a scheduler.

    On Postgres whole partitions go, without locking anybody out, and their bytes are free at once. Where each hash chain begins
    from then on is anchored first, so `verify` still notices every other row that is missing.
    """
    if (keep is None) == (before is None):
        raise Unusable("give one of --keep 90d and --before 2026-08-01")
    if as_json and not (yes or dry_run):
        raise Unusable("nobody can be asked with --json; add --yes or --dry-run")
    edge = moment_of(keep or before or "", datetime.now(UTC))
    if edge > datetime.now(UTC):
        raise Unusable(f"{keep or before} is in the future")
    sign = _signing(key_path, origin)
    place = database_of(url)
    going = run(outlook(place, microseconds(edge)))
    for part in () if as_json else going:
        click.echo(_line(part))
    if not (yes or dry_run):
        click.confirm(f"{place.shown}: forget what is older than {edge:%Y-%m-%d %H:%M:%S %Z}?", abort=True)
    rows, freed = (0, 0) if dry_run else run(_forget(place, microseconds(edge), sign))
    if as_json:
        told = [part._asdict() for part in going]
        print_json({"before": edge.isoformat(), "dry_run": dry_run, "parts": told, "forgotten": rows, "freed": freed})
    elif not dry_run:
        click.echo(f"{rows} rows forgotten, {size(freed)} freed.")


async def _forget(place: Database, edge: int, sign: Sign) -> tuple[int, int]:
    """Forget what is older; how many rows went, and how many bytes."""
    rows = freed = 0
    async for part in forget(place, edge, sign):
        rows, freed = rows + part.rows, freed + part.bytes
    return rows, freed


def _signing(key_path: str | None, origin: str) -> Sign:
    if key_path is None:
        return unsigned
    try:
        signer = seals.load_signer(key_path, origin)
    except LockwatchError as error:
        raise Unusable(str(error)) from None
    return lambda process, seq, chain: signer.sign(Anchor(process, seq, chain).text)


def _line(part: Pruned) -> str:
    return f"{part.name}: {part.rows} rows{f', {size(part.bytes)}' if part.bytes else ''}"


@click.command()
@database
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def stats(url: str | None, as_json: bool) -> None:
    """Tell how large the log is, from when to when, and what was kept aside. Postgres estimates the rows."""
    place = database_of(url)
    found = run(_postgres(place) if place.dialect == "postgresql" else _sqlite(place))
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    parts = found.pop("partitions")
    if parts:
        for line in table(("partition", "from", "to", "rows", "size"), [_cells(part) for part in parts]):
            click.echo(line)
        click.echo()
    for name, value in found.items():
        click.echo(f"{name.replace('_', ' '):<10} {size(value) if name == 'bytes' else value}")


def _cells(part: dict[str, Any]) -> tuple[str, ...]:
    return part["name"], part["first"][:10], part["last"][:10], str(part["rows"]), size(part["bytes"])


async def _postgres(place: Database) -> dict[str, Any]:
    connection = await place.connect()
    try:
        parts = await partitions.listed(connection)
        shown = [part._asdict() | {"first": moment(part.first), "last": moment(part.last)} for part in parts]
        first, last = await connection.fetchrow("SELECT min(timestamp), max(timestamp) FROM lockwatch_audit_log")
        parked = await connection.fetchval("SELECT count(*) FROM lockwatch_audit_parked")
    finally:
        await connection.close()
    totals = {"rows": sum(part.rows for part in parts), "bytes": sum(part.bytes for part in parts)}
    times = {"first": first and moment(microseconds(first)), "last": last and moment(microseconds(last))}
    return {"partitions": shown, **totals, **times, "parked": parked, "revision": await upgrades.current(place)}


async def _sqlite(place: Database) -> dict[str, Any]:
    async def one(statement: str) -> Any:
        async with engine.connect() as connection:
            return (await connection.exec_driver_sql(statement)).one()

    engine = place.engine()
    try:
        rows, first, last = await one("SELECT count(*), min(timestamp), max(timestamp) FROM lockwatch_audit_log")
        (held,) = await one("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
        (parked,) = await one("SELECT count(*) FROM lockwatch_audit_parked")
    finally:
        await engine.dispose()
    times = {"first": None if first is None else moment(first), "last": None if last is None else moment(last)}
    return {"partitions": [], "rows": rows, "bytes": held, **times, "parked": parked, "revision": await upgrades.current(place)}
