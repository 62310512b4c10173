"""Rows between the writer and the sinks: in memory, in the spool, or both, until every sink has acknowledged them.

Batches have whole numbers without holes. Each sink reads them in order and acknowledges for itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final, TypeAlias

from lockwatch.audit.block import Block
from lockwatch.audit.checkpoint import Head
from lockwatch.audit.pack import Told, note_of, packed, told_by, unpacked
from lockwatch.errors import LockwatchError
from lockwatch.event import HTTP, WEBSOCKET
from lockwatch.spool.database import Full
from lockwatch.spool.directory import SpoolError
from lockwatch.spool.journal import Journal

logger = logging.getLogger("lockwatch")
ORDINARY: Final = frozenset({HTTP, WEBSOCKET})
"""Kinds that are lost first when there is no room."""
UNSPOOLED: Final = 10_000
"""Rows that are kept in memory alone, at most; half as many more of the kinds that matter most."""
CACHED: Final = 4000
"""Rows that are in the spool and in memory too, so that they need not be read again."""
NEARLY_FULL: Final = 0.9
"""How much of the spool ordinary rows may use; the rest is for the others."""
RETRY: Final = 1.0
"""Seconds between two attempts to write to a spool that failed."""
Damage: TypeAlias = Callable[[Told], None]
"""Told of rows that are damaged."""
_NONE: Final = Block(0, [], b"")


@dataclass(slots=True)
class Batch:
    """Some rows.

    Attributes:
        rows: None when they are in the spool alone.
        made: when, on the monotonic clock.
        last: the last of them.
    """

    rows: Block | None
    count: int
    made: float
    urgent: bool
    last: Head | None = None
    stored: bool = False


class Backlog:
    """The batches of one process. For the worker's loop alone.

    Args:
        readers: names of the sinks.
        open_journal: opens the spool of this process, None for no spool. Raises: SpoolError.
        damaged: told of rows that are lost because their record is damaged.

    Attributes:
        fault: why the spool cannot be used; empty when it can, or when none is wanted.
        rows: how many wait.
        head: the last row that every reader has; None before the first.
    """

    def __init__(self, readers: Sequence[str], open_journal: Callable[[], Journal] | None, damaged: Damage) -> None:
        self.fault = ""
        self.rows = 0
        self.head: Head | None = None
        self._readers = tuple(readers)
        self._open = open_journal
        self._damaged = damaged
        self._journal: Journal | None = None
        self._batches: dict[int, Batch] = {}
        self._fresh: dict[int, Batch] = {}
        self._last = 0
        self._read = dict.fromkeys(readers, 0)
        self._unspooled = self._cached = 0
        self._again = 0.0
        self._dirty = self._closed = False

    @property
    def in_memory(self) -> int:
        """Rows that would be lost with the process."""
        return self._unspooled

    @property
    def oldest(self) -> float:
        """Seconds for which the oldest batch waits, 0 for none."""
        first = next(iter(self._batches.values()), None)
        return 0.0 if first is None else monotonic() - first.made

    @property
    def spooled_bytes(self) -> int:
        """Bytes in use of the spool."""
        try:
            return 0 if self._journal is None else self._journal.database.size
        except SpoolError:
            return 0

    def room(self, kind: str) -> bool:
        """Whether one more row of a kind can be kept."""
        return self._unspooled < (UNSPOOLED if kind in ORDINARY else UNSPOOLED * 3 // 2)

    def room_for(self, count: int) -> bool:
        """Whether so many more rows can be kept, whatever their kind."""
        return self._unspooled + count <= UNSPOOLED

    def add(self, rows: Block, urgent: bool) -> None:
        """Keep rows, in memory for now. `urgent`: one of them is of a kind that is not `ORDINARY`."""
        self._last += 1
        span = rows.span
        head = Head(span.process, span.last, span.chain)
        self._batches[self._last] = self._fresh[self._last] = Batch(rows, len(rows), monotonic(), urgent, head)
        self.rows += len(rows)
        self._unspooled += len(rows)

    def store(self, older_than: float = 0.0) -> bool:
        """Bring into the spool what was made more than `older_than` seconds ago; False when that failed.

        There is a file before there is anything to put into it: making one takes longer than all the rest.
        """
        now = monotonic()
        if self._open is None or now < self._again:
            return not self.fault
        due = [(n, batch) for n, batch in self._fresh.items() if now - batch.made >= older_than]
        if not due and (self._journal is not None or self._closed):
            return True
        try:
            journal = self._opened()
            if due:
                self._append(journal, due)
        except Full as error:
            return self._failed(str(error), now)
        except (LockwatchError, OSError) as error:
            self._abandon()
            return self._failed(str(error), now)
        if self.fault:
            logger.warning("lockwatch: the audit spool works again")
            self.fault = ""
        return True

    def next(self, reader: str, most: int) -> tuple[Block, int]:
        """The next rows for a reader, and the number to acknowledge them by; the number is 0 when there are none."""
        n, count, blocks = self._read[reader], 0, list[Block]()
        while (batch := self._batches.get(n + 1)) is not None and (not count or count + batch.count <= most):
            n += 1
            blocks.append(batch.rows if batch.rows is not None else self._load(n))
            count += len(blocks[-1])
        return Block.joined(blocks), n if n > self._read[reader] else 0

    def acknowledge(self, reader: str, n: int) -> None:
        """A reader has everything up to a number. What all have is forgotten."""
        self._dirty = self._dirty or any(self._batches[i].stored for i in range(self._read[reader] + 1, n + 1))
        self._read[reader] = n
        least = min(self._read.values())
        while (first := next(iter(self._batches), None)) is not None and first <= least:
            self._fresh.pop(first, None)
            batch = self._batches.pop(first)
            self.head = batch.last
            self._forget(batch)

    def settle(self) -> None:
        """Delete from the spool what all readers have. What was never there is no work: `store` notes what they have by then."""
        if self._journal is None:
            return
        if self._dirty:
            try:
                self._journal.acknowledge(self._read, self._readers)
                self._dirty = False
                if not self._batches:
                    self._journal.database.shrink()
            except SpoolError as error:
                self._failed(str(error), monotonic())
        self._journal.database.trim_ballast()

    def waits(self, reader: str) -> bool:
        """Whether there is anything for a reader."""
        return self._read[reader] < self._last

    def close(self) -> int:
        """Leave in the spool what has not arrived, for whoever adopts it; how many rows stay in memory, where there is none."""
        self._again, self._closed = 0.0, True
        self.store()
        self.settle()
        if self._journal is not None:
            self._journal.close()
            self._journal = None
            for n in [n for n, batch in self._batches.items() if batch.stored]:
                self._forget(self._batches.pop(n))
            self._dirty = False
        left = sum(batch.count for batch in self._batches.values())
        self._renumber()
        return left

    def let_go(self) -> object:
        """In a forked child: leave everything to the parent. The result must be kept, so that nobody closes the file."""
        if self._journal is not None:
            self._journal.database.claim.release()
        return self._journal

    def _append(self, journal: Journal, due: list[tuple[int, Batch]]) -> None:
        nearly_full = journal.database.filled > NEARLY_FULL
        wanted, due = len(due), [(n, batch) for n, batch in due if batch.urgent or not nearly_full]
        journal.append([(n, note_of(rows), packed(rows)) for n, batch in due if (rows := batch.rows) is not None], self._read)
        for n, batch in due:
            batch.stored = True
            del self._fresh[n]
            self._unspooled -= batch.count
            self._cached += batch.count
        if self._cached > CACHED:
            self._drop_cached()
        if len(due) < wanted:
            raise Full(f"{journal.database.claim.path.name}: nearly full; what is left is for other kinds of events")

    def _opened(self) -> Journal:
        """Raises: SpoolError."""
        if self._journal is None and self._open is not None:
            self._journal = self._open()
        assert self._journal is not None  # noqa: S101
        return self._journal

    def _load(self, n: int) -> Block:
        """Rows from the spool; those that are damaged are told."""
        try:
            record = self._opened().after(n - 1, 1)[0]
            if record.n == n and record.body is not None:
                return unpacked(record.body)
            self._damaged(told_by(record.note))
        except (SpoolError, IndexError, ValueError, KeyError, TypeError):
            self._damaged(Told(count=self._batches[n].count))
        return _NONE

    def _drop_cached(self) -> None:
        """Free the memory of the newest rows in the spool: the oldest are needed first."""
        for batch in reversed(self._batches.values()):
            if self._cached <= CACHED // 2:
                return
            if batch.stored and batch.rows is not None:
                batch.rows = None
                self._cached -= batch.count

    def _forget(self, batch: Batch) -> None:
        self.rows -= batch.count
        if not batch.stored:
            self._unspooled -= batch.count
        elif batch.rows is not None:
            self._cached -= batch.count

    def _failed(self, why: str, now: float) -> bool:
        if not self.fault:
            logger.warning("lockwatch: the audit spool does not work, rows are kept in memory: %s", why)
        self.fault, self._again = why, now + RETRY
        return False

    def _abandon(self) -> None:
        """Leave a broken file as it is, for a look, and take what is in memory to another one."""
        if self._journal is not None:
            self._journal.database.close(remove=False)
            self._journal = None
            for n, batch in self._batches.items():
                if batch.stored and batch.rows is not None:
                    batch.stored, self._fresh[n] = False, batch
                    self._unspooled += batch.count
                    self._cached -= batch.count

    def _renumber(self) -> None:
        """Begin a new series: another file will begin at 1, too."""
        left = list(self._batches.values())
        self._batches = dict(enumerate(left, 1))
        self._fresh = dict(self._batches)
        self._last = len(left)
        self._read = dict.fromkeys(self._readers, 0)
