"""What the log knows about one address or one user, in a few aggregates over an index."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from lockwatch.audit.entry import microseconds
from lockwatch.audit.models import AuditLog, Moment

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from lockwatch.audit.reading import Reader

ASPECTS: Final = ("outcome", "action", "status_code", "decision", "route", "ip", "user_id", "user_agent", "tenant", "campaign_id")
_FLAGS: Final = ("rate_limit_hit", "anomaly_detected")


@dataclass(frozen=True, slots=True)
class Portrait:
    """One address or user.

    Attributes:
        column: ``ip`` or ``user_id``.
        subject: which.
        events: how many, those that one row stands for counted.
        refused: how many a limit refused.
        anomalies: how many a rule pointed at.
        first, last: when it was seen; microseconds since 1970, None when it never was.
        aspects: for each of `ASPECTS` that says something, the most frequent values with how often.
    """

    column: str
    subject: str
    events: int
    refused: int
    anomalies: int
    first: int | None
    last: int | None
    aspects: dict[str, list[tuple[str, int]]] = field(default_factory=dict)


async def portrait(reader: Reader, column: str, subject: str, since: datetime, most: int = 5) -> Portrait:
    """What is known since an instant."""
    from sqlalchemy import Integer, cast, func, select

    columns: Any = AuditLog.__table__.c  # type: ignore[attr-defined]
    weight = func.coalesce(func.sum(columns.count), 0)
    meets: list[ColumnElement[bool]] = [columns[column] == subject, columns.timestamp >= since]
    refused, anomalies = (func.coalesce(func.sum(cast(columns[n], Integer) * columns.count), 0) for n in _FLAGS)
    first, last = (function(columns.timestamp, type_=Moment()) for function in (func.min, func.max))
    async with reader.engine.connect() as connection:
        totals = (await connection.execute(select(weight, refused, anomalies, first, last).where(*meets))).one()
        aspects: dict[str, list[tuple[str, int]]] = {}
        for name in ASPECTS if totals[0] else ():
            value = columns[name]
            if name != column:
                asked = select(value, weight).where(*meets, value.is_not(None)).group_by(value)
                found = await connection.execute(asked.order_by(weight.desc(), value).limit(most))
                aspects[name] = [(str(value), int(count)) for value, count in found]
    seen_first, seen_last = (None if at is None else microseconds(at) for at in totals[3:])
    kept = {name: values for name, values in aspects.items() if values}
    return Portrait(column, subject, int(totals[0]), int(totals[1]), int(totals[2]), seen_first, seen_last, kept)
