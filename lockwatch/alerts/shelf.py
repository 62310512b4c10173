"""The outboxes on disk: one file for each process, in the directory of the spools. What a dead process left is taken over."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from lockwatch.alerts.outbox import Outbox
from lockwatch.spool.database import Database, is_damage
from lockwatch.spool.directory import Claim, Directory, SpoolError

logger = logging.getLogger("lockwatch")
NAME: Final = "alerts"
MOST: Final = 128 * 2**20
"""Bytes of an outbox at most."""


class SpoolShelf:
    """The outboxes of an application's processes. Methods raise SpoolError or sqlite3.Error.

    Args:
        directory: where they are.
    """

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def open(self) -> Outbox:
        """A new one for this process."""
        return Outbox(Database(self._directory.claim(NAME), MOST))

    def adopt(self, ours: Outbox) -> int:
        """Take over what dead processes left; how many alerts that are. A file that is damaged is put aside."""
        moved = 0
        while (claim := self._directory.adopt(NAME)) is not None:
            theirs: Outbox | None = None
            try:
                theirs = Outbox(Database(claim, MOST))
                moved += ours.adopt(theirs)
            except (SpoolError, sqlite3.Error) as error:
                _leave(claim, theirs, error)
                if not is_damage(error):
                    raise
            else:
                theirs.close()
        return moved

    def outboxes(self) -> Iterator[Outbox]:
        """Those of all processes, one after the other, to look at."""
        for claim in self._directory.look(NAME):
            box = Outbox(Database(claim, MOST))
            try:
                yield box
            finally:
                box.disconnect()


def _leave(claim: Claim, box: Outbox | None, error: Exception) -> None:
    """What cannot be taken over is left where it is; what nobody could, is put aside."""
    if box is not None:
        box.disconnect()
    if not is_damage(error):
        claim.release()
        return
    aside = claim.path.with_suffix(".damaged")
    with suppress(OSError):
        claim.path.rename(aside)
    claim.remove()
    logger.error("lockwatch: an outbox that another process left is damaged, and is kept as %s: %s", aside, error)
