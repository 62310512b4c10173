"""What is asked of the audit log. Pure: a question, checked, and the conditions it comes to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime
from ipaddress import ip_address
from typing import Any, Final, NamedTuple

from lockwatch.audit.entry import microseconds
from lockwatch.errors import ConfigurationError

MOST: Final = 10_000
"""Rows of one answer."""
FURTHEST: Final = 1_000_000
"""Rows an `offset` passes over; a cursor passes over none."""
_EQUAL: Final = (
    *("user_id", "actor", "session", "target", "tenant", "kind", "action", "outcome"),
    *("method", "route", "status_code", "request_id", "trace_id", "campaign_id", "process"),
)


_INSTANT: Final = "datetime(2026, 11, 24, 9, 30, tzinfo=timezone.utc)"


class Condition(NamedTuple):
    """A column, what it is compared by (``=``, ``<``, ``>=``, ``starts``, ``is``), and with what."""

    column: str
    operator: str
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditQuery:
    """A question. Everything given must hold; the answer is newest first.

    Attributes:
        endpoint_prefix: how the path begins; ``%`` and ``_`` mean themselves.
        from_time: the first instant, included. With a time zone, like every instant.
        to_time: the last instant, not included.
        anomalies_only: only what a rule of anomaly detection pointed at.
        rate_limit_hits_only: only what a limit refused.
        ip: an address; IPv6 in any spelling.
        outcome: ``success``, ``failure``, ``refused``, ``error`` or ``disconnected``.
        limit: entries of the answer, 1 to 10,000.
        cursor: go on after the entry it is of.
        offset: pass over so many entries. A cursor does not slow down, and misses nothing while rows are added.

    Raises: ConfigurationError, which is a ValueError.
    """

    user_id: str | None = None
    ip: str | None = None
    endpoint_prefix: str | None = None
    from_time: datetime | None = None
    to_time: datetime | None = None
    anomalies_only: bool = False
    rate_limit_hits_only: bool = False
    action: str | None = None
    actor: str | None = None
    target: str | None = None
    outcome: str | None = None
    request_id: str | None = None
    trace_id: str | None = None
    session: str | None = None
    tenant: str | None = None
    kind: str | None = None
    method: str | None = None
    route: str | None = None
    status_code: int | None = None
    campaign_id: str | None = None
    process: str | None = None
    limit: int = 100
    cursor: str | None = None
    offset: int = 0

    def __post_init__(self) -> None:
        """Raises: ConfigurationError."""
        _whole("limit", self.limit, 1, MOST)
        _whole("offset", self.offset, 0, FURTHEST)
        for name in ("from_time", "to_time"):
            moment = getattr(self, name)
            if moment is not None and (not isinstance(moment, datetime) or moment.tzinfo is None):
                raise ConfigurationError(f"AuditQuery({name}={moment!r}) is no instant; a correct one is {_INSTANT}")
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, str) and ("\0" in value or not _encodes(value)):
                raise ConfigurationError(f"AuditQuery({field.name}=...) holds a character that no row can hold")


def conditions(query: AuditQuery) -> Iterator[Condition]:
    """What a row has to meet, the cursor aside."""
    for name in _EQUAL:
        value = getattr(query, name)
        if value is not None:
            yield Condition(name, "=", value)
    if query.ip is not None:
        yield Condition("ip", "=", _spelled(query.ip))
    if query.endpoint_prefix:
        yield Condition("endpoint", "starts", query.endpoint_prefix)
    if query.from_time is not None:
        yield Condition("timestamp", ">=", microseconds(query.from_time))
    if query.to_time is not None:
        yield Condition("timestamp", "<", microseconds(query.to_time))
    if query.anomalies_only:
        yield Condition("anomaly_detected", "is", True)
    if query.rate_limit_hits_only:
        yield Condition("rate_limit_hit", "is", True)


def _spelled(address: str) -> str:
    """An address as rows spell it."""
    try:
        return str(ip_address(address))
    except ValueError:
        return address


def _whole(name: str, value: object, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        raise ConfigurationError(
            f"AuditQuery({name}={value!r}) is not a whole number from {least} to {most}; a correct one is {name}=50"
        )


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
