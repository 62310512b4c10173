"""The audit log as events, for what judges it as the detector does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from lockwatch.anomaly.replay import event_of
from lockwatch.audit.query import AuditQuery
from lockwatch.audit.reading import Reader
from lockwatch.commands.database import database_of, run
from lockwatch.commands.plain import moment_of
from lockwatch.event import Event


def each_event(since: str, url: str | None, take: Callable[[Event], object]) -> None:
    """Give every row since then to `take`, oldest first, as an event. Raises: Unusable."""
    question = AuditQuery(from_time=moment_of(since, datetime.now(UTC)))

    async def read() -> None:
        reader = Reader(database_of(url))
        try:
            async for page in reader.pages(question):
                for row in page:
                    take(event_of(row))
        finally:
            await reader.aclose()

    run(read())
