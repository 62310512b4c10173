"""A row of the audit log: an event, cleaned and bounded, in the order of the columns."""

from __future__ import annotations

from typing import Final, NamedTuple

SCHEMA: Final = 1
"""Version of this shape. A spool written by the version before or after is still read."""


class Row(NamedTuple):
    """One row. The names are those of the columns of ``lockwatch_audit_log``.

    Attributes:
        timestamp: microseconds since 1970, a function of `id`, so that a repeated delivery meets the row it made.
        id: UUIDv7 (RFC 9562) in its usual spelling: milliseconds, and in `rand_a` the fraction of the millisecond in 1/4096.
        process: who wrote it: 16 hex digits, new for every process.
        seq: number of the row within its process, from 1, without holes.
        kind: of `lockwatch.event.KINDS`.
        reasons: JSON list of texts, None when empty; so is `flags` (``truncated:path``, ``cleaned:user_agent``).
        details: JSON object, None when empty.
        latency_us: microseconds.
        schema_v: `SCHEMA` of the writer.
        chain: SHA-256 over the chain of the row before in this process and over everything above.
    """

    timestamp: int
    id: str
    process: str
    seq: int
    kind: str
    action: str
    outcome: str
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
    latency_us: int | None = None
    bytes_sent: int | None = None
    user_agent: str | None = None
    request_id: str | None = None
    trace_id: str | None = None
    decision: str | None = None
    rate_limit_hit: bool = False
    anomaly_detected: bool = False
    campaign_id: str | None = None
    reasons: str | None = None
    flags: str | None = None
    details: str | None = None
    count: int = 1  # type: ignore[assignment]
    schema_v: int = SCHEMA
    chain: bytes = b""


COLUMNS: Final = Row._fields
