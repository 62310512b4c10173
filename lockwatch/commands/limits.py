"""`lockwatch limits`: who has used what, why a request is refused, and how to let it through.

The keys of buckets are computed from what the application declares, so the application is imported; the store is never searched.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from lockwatch.commands import remembered, report
from lockwatch.commands.application import OPTION, overview_of
from lockwatch.commands.group import group
from lockwatch.commands.trouble import Unusable
from lockwatch.errors import LockwatchError, StoreError
from lockwatch.flow import Flow, run
from lockwatch.limits.buckets import Buckets
from lockwatch.link import Link
from lockwatch.subjects import shown

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
PATIENCE = 5.0
"""Seconds an operator waits for the store; a request would not."""


class Desk:
    """An application and its store, opened for one command.

    Args:
        app: ``module:attribute``, None for the one that Flask has found.
        subjects: as they were typed.
        route: method and template, None for all.
        tenant: whose buckets.

    Raises: Unusable.
    """

    def __init__(self, app: str | None, subjects: Sequence[str], route: str | None, tenant: str | None) -> None:
        self.overview = overview_of(app)
        self.route = route
        self._tenant = tenant
        engine = self.overview.engine
        self.in_memory = engine.config.in_memory or engine.store_name == "fakeredis"
        self.where = f"{engine.config.namespace} at {engine.store_name}"
        self.subjects = _polite(lambda: tuple(self.overview.subject(_revealed(text)) for text in subjects))
        self.overview.link = Link(engine.config.replaced({"store_timeout": PATIENCE}), engine.warn, works=False)
        click.get_current_context().call_on_close(self.overview.link.close)

    def ask(self, question: Callable[[Buckets], Flow[T]]) -> T:
        """Run a flow on the store. Raises: Unusable."""

        def answer() -> T:
            names = self.overview.names(self.overview.link.buckets_sync(), self._tenant)
            return run(question(names), self.overview.link.sync_store(), self.overview.link.memory)

        return _polite(answer)

    def require_store(self) -> None:
        """Raises: Unusable, where the buckets are in the memory of other processes."""
        if self.in_memory:
            raise Unusable(
                "this application counts in the memory of its own processes, which no other process can see. "
                "Give it a redis_url, or ask in the process itself: await lockwatch.limits_of('ip:203.0.113.7')"
            )


_OPTIONS = (
    OPTION,
    click.option(
        "--subject",
        "subjects",
        multiple=True,
        required=True,
        metavar="SUBJECT",
        help="ip:ADDRESS, user:NAME, custom:TEXT (what a key function of yours returns), or key: for an API key, which is "
        "asked for; key:- reads it from standard input, key:@FILE from a file. May be given several times.",
    ),
    click.option("--tenant", metavar="NAME", help="Whose buckets, where the application has tenants."),
    click.option("--json", "as_json", is_flag=True, help="Print JSON."),
)


def _asks(command: F) -> F:
    """Give a command the options all have."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@group()
def limits() -> None:
    """Look at the buckets of a subject, forget them, explain a refusal."""


@limits.command()
@_asks
@click.option("--route", metavar="ROUTE", shell_complete=remembered.routes, help="One route only, like 'GET /items/{id}'.")
@click.option("--all", "everything", is_flag=True, help="Also the buckets in which nothing counts.")
def show(app: str | None, subjects: Sequence[str], route: str | None, tenant: str | None, everything: bool, as_json: bool) -> None:
    """Show what a subject has used of every limit that counts it."""
    desk = Desk(app, subjects, route, tenant)
    desk.require_store()
    usages = desk.ask(lambda names: desk.overview.usage(names, desk.subjects, route))
    listed = [usage for usage in usages if usage.used or everything]
    unknown = desk.overview.per_request(route)
    if as_json:
        _print_json(
            {
                "subjects": _names(desk),
                "looked_at": len(usages),
                "buckets": [report.usage_data(u) for u in listed],
                "per_request": unknown,
            }
        )
        return
    click.echo(f"{', '.join(_names(desk))} in {desk.where}: {len(listed)} of {len(usages)} buckets shown\n")
    for line in report.usage_table(listed) if listed else ["Nothing counts now."]:
        click.echo(line)
    for text in unknown:
        click.echo(f"Not shown, because its limits are decided per request: {text}")


@limits.command()
@_asks
@click.option("--route", metavar="ROUTE", shell_complete=remembered.routes, help="One route only, like 'GET /items/{id}'.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def reset(app: str | None, subjects: Sequence[str], route: str | None, tenant: str | None, yes: bool, as_json: bool) -> None:
    """Forget what a subject has used, its open reservations included. All processes hear of it within a second."""
    if not yes and (as_json or "key:-" in subjects):
        raise Unusable("nobody can be asked with --json or key:-; add --yes")
    desk = Desk(app, subjects, route, tenant)
    desk.require_store()
    if not yes:
        usages = desk.ask(lambda names: desk.overview.usage(names, desk.subjects, route))
        used = sum(usage.used > 0 for usage in usages)
        click.confirm(f"{', '.join(_names(desk))} in {desk.where}: {used} buckets in use. Forget them?", abort=True)
    gone = desk.ask(lambda names: desk.overview.reset(names, desk.subjects, route))
    if as_json:
        _print_json({"subjects": _names(desk), "reset": gone})
    else:
        click.echo(f"{gone} forgotten.")


@limits.command()
@_asks
@click.option(
    "--route", required=True, metavar="ROUTE", shell_complete=remembered.routes, help="Method and template, like 'POST /login'."
)
def explain(app: str | None, subjects: Sequence[str], route: str, tenant: str | None, as_json: bool) -> None:
    """Explain what a request would get now: every policy in its order, where it was declared, what is left of it."""
    desk = Desk(app, subjects, route, tenant)
    look = not desk.in_memory
    told = desk.ask(lambda names: desk.overview.explain(names, route, desk.subjects, look))
    if as_json:
        _print_json(report.explanation_data(told))
        return
    for line in report.explanation_lines(told):
        click.echo(line)
    if not look:
        click.echo("The application counts in the memory of its own processes, which no other process can see.")


def _revealed(text: str) -> str:
    """A subject as typed; an API key is read from where it does not stay, unlike a shell's history or the list of processes."""
    kind, _, value = text.partition(":")
    if kind != "key":
        return text
    if value == "":
        return f"key:{click.prompt('API key', hide_input=True, err=True)}"
    if value == "-":
        return f"key:{sys.stdin.readline().strip()}"
    if value.startswith("@"):
        return f"key:{_read(value[1:])}"
    raise Unusable(
        "an API key on the command line stays in the shell's history and is seen in the list of processes: "
        "give --subject key: to be asked for it, key:- for standard input, or key:@FILE"
    )


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Unusable(
            f"the key cannot be read from {path!r}: {getattr(error, 'strerror', None) or 'it is no UTF-8 text'}"
        ) from None


def _polite(question: Callable[[], T]) -> T:
    """Errors of the user's or of the store's as one line."""
    try:
        return question()
    except StoreError as error:
        raise Unusable(f"the store does not answer: {error}") from None
    except LockwatchError as error:
        raise Unusable(str(error)) from None


def _names(desk: Desk) -> list[str]:
    return [shown(subject) for subject in desk.subjects]


def _print_json(data: dict[str, Any]) -> None:
    click.echo(json.dumps(data, indent=2))
