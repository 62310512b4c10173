"""Rows of the audit log as lines of a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from lockwatch.audit.entry import texts
from lockwatch.audit.formats import moment
from lockwatch.audit.row import Row
from lockwatch.commands.plain import plain
from lockwatch.commands.report import table

HEAD = ("time (UTC)", "action", "outcome", "status", "ms", "user", "address", "what", "notes")


def lines(rows: Sequence[Row]) -> list[str]:
    """An aligned table."""
    return table(HEAD, [cells(row) for row in rows])


def cells(row: Row) -> tuple[str, ...]:
    """A row, cut to what fits."""
    action = row.action if row.kind in ("http", "app") else f"{row.kind} {row.action}"
    what = " ".join(filter(None, (row.method, row.endpoint or row.target)))
    return (
        moment(row.timestamp)[:23].replace("T", " "),
        plain(action, 24),
        plain(row.outcome, 12),
        "" if row.status_code is None else str(row.status_code),
        "" if row.latency_us is None else f"{row.latency_us / 1000:.1f}",
        plain(_who(row), 24),
        plain(row.ip or "", 39),
        plain(what, 48),
        plain(_notes(row), 48),
    )


def _who(row: Row) -> str:
    if row.actor and row.actor != row.user_id:
        return f"{row.actor} for {row.user_id}" if row.user_id else row.actor
    return row.user_id or ""


def _notes(row: Row) -> str:
    found = [row.decision] if row.decision not in (None, "allowed") else []
    found += ["anomaly"] if row.anomaly_detected else []
    found += [f"x{row.count}"] if row.count > 1 else []
    return ", ".join(map(str, (*found, *texts(row.reasons))))
