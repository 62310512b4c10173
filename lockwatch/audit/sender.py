"""Takes rows to one sink: its own process's first, then those of processes that died."""

from __future__ import annotations

import logging
from typing import Final, Protocol

from lockwatch.audit.backlog import Backlog
from lockwatch.audit.block import Block
from lockwatch.audit.orphans import Orphanage
from lockwatch.audit.sinks import Sink
from lockwatch.errors import LockwatchError, SinkError

logger = logging.getLogger("lockwatch")
ROWS: Final = 500
"""Rows that are delivered at once."""


class Source(Protocol):
    """Where rows come from."""

    def next(self, reader: str, most: int) -> tuple[Block, int]:
        """The next rows for a reader, and the number to acknowledge them by, 0 for none."""
        ...

    def acknowledge(self, reader: str, n: int) -> None:
        """A reader has everything up to a number."""
        ...


class Sender:
    """One sink and how it does.

    Args:
        name: of the sink, unique among those of the application.

    Attributes:
        busy: it is at it.
        fault: why the last delivery failed; empty when it did not.
        delivered: rows it has taken.
    """

    def __init__(self, name: str, sink: Sink, backlog: Backlog, orphanage: Orphanage) -> None:
        self.name = name
        self.sink = sink
        self.busy = False
        self.fault = ""
        self.delivered = 0
        self._backlog = backlog
        self._orphanage = orphanage

    @property
    def rests(self) -> bool:
        """Whether there is nothing to do, or nothing to be done about it now."""
        return not self.busy and (bool(self.fault) or not self._backlog.waits(self.name))

    async def run(self) -> None:
        """Deliver what there is, as long as the sink takes it; the next run tries again."""
        self.busy = True
        try:
            while await self._deliver(self._backlog):
                pass
            if (orphan := self._orphanage.current()) is not None:
                await self._deliver(orphan)
        except SinkError as error:
            self.fault = str(error)
        except LockwatchError as error:
            logger.error("lockwatch: audit rows of another process wait: %s", error)
        except Exception as error:
            self.fault = f"{self.name} raised {type(error).__name__}"
            raise
        finally:
            self.busy = False

    async def _deliver(self, source: Source) -> bool:
        rows, n = source.next(self.name, ROWS)
        if not n:
            return False
        if rows:
            await self.sink.write(rows)
            self.delivered += len(rows)
            self.fault = ""
        source.acknowledge(self.name, n)
        return True
