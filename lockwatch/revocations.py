"""Revocations that outlive their process: said again to a store that did not hear them, or lost them, also after a restart.

They are in this process's memory, and in a spool file of its own from the first one on. What a dead process of the application left
is taken over. A file holds names of store keys, which are keyed hashes: no subject and no token.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from contextlib import suppress
from typing import Final

from lockwatch import native
from lockwatch.flow import Call
from lockwatch.spool.database import Database
from lockwatch.spool.directory import Claim, Directory, SpoolError
from lockwatch.tokens.failover import Kept, RecentRevocations

logger = logging.getLogger("lockwatch")
NAME: Final = "revocations"
MOST: Final = 16 * 2**20
"""Bytes of a file at most."""
_SCHEMA: Final = "CREATE TABLE IF NOT EXISTS revocations (body BLOB PRIMARY KEY, sum BLOB NOT NULL) WITHOUT ROWID"


class DurableRevocations:
    """A spool in memory and on disk. Where the disk fails, memory goes on, and `problem` says why.

    Args:
        directory: where the files are.

    Attributes:
        problem: why revocations are in memory only; empty when they are not.
    """

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._inherited: list[object] = []
        self._file: Database | None = None
        self.forked()
        native.tell_of_forks(self)

    def __len__(self) -> int:
        return len(self._memory)

    def __del__(self) -> None:
        """Where nobody closed it: what waits is for the next process, and the file is not held until this one ends."""
        with suppress(Exception):
            if self.pid == os.getpid():
                self.close()

    def forked(self) -> None:
        """Begin anew in a child: what waits is the parent's, and so is its file, whose lock is let go of here."""
        self.pid = os.getpid()
        self._lock = native.lock()
        if self._file is not None:
            self._file.claim.release()
            self._inherited.append(self._file)
        self._file = None
        self._memory = RecentRevocations()
        self._written: dict[Kept, bytes] = {}
        self.problem = ""

    def keep(self, kept: Kept) -> None:
        """Remember a revocation, before the store is told."""
        with self._lock:
            self._memory.keep(kept)
            self._write()

    def settle(self, kept: Kept, confirmed: Kept | None) -> None:
        """The store was told; what to say again from now on, if anything."""
        with self._lock:
            self._memory.settle(kept, confirmed)
            self._write()

    def due(self, now: float) -> tuple[Kept, ...]:
        """What to say again now, oldest first."""
        with self._lock:
            return self._memory.due(now)

    def adopt(self) -> int:
        """Take over what dead processes left; how many revocations that are."""
        with self._lock:
            before = len(self._memory)
            try:
                while self._directory.path.exists() and (claim := self._directory.adopt(NAME)) is not None:
                    self._take_over(claim)
            except (SpoolError, sqlite3.Error) as error:
                self._fails(error)
            return len(self._memory) - before

    def close(self) -> None:
        """Let go of the file, which goes too when nothing in it is left to say."""
        with self._lock:
            file, self._file = self._file, None
            if file is not None:
                file.close(remove=not self._written)
            self._written.clear()

    def _write(self) -> None:
        """Make the file say what the memory does."""
        new = [kept for kept in self._memory if kept not in self._written]
        gone = [kept for kept in self._written if kept not in self._memory]
        if not new and not gone:
            return
        try:
            if self._file is None:
                self._file = _opened(self._directory.claim(NAME))
            bodies = {kept: _body(kept) for kept in new}
            with self._file.writing() as connection:
                connection.executemany("DELETE FROM revocations WHERE body = ?", [(self._written[kept],) for kept in gone])
                rows = [(body, self._file.checksum(body)) for body in bodies.values()]
                connection.executemany("INSERT OR REPLACE INTO revocations VALUES (?, ?)", rows)
        except (SpoolError, sqlite3.Error) as error:
            self._fails(error)
            return
        for kept in gone:
            del self._written[kept]
        self._written |= bodies
        self._works()

    def _take_over(self, claim: Claim) -> None:
        """Read what another process left, write it into the file of this one, and delete the other."""
        theirs = _opened(claim)
        rows = theirs.connection.execute("SELECT body, sum FROM revocations").fetchall()
        good = [body for body, kept in rows if theirs.checksum(body) == kept]
        if len(good) < len(rows):
            logger.error("lockwatch: %d revocations in %s are damaged, and lost", len(rows) - len(good), claim.path.name)
        for kept in sorted(map(_kept, good), key=lambda kept: kept.at):
            self._memory.keep(kept)
        self._write()
        theirs.close(remove=not self.problem)

    def _fails(self, error: Exception) -> None:
        if not self.problem:
            logger.error("lockwatch: revocations are kept in memory only: %s", error)
        self.problem = f"revocations are kept in memory only: {error}"

    def _works(self) -> None:
        if self.problem:
            logger.warning("lockwatch: revocations are kept on disk again")
        self.problem = ""


def _opened(claim: Claim) -> Database:
    file = Database(claim, MOST)
    try:
        with file.writing() as connection:
            connection.execute(_SCHEMA)
    except SpoolError:
        file.connection.close()
        raise
    return file


def _body(kept: Kept) -> bytes:
    call = kept.call
    return json.dumps([call.script, call.keys, call.args, call.words, kept.at, kept.said]).encode()


def _kept(body: bytes) -> Kept:
    script, keys, args, words, at, said = json.loads(body)
    return Kept(Call(script, tuple(keys), tuple(args), words=tuple(words)), at, said)
