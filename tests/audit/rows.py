"""Rows to store."""

from __future__ import annotations

from itertools import count
from typing import Any

from lockwatch.audit.row import Row

NOW = 1_795_512_600_000_000
"""2026-11-24 09:30:00 UTC in microseconds."""
_numbers = count(1)


def row_id(time_us: int, number: int) -> str:
    """A UUIDv7 of a time."""
    ms, rest = divmod(time_us, 1000)
    text = f"{ms:012x}7{rest * 4096 // 1000:03x}{0x8000_0000_0000_0000 | number:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def row(time_us: int = NOW, **values: Any) -> Row:
    """One row; what is not given is plain."""
    number = next(_numbers)
    given: dict[str, Any] = {
        "timestamp": time_us,
        "id": row_id(time_us, number),
        "process": "00000000000000aa",
        "seq": number,
        "kind": "http",
        "action": "request",
        "outcome": "success",
        "chain": number.to_bytes(32, "big"),
    }
    return Row(**given | values)


def rows(amount: int, time_us: int = NOW, **values: Any) -> list[Row]:
    """Several, a millisecond apart."""
    return [row(time_us + i * 1000, **values) for i in range(amount)]


FULL = row(
    NOW + 123_456,
    user_id="user:42",
    actor="operator",
    session="family",
    target="order 7",
    tenant="acme",
    ip="2001:db8::1",
    ip_source="proxy",
    peer_ip="192.0.2.7",
    method="GET",
    route="/items/{id}",
    endpoint="/items/\u00e4\u0001 \U0001f512",
    endpoint_sha256="ab" * 32,
    query="",
    status_code=429,
    latency_us=2**40,
    bytes_sent=0,
    user_agent="'; DROP TABLE lockwatch_audit_log; --",
    request_id="r-1",
    trace_id="0af7651916cd43dd8448eb211c80319c",
    decision="limited",
    rate_limit_hit=True,
    anomaly_detected=True,
    campaign_id="c-1",
    reasons='["burst","\u00e4"]',
    flags='["cleaned:endpoint"]',
    details='{"b":1,"a":{"z":[1.5,null]},"b2":"\u00e4"}',
    count=3,
)
"""A row with every column."""
