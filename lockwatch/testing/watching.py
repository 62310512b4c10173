"""What an application reports while a test runs: events, as the audit log gets them, and alerts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, overload

from lockwatch.alerts.alert import Alert
from lockwatch.engine import Engine
from lockwatch.event import Event
from lockwatch.testing.reach import engine_of

PATIENCE: Final = 30.0
"""Seconds until events are given up that are still under way."""


class Captured(Sequence[Event]):
    """The events since the block began, in order. Every look waits for what is still under way.

    Attributes:
        alerts: what operators would have been told.
    """

    def __init__(self, engine: Engine) -> None:
        self.alerts: list[Alert] = []
        self._engine = engine
        self._events: list[Event] = []

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> list[Event]: ...
    def __getitem__(self, index: int | slice) -> Event | list[Event]:
        return self._all()[index]

    def __len__(self) -> int:
        return len(self._all())

    def __repr__(self) -> str:
        lines = [f"  {e.kind} {e.action} {e.outcome}: {e.method or ''} {e.route or e.target or ''} {e.status or ''}" for e in self]
        return "\n".join([f"Captured {len(lines)} events and {len(self.alerts)} alerts", *lines])

    def of(self, **fields: Any) -> list[Event]:
        """The events whose fields have these values: ``events.of(action="login", outcome="failure")``. Raises: AttributeError."""
        return [event for event in self if all(getattr(event, name) == value for name, value in fields.items())]

    def clear(self) -> None:
        """Forget what was captured so far."""
        self._all().clear()
        self.alerts.clear()

    async def take(self, events: Sequence[Event]) -> None:
        """A consumer of the stream."""
        self._events += events

    def _all(self) -> list[Event]:
        if not self._engine.flush_sync(PATIENCE):
            raise RuntimeError(f"the events of this application could not be read within {PATIENCE:g} seconds")
        return self._events


@contextmanager
def captured_events(target: Any) -> Iterator[Captured]:
    """Capture what an application reports: ``with captured_events(app) as events: ...; assert events.of(action="login")``.

    Alerts are captured in `Captured.alerts` and sent to nobody. The event of a request is there when its response was read to the
    end; a test client of Flask reads it with ``buffered=True``, or in `response.data`.

    Args:
        target: the application, a test client of it, or its `LockWatch`.

    Raises: TypeError.
    """
    engine = engine_of(target)
    captured = Captured(engine)
    engine.flush_sync(PATIENCE)  # what happened before is not of this block
    engine.listen(captured.take)
    with _told(engine, captured.alerts):
        try:
            yield captured
            len(captured)
        finally:
            engine.consumers.remove(captured.take)


@contextmanager
def _told(engine: Engine, told: list[Alert]) -> Iterator[None]:
    """Have alerts put into a list, also of an application that tells nobody."""
    from lockwatch.alerts.dispatch import Alerts

    class Listed(Alerts):
        def raise_(self, alert: Alert) -> bool:
            told.append(alert)
            return True

    before = engine.alerts
    listed = engine.alerts = Listed(())
    watching = () if before is None else (before.watch,)
    at = [engine.consumers.index(watch) for watch in watching if watch in engine.consumers]
    for position in at:
        engine.consumers[position] = listed.watch
    if not at:
        engine.listen(listed.watch)
    try:
        yield
    finally:
        engine.alerts = before
        position = engine.consumers.index(listed.watch)
        engine.consumers[position : position + 1] = watching
