"""Spools of processes that died: adopted one at a time, delivered, removed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final

from lockwatch.audit.backlog import Damage
from lockwatch.audit.block import Block
from lockwatch.audit.checkpoint import Head
from lockwatch.audit.pack import Told, told_by, unpacked
from lockwatch.spool.database import Database, is_damage
from lockwatch.spool.directory import Claim, Directory, SpoolError
from lockwatch.spool.journal import Journal, Record

logger = logging.getLogger("lockwatch")
PERIOD: Final = 2.0
"""Seconds between two looks for another one."""
RECORDS: Final = 8
"""Records that are delivered at once."""
NAME: Final = "audit"


class Orphan:
    """One adopted spool.

    Args:
        claim: what was adopted.
        readers: names of the sinks that have to have everything.
        damaged: told of what cannot be read.

    Attributes:
        head: the last row that was read whole; None before the first.

    Raises: SpoolError.
    """

    def __init__(self, claim: Claim, readers: Sequence[str], damaged: Damage) -> None:
        self._journal = Journal(Database(claim))
        self._readers = tuple(readers)
        self._damaged = damaged
        self._told: set[int] = set()
        self.head: Head | None = None
        self._read = {name: self._journal.at(name) for name in readers}
        self._last = self._journal.last

    @property
    def done(self) -> bool:
        """Whether every sink has everything."""
        return min(self._read.values(), default=self._last) >= self._last

    def next(self, reader: str, most: int) -> tuple[Block, int]:
        """The next rows for a reader, and the number to acknowledge them by, 0 for none."""
        records = self._journal.after(self._read[reader], RECORDS)
        if not records:
            self._read[reader] = self._last
            return Block.joined([]), 0
        return Block.joined([self._rows(record) for record in records]), records[-1].n

    def acknowledge(self, reader: str, n: int) -> None:
        """A reader has everything up to a number."""
        self._read[reader] = n
        self._journal.acknowledge(self._read, self._readers)

    def close(self) -> None:
        """Remove it when all is delivered, else leave it to the next."""
        self._journal.close()

    def _rows(self, record: Record) -> Block:
        try:
            if record.body is not None:
                found, told = unpacked(record.body), told_by(record.note)
                self.head = Head(told.process, told.last, bytes.fromhex(told.chain)) if told.process else self.head
                return found
        except (ValueError, KeyError, TypeError):
            pass
        if record.n not in self._told:
            self._told.add(record.n)
            self._damaged(told_by(record.note))
        return Block.joined([])


class Orphanage:
    """Looks for orphans of one namespace now and then, and has one at a time.

    Args:
        directory: of the spools; None for none.
        readers: names of the sinks.
        damaged: told of rows that are lost.
        delivered: told of the last row of a spool that every sink has.

    Attributes:
        adopted: how many were found so far.
    """

    def __init__(
        self,
        directory: Directory | None,
        readers: Sequence[str],
        damaged: Damage,
        delivered: Callable[[Head | None], None] = lambda head: None,
    ) -> None:
        self.adopted = 0
        self._delivered = delivered
        self._directory = directory
        self._readers = readers
        self._damaged = damaged
        self._current: Orphan | None = None
        self._again = 0.0

    def current(self) -> Orphan | None:
        """The orphan to deliver now."""
        if self._current is not None and self._current.done:
            self._delivered(self._current.head)
            self._current.close()
            self._current, self._again = None, 0.0
        if self._current is None and self._directory is not None and monotonic() >= self._again:
            self._again = monotonic() + PERIOD
            self._look(self._directory)
        return self._current

    def close(self) -> None:
        """Leave what is not delivered to the next."""
        self._again = monotonic() + PERIOD
        if self._current is not None:
            self._current.close()
            self._current = None

    def _look(self, directory: Directory) -> None:
        try:
            claim = directory.adopt(NAME)
        except SpoolError:
            return  # told by whoever wants a spool there
        if claim is None:
            return
        try:
            self._current = Orphan(claim, self._readers, self._damaged)
        except SpoolError as error:
            if not is_damage(error):
                claim.release()  # somebody looks at it, or the disk is full: later
                return
            aside = claim.path.with_suffix(".damaged")
            logger.error("lockwatch: the audit spool %s cannot be read (%s); it is kept as %s", claim.path.name, error, aside.name)
            claim.path.replace(aside)
            claim.remove()
            self._damaged(Told(count=1))
            return
        self.adopted += 1
        logger.warning("lockwatch: audit rows that a process left are delivered now: %s", claim.path.name)
