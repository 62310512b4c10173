"""A SQLite file that stays within its bounds, and goes on working when the disk is full.

A full disk stops even DELETE and checkpoints, because SQLite writes before it frees. So a ballast file lies beside the database: it
is given up then, and made again when there is room.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from lockwatch.spool.directory import Claim, SpoolError

PAGE: Final = 4096
BALLAST: Final = 256 * 1024
"""Bytes of the ballast file."""


class Full(SpoolError):
    """There is no room: on the disk, or within the bound of the file."""

    code = "spool_full"


class Database:
    """One file, for this process alone. Its methods are called from one thread at a time.

    Args:
        claim: what `Directory.claim` or `Directory.adopt` gave.
        most: bytes of the file at most.
        synchronous: ``normal`` keeps every commit through the death of the process, and may lose the last ones when the power
            fails; ``full`` keeps them then too.

    Raises: SpoolError.
    """

    def __init__(self, claim: Claim, most: int = 256 * 2**20, synchronous: str = "normal") -> None:
        self.claim = claim
        self._most = most
        try:
            self.connection = sqlite3.connect(claim.path, isolation_level=None, check_same_thread=False, timeout=1.0)
        except sqlite3.Error as error:
            raise _error(claim.path, error) from None
        try:
            self._prepare(synchronous)
        except sqlite3.Error as error:
            self.connection.close()
            raise _error(claim.path, error) from None
        self.trim_ballast()

    def _prepare(self, synchronous: str) -> None:
        for pragma in (
            "auto_vacuum=INCREMENTAL",
            "journal_mode=WAL",
            f"synchronous={synchronous}",
            f"max_page_count={max(16, self._most // PAGE)}",
            f"journal_size_limit={BALLAST}",
            "temp_store=MEMORY",
        ):
            self.connection.execute(f"PRAGMA {pragma}").fetchall()
        self.connection.execute("SELECT count(*) FROM sqlite_master").fetchone()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction. Raises: Full, when there is no room: then nothing was written; SpoolError."""
        connection = self.connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._undo()
            raise _error(self.claim.path, error) from None
        except BaseException:
            self._undo()
            raise

    @contextmanager
    def freeing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that only deletes: on a full disk it gives up the ballast. Run again by the caller when it raises Full."""
        try:
            with self.writing() as connection:
                yield connection
        except Full:
            self.drop_ballast()
            raise

    def checksum(self, *parts: bytes) -> bytes:
        """A keyed checksum of 8 bytes, which no other directory and no other namespace would make."""
        found = hashlib.blake2b(key=self.claim.key, digest_size=8)
        for part in parts:
            found.update(b"%d:" % len(part))
            found.update(part)
        return found.digest()

    @property
    def size(self) -> int:
        """Bytes in use of the file. Raises: SpoolError."""
        try:
            pages, free = [int(self.connection.execute(f"PRAGMA {p}").fetchone()[0]) for p in ("page_count", "freelist_count")]
        except sqlite3.Error as error:
            raise _error(self.claim.path, error) from None
        return (pages - free) * PAGE

    @property
    def filled(self) -> float:
        """How much of the bound is in use, from 0 to 1. Raises: SpoolError."""
        return self.size / self._most

    def shrink(self) -> None:
        """Give back to the disk what is not in use."""
        with suppress(sqlite3.Error):
            self.connection.executescript("PRAGMA incremental_vacuum")  # `execute` takes one step: one page

    def drop_ballast(self) -> None:
        """Give up the ballast, and bring what is in the log of SQLite into its file."""
        with suppress(OSError):
            self.claim.ballast.unlink()
        with suppress(sqlite3.Error):
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def trim_ballast(self) -> bool:
        """Have a ballast file, where there is room for one; whether there is one."""
        if self.claim.ballast.exists():
            return True
        try:
            found = os.open(self.claim.ballast, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(found, "wb") as file:
                file.write(b"\0" * BALLAST)
        except OSError:
            with suppress(OSError):
                self.claim.ballast.unlink()
            return False
        return True

    def close(self, remove: bool) -> None:
        """Close it, and let go of the lock. `remove` deletes the files: everything in them has arrived."""
        with suppress(sqlite3.Error):
            self.connection.close()
        if remove:
            self.claim.remove()
        else:
            self.claim.release()

    def _undo(self) -> None:
        with suppress(sqlite3.Error):
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")


def is_damage(error: BaseException | None) -> bool:
    """Whether an error says that a file is no database any more. A lock or a full disk says nothing against the file."""
    while error is not None and not isinstance(error, sqlite3.Error):
        error = error.__context__
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _error(path: Path, error: sqlite3.Error) -> SpoolError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    # A write beyond RLIMIT_FSIZE, or a disk that fills up in the middle of a write, is an I/O error to SQLite.
    kind = Full if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR) else SpoolError
    return kind(f"{path.name}: {error}")
