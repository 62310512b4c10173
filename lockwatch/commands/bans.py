"""`lockwatch bans`: who is banned, to ban somebody, to let somebody in again. All processes hear of it within a second."""

from __future__ import annotations

import getpass
import json
import re
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final, TypeVar

import click

from lockwatch.anomaly.ban import Ban
from lockwatch.anomaly.bans import Bans
from lockwatch.client import trust
from lockwatch.commands import report
from lockwatch.commands.application import OPTION, overview_of
from lockwatch.commands.group import group
from lockwatch.commands.trouble import Unusable
from lockwatch.errors import LockwatchError, StoreError
from lockwatch.link import Link

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
PATIENCE: Final = 5.0
"""Seconds an operator waits for the store; a request would not."""
_UNITS: Final = {"": 1, "s": 1, "min": 60, "h": 3600, "d": 86_400}
_DURATION: Final = re.compile(r"(\d{1,9})\s?(s|min|h|d|)")


class Desk:
    """The bans of an application, opened for one command.

    Args:
        app: ``module:attribute``.

    Raises: Unusable.
    """

    def __init__(self, app: str | None) -> None:
        engine = overview_of(app).engine
        if engine.bans is None:
            raise Unusable("nobody is banned in this application; set bans=True, or anomaly, like LockWatch(app, bans=True)")
        if engine.config.in_memory or engine.store_name == "fakeredis":
            raise Unusable(
                "this application keeps its bans in the memory of its own processes, which no other process can see. "
                "Give it a redis_url, or ask in the process itself: await lockwatch.bans.list()"
            )
        self.engine = engine
        link = Link(engine.config.replaced({"store_timeout": PATIENCE}), engine.warn, works=False)
        self.bans = Bans(engine.config, engine.bans.settings, link, trust(engine.config.trusted_proxies), engine.exempt)
        self.bans.report = engine.changed
        self._link = link
        click.get_current_context().call_on_close(self._end)

    def _end(self) -> None:
        """See to it that what was done is in the audit log, then hang up."""
        self.engine.close()
        self._link.close()


def _asks(command: F) -> F:
    """Give a command the options all have."""
    return OPTION(click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command))


_BY: Final = click.option("--by", metavar="NAME", help="Who decides, for the audit log; your login name by default.")


@group()
def bans() -> None:
    """See who is banned, ban somebody, let somebody in again.

    A subject is an address, a network like 2001:db8::/64, or user:NAME.
    """


@bans.command("list")
@_asks
def list_(app: str | None, as_json: bool) -> None:
    """List the bans that hold, those that end first at the beginning."""
    found = _polite(Desk(app).bans.list_sync)
    if as_json:
        click.echo(json.dumps({"bans": [_data(ban) for ban in found]}, indent=2))
        return
    rows = [(b.subject, report.duration(b.seconds), str(b.times), b.by or "-", b.reason or "-", b.id) for b in found]
    for line in report.table(("subject", "ends in", "ban", "by", "reason", "id"), rows) if rows else ["Nobody is banned."]:
        click.echo(line)


@bans.command()
@click.argument("subject")
@_asks
@click.option(
    "--for", "length", metavar="TIME", help="How long, like 600, 30min, 12h or 7d; the application's default if left out."
)
@click.option("--reason", default="", metavar="TEXT", help="Why, for the list and the audit log.")
@_BY
def add(subject: str, app: str | None, length: str | None, reason: str, by: str | None, as_json: bool) -> None:
    """Ban SUBJECT, or change how long its ban lasts."""
    desk, seconds = Desk(app), None if length is None else _seconds(length)
    ban = _polite(lambda: desk.bans.add_sync(subject, seconds=seconds, reason=reason, by=by or _login()))
    click.echo(json.dumps(_data(ban), indent=2) if as_json else f"{ban.subject} is banned for {report.duration(ban.seconds)}.")


@bans.command()
@click.argument("subject")
@_asks
@_BY
def lift(subject: str, app: str | None, by: str | None, as_json: bool) -> None:
    """Let SUBJECT in again, and forget that it was banned."""
    desk = Desk(app)
    there = _polite(lambda: desk.bans.lift_sync(subject, by=by or _login()))
    click.echo(json.dumps({"subject": subject, "lifted": there}) if as_json else "Lifted." if there else "It was not banned.")


def _seconds(text: str) -> float:
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise Unusable(f"--for {text!r} is no time; correct ones are 600, 30min, 12h and 7d")
    return float(int(found[1]) * _UNITS[found[2]])


def _data(ban: Ban) -> dict[str, Any]:
    return asdict(ban) | {"seconds": round(ban.seconds, 1), "age": round(ban.age, 1)}


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "command line"


def _polite(question: Callable[[], T]) -> T:
    """Errors of the user's or of the store's as one line."""
    try:
        return question()
    except StoreError as error:
        raise Unusable(f"the store does not answer: {error}") from None
    except (LockwatchError, ValueError) as error:
        raise Unusable(str(error)) from None
