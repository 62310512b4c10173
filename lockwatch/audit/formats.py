"""Rows as text: JSON lines, CSV, Elastic Common Schema. Pure."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from lockwatch.audit.entry import AuditLogEntry, instant, microseconds, texts
from lockwatch.audit.row import COLUMNS, Row

_JSON: Final = frozenset({"reasons", "flags", "details"})
_UNSEEN: Final = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
"""What steers terminals or cannot be encoded: spelled as escapes of JSON."""
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a spreadsheet takes for the beginning of a formula, or of the next cell."""


def moment(time_us: int) -> str:
    """Microseconds since 1970 as RFC 3339: ``2026-11-24T09:30:00.000001Z``."""
    return instant(time_us).isoformat(timespec="microseconds").replace("+00:00", "Z")


def json_line(row: Row) -> str:
    """A row as one JSON object on one line, without what it does not have. `row_of` reads it again, to the byte."""
    parts: list[str] = []
    special = {"timestamp": f'"{moment(row.timestamp)}"', "chain": f'"{row.chain.hex()}"'}
    special |= {name: _UNSEEN.sub(_escaped, getattr(row, name) or "") for name in _JSON}
    for name, value in zip(COLUMNS, row, strict=True):
        if value is not None:
            parts.append(f'"{name}":{special[name] if name in special else json.dumps(value)}')
    return f"{{{','.join(parts)}}}"


def json_row(row: Row) -> str:
    """The line with its end."""
    return f"{json_line(row)}\n"


def ecs_row(row: Row) -> str:
    """The same as ECS."""
    return f"{ecs(row)}\n"


def row_of(line: str) -> Row:
    """The row of a `json_line`. Raises: ValueError, for a line that is none."""
    try:
        values: dict[str, Any] = json.loads(line)
        values["timestamp"] = microseconds(datetime.fromisoformat(values["timestamp"]))
        values["chain"] = bytes.fromhex(values.get("chain", ""))
        for name in _JSON & values.keys():
            values[name] = json.dumps(values[name], separators=(",", ":"), ensure_ascii=False)
        return Row(**values)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"not a row of the audit log: {type(error).__name__}: {error}") from None


def csv_head() -> str:
    """The first line of a CSV file."""
    return csv_line(COLUMNS)


def csv_row(row: Row) -> str:
    """A row as a line of CSV (RFC 4180). What a spreadsheet would run as a formula has an apostrophe before it."""
    values = row._replace(chain=row.chain.hex())._asdict() | {"timestamp": moment(row.timestamp)}  # type: ignore[arg-type]
    return csv_line([_cell(value) for value in values.values()])


def csv_line(cells: Sequence[str]) -> str:
    """Cells, quoted where they have to be; with its end of line."""
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()


def ecs(row: Row) -> str:
    """A row as an event of the Elastic Common Schema 8, one JSON object on one line."""
    fields: dict[str, Any] = {
        "@timestamp": moment(row.timestamp),
        "ecs.version": "8.11.0",
        "event.id": row.id,
        "event.kind": "alert" if row.anomaly_detected else "event",
        "event.category": _CATEGORIES.get(row.kind, ["process"]),
        "event.type": _type(row),
        "event.action": row.action,
        "event.outcome": {"success": "success", "disconnected": "unknown"}.get(row.outcome, "failure"),
        "event.reason": "; ".join(texts(row.reasons)) or None,
        "event.sequence": row.seq,
        "event.duration": None if row.latency_us is None else row.latency_us * 1000,
        "event.dataset": "lockwatch.audit",
        "user.id": row.user_id,
        "source.ip": row.ip,
        "client.ip": row.ip,
        "network.forwarded_ip": row.ip if row.ip_source == "proxy" else None,
        "http.request.method": row.method,
        "http.request.id": row.request_id,
        "http.response.status_code": row.status_code,
        "http.response.body.bytes": row.bytes_sent,
        "url.path": row.endpoint,
        "url.query": row.query,
        "user_agent.original": row.user_agent,
        "trace.id": row.trace_id,
        "organization.id": row.tenant,
        "process.entity_id": row.process,
    }
    own = {
        "outcome": row.outcome,
        "kind": row.kind,
        "actor": row.actor,
        "session": row.session,
        "target": row.target,
        "route": row.route,
        "peer_ip": row.peer_ip,
        "decision": row.decision,
        "rate_limit_hit": row.rate_limit_hit,
        "campaign_id": row.campaign_id,
        "count": row.count,
        "details": row.details and dict(AuditLogEntry.of(row).details),
        "chain": row.chain.hex() or None,
    }
    nested: dict[str, Any] = {"lockwatch": {name: value for name, value in own.items() if value is not None}}
    for path, value in fields.items():
        if value is not None:
            _put(nested, path, value)
    return json.dumps(nested, separators=(",", ":"))


_CATEGORIES: Final = {
    "http": ["web"],
    "websocket": ["web"],
    "auth": ["authentication"],
    "app": ["web"],
    "admin": ["configuration"],
    "system": ["process"],
}


def _type(row: Row) -> list[str]:
    if row.outcome == "refused":
        return ["denied", "access"]
    if row.kind in ("http", "websocket"):
        return ["access"]
    return ["start" if row.action == "login" else "change" if row.kind == "admin" else "info"]


def _put(nested: dict[str, Any], path: str, value: Any) -> None:
    *outer, last = path.split(".")
    for name in outer:
        nested = nested.setdefault(name, {})
    nested[last] = value


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"'{text}" if text.startswith(_FORMULA) and not isinstance(value, int) else text
