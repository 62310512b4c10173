"""An entry of the audit log, as it is logged by hand and as queries answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from lockwatch.audit.row import Row
from lockwatch.event import APP, HTTP, Event

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLogEntry:
    """What happened, once. `Row` and `Event` say what the fields mean; all are optional.

    Attributes:
        id: UUIDv7, given when it is logged.
        timestamp: when, with a time zone; now by default. Answers are in UTC.
        user_id: who it was, `actor` who did it where that is somebody else.
        endpoint: path of the URL, `route` its template.
        rate_limit_hit: the request was refused by a limit.
        latency_ms: milliseconds.
        reasons, flags: texts.
        details: whatever else; JSON values.
        cursor: where a query goes on after this entry; empty in an entry that no query answered.
    """

    id: str = ""
    timestamp: datetime = field(default_factory=lambda: datetime.now(UTC))
    process: str = ""
    seq: int = 0
    kind: str = "app"
    action: str = "request"
    outcome: str = "success"
    user_id: str | None = None
    actor: str | None = None
    session: str | None = None
    target: str | None = None
    tenant: str | None = None
    ip: str | None = None
    ip_source: str | None = None
    peer_ip: str | None = None
    method: str | None = None
    route: str | None = None
    endpoint: str | None = None
    endpoint_sha256: str | None = None
    query: str | None = None
    status_code: int | None = None
    latency_ms: float | None = None
    bytes_sent: int | None = None
    user_agent: str | None = None
    request_id: str | None = None
    trace_id: str | None = None
    decision: str | None = None
    rate_limit_hit: bool = False
    anomaly_detected: bool = False
    campaign_id: str | None = None
    reasons: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    count: int = 1
    schema_v: int = 0
    chain: bytes = field(default=b"", repr=False)
    cursor: str = field(default="", compare=False)

    @property
    def latency_us(self) -> int | None:
        """Microseconds, as stored."""
        return None if self.latency_ms is None else round(self.latency_ms * 1000)

    @classmethod
    def of(cls, row: Row, cursor: str = "") -> AuditLogEntry:
        """A row of the database."""
        values = row._asdict()
        latency = values.pop("latency_us")
        values["timestamp"] = instant(row.timestamp)
        values["latency_ms"] = None if latency is None else latency / 1000
        values["reasons"], values["flags"] = map(texts, (row.reasons, row.flags))
        values["details"] = MappingProxyType(_object(row.details))
        return cls(**values, cursor=cursor)


def event_of(entry: AuditLogEntry) -> Event:
    """An entry on its way into the log. Its id, number and chain are made there."""
    http = entry.kind == APP and entry.action == "request" and entry.method is not None
    refused = entry.rate_limit_hit and entry.outcome == "success"
    return Event(
        time_us=microseconds(entry.timestamp),
        kind=HTTP if http else entry.kind,
        action=entry.action,
        outcome="refused" if refused else entry.outcome,
        ip=entry.ip,
        ip_source=entry.ip_source or "peer",
        peer=entry.peer_ip,
        method=entry.method,
        route=entry.route,
        path=entry.endpoint,
        query=entry.query,
        status=entry.status_code,
        latency_us=entry.latency_us,
        bytes_sent=entry.bytes_sent,
        user_agent=entry.user_agent,
        request_id=entry.request_id,
        trace_id=entry.trace_id,
        user=entry.user_id,
        actor=entry.actor,
        session=entry.session,
        target=entry.target,
        tenant=entry.tenant,
        decision="limited" if entry.rate_limit_hit else entry.decision,
        anomaly=entry.anomaly_detected,
        campaign=entry.campaign_id,
        reasons=entry.reasons,
        details=entry.details,
        count=entry.count,
    )


def texts(stored: str | None) -> tuple[str, ...]:
    """Texts of a stored list. One that somebody broke is shown as it is."""
    found = _json(stored or "[]")
    return tuple(map(str, found)) if isinstance(found, list) else (str(stored),)


def _object(stored: str | None) -> dict[str, Any]:
    found = _json(stored or "{}")
    return found if isinstance(found, dict) else {"unreadable": stored}


def _json(stored: str) -> Any:
    try:
        return json.loads(stored)
    except (ValueError, RecursionError):
        return None


def instant(time_us: int) -> datetime:
    """Microseconds since 1970 as an instant."""
    return EPOCH + timedelta(microseconds=time_us)


def microseconds(moment: datetime) -> int:
    """An instant as microseconds since 1970. Raises: ValueError, for a time without a zone."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone; a correct one is datetime(2026, 11, 24, 9, 30, tzinfo=timezone.utc)")
    return (moment - EPOCH) // MICROSECOND
