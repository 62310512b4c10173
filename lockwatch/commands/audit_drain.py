"""`lockwatch audit drain`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import click

from lockwatch.audit.drain import Shipped, waiting
from lockwatch.audit.drain import drain as ship
from lockwatch.audit.sinks import sink_of
from lockwatch.commands.database import database, given_url, run
from lockwatch.commands.plain import plain, size
from lockwatch.commands.printed import JSON, print_json
from lockwatch.commands.trouble import Unusable
from lockwatch.config import LockWatchConfig
from lockwatch.errors import LockwatchError
from lockwatch.spool.directory import Directory, default_place

T = TypeVar("T")


@click.command()
@database
@click.option("--spool-dir", metavar="DIRECTORY", help="Where the application spools, if it says so itself.")
@click.option("--namespace", default=LockWatchConfig().namespace, show_default=True, help="The application's.")
@click.option("--dry-run", is_flag=True, help="Only say what there is.")
@JSON
def drain(url: str | None, spool_dir: str | None, namespace: str, dry_run: bool, as_json: bool) -> None:
    """Deliver what dead processes left in their spools, faster than an application would beside its requests.

    Run it as the user the application runs as. Spools of processes that live are theirs. Rows that are in the database already are
    not stored twice. A spool another sink still waits for is kept for it.
    """
    place = Path(spool_dir).expanduser() if spool_dir else default_place()
    directory = Directory(place, namespace)
    spools = _polite(lambda: list(waiting(directory)))
    for name, held in () if as_json else spools:
        click.echo(f"{name}: {size(held)}")
    done = None if dry_run else run(_drain(directory, given_url(url)))
    if as_json:
        rows, damaged, took = done or Drained(0, 0, 0.0)
        told = [{"name": name, "bytes": held} for name, held in spools]
        print_json({"dry_run": dry_run, "spools": told, "rows": rows, "damaged": damaged, "seconds": round(took, 3)})
    elif done is not None:
        rate = f", {done.rows / done.seconds:,.0f} a second." if done.rows else "."
        click.echo(f"{done.rows} rows delivered in {done.seconds:.1f} s{rate}")
    if done is not None and done.damaged:
        click.echo(
            f"{done.damaged} records are damaged; the application declares them as a gap when it adopts their spool.", err=True
        )
        sys.exit(1)


class Drained(NamedTuple):
    """What became of spools."""

    rows: int
    damaged: int
    seconds: float


async def _drain(directory: Directory, url: str) -> Drained:
    sink = sink_of(url)
    began, total, damaged, last = time.monotonic(), 0, 0, Shipped("", 0)
    try:
        async for shipped in ship(directory, sink):
            _progress(total + shipped.rows, began)
            if shipped.done:
                total, damaged, last = total + shipped.rows, damaged + shipped.damaged, shipped
                _told(last)
    finally:
        await sink.aclose()
    return Drained(total, damaged, time.monotonic() - began)


def _told(shipped: Shipped) -> None:
    for name in shipped.others:
        click.echo(f"{shipped.file} is kept for {plain(name)}, which has not had everything.", err=True)


def _progress(rows: int, began: float) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{rows:,} rows, {rows / max(time.monotonic() - began, 0.001):,.0f} a second ", nl=False, err=True)


def _polite(work: Callable[[], T]) -> T:
    try:
        return work()
    except LockwatchError as error:
        raise Unusable(str(error)) from None
