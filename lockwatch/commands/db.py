"""`lockwatch db`: the tables of the audit log."""

from __future__ import annotations

import click

from lockwatch.audit import upgrades
from lockwatch.commands import db_postgres
from lockwatch.commands.database import database, database_of, run
from lockwatch.commands.group import group
from lockwatch.commands.printed import JSON, print_json
from lockwatch.commands.trouble import Unusable
from lockwatch.errors import LockwatchError


@group()
def db() -> None:
    """Make and change the tables of the audit log.

    They have names that begin with lockwatch_, and a version table of their own: the application's migrations do not know them.
    """


@db.command()
@click.argument("revision", default="head")
@database
@click.option("--sql", is_flag=True, help="Print the SQL instead, for Postgres or SQLite as the URL says; nothing is connected to.")
@JSON
def upgrade(revision: str, url: str | None, sql: bool, as_json: bool) -> None:
    """Bring the tables to REVISION, the newest one by default. Run as the user who is to own them."""
    if sql and as_json:
        raise Unusable("--sql prints SQL; leave out --json")
    place = database_of(url)
    if sql:
        try:
            upgrades.script(place, revision)
        except LockwatchError as error:
            raise Unusable(str(error)) from None
        return
    before = run(upgrades.current(place))
    run(upgrades.upgrade(place, revision))
    after = run(upgrades.current(place))
    if as_json:
        print_json({"database": place.shown, "before": before, "revision": after, "newest": upgrades.HEAD})
        return
    click.echo(f"{place.shown}: {_named(before)} -> {_named(after)}" if before != after else f"{place.shown}: {_named(after)}")


@db.command()
@click.argument("revision")
@database
@click.option("--yes", is_flag=True, help="Do not ask.")
@JSON
def downgrade(revision: str, url: str | None, yes: bool, as_json: bool) -> None:
    """Take the tables back to REVISION. `base` drops them, with every row."""
    if as_json and not yes:
        raise Unusable("nobody can be asked with --json; add --yes")
    place = database_of(url)
    if not yes:
        click.confirm(f"{place.shown}: take the audit log back to {revision}, and lose what only later ones hold?", abort=True)
    before = run(upgrades.current(place))
    run(upgrades.downgrade(place, revision))
    after = run(upgrades.current(place))
    if as_json:
        print_json({"database": place.shown, "before": before, "revision": after, "newest": upgrades.HEAD})
    else:
        click.echo(f"{place.shown}: {_named(after)}")


@db.command()
@database
@JSON
def current(url: str | None, as_json: bool) -> None:
    """Print the revision the tables are at. Exit status 1 when it is not the newest this release knows."""
    place = database_of(url)
    found = run(upgrades.current(place))
    newest = "" if found == upgrades.HEAD else f"; the newest is {upgrades.HEAD}: lockwatch db upgrade"
    if as_json:
        print_json({"database": place.shown, "revision": found, "newest": upgrades.HEAD})
    else:
        click.echo(f"{place.shown}: {_named(found)}{newest}")
    if newest:
        raise SystemExit(1)


def _named(revision: str | None) -> str:
    return revision or "no tables"


db.add_command(db_postgres.partitions)
db.add_command(db_postgres.roles)
