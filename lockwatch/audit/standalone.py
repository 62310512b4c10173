"""An audit log by itself, without an application around it: its stream, and what brings that to the sinks."""

from __future__ import annotations

from typing import Final, Protocol

from lockwatch.audit.recorder import Recorder
from lockwatch.audit.settings import audit_settings
from lockwatch.config import LockWatchConfig
from lockwatch.pump import PERIOD, Pump, weakly
from lockwatch.spool.directory import directory_at
from lockwatch.stream import Stream
from lockwatch.worker import Job, shared

LEAVING: Final = 5.0
"""Seconds that `aclose` waits for rows at most; what has not arrived by then stays in the spool."""


class Recording(Protocol):
    """What takes events and brings them to the sinks: an application's engine, or a `Standalone`."""

    stream: Stream | None
    recorder: Recorder | None

    async def flush(self, within: float = 10.0) -> bool:
        """Wait until everything posted so far has gone where it goes."""

    def flush_sync(self, within: float = 10.0) -> bool:
        """The same in blocking code."""


class Standalone:
    """Records what is posted to `stream`. Raises: ConfigurationError."""

    stream: Stream | None
    recorder: Recorder | None

    def __init__(self, config: LockWatchConfig) -> None:
        stream = Stream(self._begin)
        self.stream = stream
        recorder = Recorder(audit_settings(config, directory_at(config.spool_dir, config.namespace)), stream)
        self.recorder = recorder
        self._pump = Pump(stream, [recorder.consume])
        self._pump.chores.append(recorder.settle)
        self._pump.finishers.append(recorder.finish)
        self._pump.endings.append(recorder.close)
        self._job: Job | None = None

    async def flush(self, within: float = 10.0) -> bool:
        """Wait until everything posted so far has been offered to every sink."""
        return await self._pump.flush(within)

    def flush_sync(self, within: float = 10.0) -> bool:
        """`flush` in blocking code."""
        return self._pump.flush_sync(within)

    async def aclose(self) -> None:
        """Bring what is posted to the sinks, and let go of them. What is posted later begins anew."""
        self._rest()
        await self._pump.flush(LEAVING, end=True)
        self._leave()

    def close(self) -> None:
        """`aclose` in blocking code."""
        self._rest()
        self._pump.flush_sync(LEAVING, end=True)
        self._leave()

    def _begin(self) -> None:
        self._job = shared().every("audit", PERIOD, self._pump.step, weakly(self._pump.end))

    def _rest(self) -> None:
        if self.stream is not None:
            self.stream.rest()

    def _leave(self) -> None:
        if self._job is not None:
            self._job.cancel()
            self._job = None
