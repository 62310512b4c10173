"""Seals how far the log has come, on a schedule, in the process that writes it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from lockwatch import native
from lockwatch.audit.checkpoint import Head
from lockwatch.audit.note import Signer
from lockwatch.audit.seals import CheckpointFile, load_signer
from lockwatch.config import LockWatchConfig
from lockwatch.errors import ConfigurationError, LockwatchError

logger = logging.getLogger("lockwatch")
LAST: Final = 5.0
"""Seconds that the last checkpoint of a process may take."""


@dataclass(frozen=True, slots=True)
class Seals:
    """What is sealed, where and when.

    Attributes:
        path: of the file of checkpoints.
        signer: whose they are.
        seconds: between two checkpoints.
    """

    path: str
    signer: Signer
    seconds: float


def seals_of(config: LockWatchConfig) -> Seals | None:
    """What an application's options say; None when nothing is sealed. Raises: ConfigurationError."""
    path, key = config.audit_checkpoints, config.audit_checkpoint_key
    if path is None and key is None:
        return None
    if path is None or key is None:
        missing = "audit_checkpoint_key='checkpoint.pem'" if key is None else "audit_checkpoints='checkpoints.txt'"
        raise ConfigurationError(f"checkpoints need a file and a key: set {missing} too")
    if not Path(path).parent.is_dir():
        raise ConfigurationError(f"audit_checkpoints={str(path)!r} lies in a directory that does not exist")
    return Seals(str(path), load_signer(key, config.audit_checkpoint_origin), config.audit_checkpoint_seconds)


class Sealer:
    """The checkpoints of one process: of its own chain, and of those it delivered for others that died.

    A head is sealed when every sink has the rows up to it. So a checkpoint vouches for nothing that may never arrive.

    Args:
        seals: None seals nothing.
        clock: seconds that only go forward.

    Attributes:
        fault: why the last checkpoint could not be made; empty when it could.
    """

    def __init__(self, seals: Seals | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.fault = ""
        self._file = None if seals is None else CheckpointFile(seals.path, seals.signer)
        self._seconds = 0.0 if seals is None else seals.seconds
        self._clock = clock
        self._next = clock() + self._seconds
        self._heads: dict[str, Head] = {}
        self._busy = False

    def note(self, head: Head | None) -> None:
        """Every sink has the rows up to this one."""
        if head is not None and self._file is not None:
            self._heads[head.process] = head

    @property
    def due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return bool(self._heads) and not self._busy and self._clock() >= self._next

    async def seal(self) -> None:
        """Add a checkpoint of what is new."""
        if self._file is None or not self._heads:
            return
        heads, self._heads, self._busy = self._heads, {}, True
        self._next = self._clock() + self._seconds
        work = partial(self._file.seal, list(heads.values()), time.time_ns() // 1000, behind=True)
        try:
            await (_here(work) if native.patched() else asyncio.to_thread(work))
        except LockwatchError as error:
            if not self.fault:
                logger.error("lockwatch: no checkpoint of the audit log can be made: %s", error)
            self.fault, self._heads = str(error), heads | self._heads
        else:
            self.fault = ""
        finally:
            self._busy = False

    async def finish(self) -> None:
        """The process ends: seal the rest."""
        try:
            async with asyncio.timeout(LAST):
                await self.seal()
        except TimeoutError:
            logger.error("lockwatch: the last checkpoint of the audit log took too long")


async def _here(work: Callable[[], object]) -> None:
    work()
