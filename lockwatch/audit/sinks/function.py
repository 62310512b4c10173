"""Rows into a function of the application."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Final

from lockwatch import native
from lockwatch.audit.entry import AuditLogEntry
from lockwatch.audit.row import Row
from lockwatch.audit.sinks.standing import Standing

DEADLINE: Final = 30.0


class FunctionSink:
    """Calls `function` with a list of `AuditLogEntry`. Any exception means: not now, again later.

    One that is async runs on the loop of the worker; a plain one in a thread, so that it may wait. A batch whose function did not
    return is given to it again: it tells rows it has by their `id`.
    """

    def __init__(self, function: Callable[[list[AuditLogEntry]], Any]) -> None:
        self.name = getattr(function, "__qualname__", type(function).__name__)
        self.standing = Standing(self.name)
        self._function = function
        called = getattr(function, "__call__", None)  # noqa: B004 - an object with an async __call__
        self._waits = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)

    async def write(self, rows: Sequence[Row]) -> None:
        """Hand over all rows. Raises: SinkError."""
        self.standing.check()
        entries = [AuditLogEntry.of(row) for row in rows]
        try:
            async with asyncio.timeout(DEADLINE):
                if self._waits or native.patched():
                    returned = self._function(entries)
                else:
                    returned = await asyncio.to_thread(self._function, entries)
                if inspect.isawaitable(returned):
                    await returned
        except Exception as error:
            raise self.standing.failed(f"it raised {type(error).__name__}") from error
        self.standing.worked()

    async def aclose(self) -> None:
        """Nothing to let go of."""
