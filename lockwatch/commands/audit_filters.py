"""The options by which commands choose rows of the audit log."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import click

from lockwatch.audit.query import AuditQuery
from lockwatch.commands.plain import moment_of
from lockwatch.commands.trouble import Unusable
from lockwatch.errors import LockwatchError

F = TypeVar("F", bound=Callable[..., Any])
_TEXTS: Final = {
    "user_id": ("--user", "Whose requests."),
    "ip": ("--ip", "From which address."),
    "endpoint_prefix": ("--path", "How the path begins."),
    "route": ("--route", "Template of the route, like '/items/{id}'."),
    "method": ("--method", "GET and so on."),
    "kind": ("--kind", "http, websocket, auth, app, admin or system."),
    "action": ("--action", "What was done, like login or token.reused."),
    "outcome": ("--outcome", "success, failure, refused, error or disconnected."),
    "actor": ("--actor", "Who did it."),
    "target": ("--target", "What it was done to."),
    "session": ("--session", "Family of the session."),
    "tenant": ("--tenant", "Whose it is."),
    "request_id": ("--request-id", "Of one request."),
    "trace_id": ("--trace-id", "Of one trace."),
    "campaign_id": ("--campaign", "What belongs to an attack."),
}
_OTHERS: Final = (
    click.option("--status", "status_code", type=int, metavar="N", help="Status of the answer."),
    click.option("--refused", "rate_limit_hits_only", is_flag=True, help="Only what a limit refused."),
    click.option("--anomalies", "anomalies_only", is_flag=True, help="Only what a rule of detection pointed at."),
    click.option("--since", "from_time", metavar="TIME", help="From then on: 2h, 7d, 2026-11-24, 2026-11-24T09:30:00Z."),
    click.option("--until", "to_time", metavar="TIME", help="Up to then, not included."),
)


def filters(command: F) -> F:
    """Give a command the options that choose rows; it gets them by the names of `AuditQuery`."""
    for option in reversed(_OTHERS):
        command = option(command)
    for name, (flag, text) in reversed(_TEXTS.items()):
        command = click.option(flag, name, metavar="TEXT", help=text)(command)
    return command


def query_of(options: dict[str, Any], **more: Any) -> AuditQuery:
    """The question that options ask. Raises: Unusable."""
    now = datetime.now(UTC)
    given = options | more
    for name in ("from_time", "to_time"):
        if isinstance(given.get(name), str):
            given[name] = moment_of(given[name], now)
    try:
        return AuditQuery(**{name: value for name, value in given.items() if value is not None})
    except LockwatchError as error:
        raise Unusable(str(error)) from None
