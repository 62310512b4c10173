"""`lockwatch alerts`: what was sent, what was not, and whether receivers can be reached.

The application is imported, for where its outboxes are and who receives. The outboxes of all its processes are read, also of dead
ones.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import click

from lockwatch.alerts.dispatch import Alerts
from lockwatch.alerts.record import DEAD, DELIVERED, WAITING, Delivery
from lockwatch.commands.application import OPTION, overview_of
from lockwatch.commands.group import group
from lockwatch.commands.report import table
from lockwatch.commands.trouble import Unusable
from lockwatch.errors import LockwatchError

_STATES: Final = {
    "waiting": (WAITING,),
    "dead": (DEAD,),
    "delivered": (DELIVERED,),
    "all": (WAITING, DEAD, DELIVERED),
}
_JSON: Final = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@group()
def alerts() -> None:
    """Look at alerts, send them again, and try whether they arrive."""


@alerts.command(name="list")
@OPTION
@click.option("--state", type=click.Choice(list(_STATES)), default="all", show_default=True)
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, metavar="N", help="The newest so many.")
@_JSON
def list_(app: str | None, state: str, limit: int, as_json: bool) -> None:
    """List alerts and what became of them, the newest first."""
    with _desk(app) as desk:
        found = desk.entries(_STATES[state], limit)
    if as_json:
        click.echo(json.dumps([_data(delivery) for delivery in found], indent=2))
        return
    head = ("alert", "raised", "type", "receiver", "state", "tried", "next", "last")
    for line in table(head, [_row(delivery, time.time()) for delivery in found]) if found else ["There are none."]:
        click.echo(line)


@alerts.command()
@OPTION
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--dead", is_flag=True, help="Everything that was given up.")
@_JSON
def replay(app: str | None, ids: Sequence[str], dead: bool, as_json: bool) -> None:
    """Send alerts again: those with these ids, or with --dead all that were given up.

    The application sends them within seconds, or when it is started next.
    """
    if bool(ids) == dead:
        raise Unusable("name the alerts, or give --dead; lockwatch alerts list shows the ids")
    with _desk(app) as desk:
        count = desk.replay(ids)
    click.echo(json.dumps({"replayed": count}) if as_json else f"{count} deliveries will be tried again.")
    sys.exit(0 if count else 1)


@alerts.command()
@OPTION
@_JSON
def test(app: str | None, as_json: bool) -> None:
    """Send a test to every receiver now, and say what they answer. Exit status 1 when one does not get it."""
    with _desk(app) as desk:
        answers = asyncio.run(desk.test())
    if as_json:
        told = [
            {"receiver": name, "delivered": a.delivered, "status": a.status or None, "error": a.error or None}
            for name, a in answers
        ]
        click.echo(json.dumps(told, indent=2))
    for name, answer in () if as_json else answers:
        click.echo(f"{name}: {'delivered, ' if answer.delivered else 'not delivered, '}{answer.text}")
    sys.exit(0 if all(answer.delivered for _, answer in answers) else 1)


@contextmanager
def _desk(app: str | None) -> Iterator[Alerts]:
    """The alerts of an application. Raises: Unusable."""
    found = overview_of(app).engine.alerts
    if found is None:
        raise Unusable(
            f"{app} alerts nobody; set webhook_urls, like LockWatch(app, webhook_urls=['https://hooks.example.com/lockwatch'])"
        )
    try:
        yield found
    except (LockwatchError, sqlite3.Error) as error:
        raise Unusable(str(error)) from None


def _row(delivery: Delivery, now: float) -> tuple[str, ...]:
    waits = max(0, round(delivery.due_at - now)) if delivery.state == WAITING else None
    return (
        delivery.alert,
        _instant(delivery.raised_at),
        delivery.type,
        delivery.name,
        delivery.state,
        str(delivery.attempts),
        "-" if waits is None else f"in {waits} s",
        delivery.note or "-",
    )


def _data(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.alert,
        "type": delivery.type,
        "raised": _instant(delivery.raised_at),
        "receiver": delivery.name,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "next_attempt": _instant(delivery.due_at) if delivery.state == WAITING else None,
        "last": delivery.note or None,
        "content": None if delivery.body is None else json.loads(delivery.body),
    }


def _instant(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
