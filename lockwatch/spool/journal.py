"""Records in the order they came, kept until every reader has them: the queue in a spool file.

A record is some bytes and a checksum. Readers are named; each acknowledges for itself, and what all have is deleted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from lockwatch.spool.database import Database, Full

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS records (
    n INTEGER PRIMARY KEY, note TEXT NOT NULL, body BLOB NOT NULL, sum BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS readers (name TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;
"""


class Record(NamedTuple):
    """A record as it is read.

    Attributes:
        n: its number; later ones are greater.
        note: a few words to say what is lost when `body` is damaged.
        body: what was written; None when its checksum says that it is damaged.
    """

    n: int
    note: str
    body: bytes | None


class Journal:
    """The records of one spool file. Methods raise SpoolError.

    Args:
        database: where they are.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        with database.writing() as connection:
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)

    def append(self, records: Iterable[tuple[int, str, bytes]], read: Mapping[str, int]) -> None:
        """Keep records (number, note, body), all or none, and what the readers have by now. Raises: Full, SpoolError."""
        rows = [(n, note, body, self._sum(n, note, body)) for n, note, body in records]
        with self.database.writing() as connection:
            connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?)", rows)
            self._note(connection, read)

    def after(self, n: int, most: int) -> list[Record]:
        """The first `most` records after number `n`."""
        with self.database.writing() as connection:
            found = connection.execute(
                "SELECT n, note, body, sum FROM records WHERE n > ? ORDER BY n LIMIT ?", (n, most)
            ).fetchall()
        return [Record(n, note, body if self._sum(n, note, body) == kept else None) for n, note, body, kept in found]

    def acknowledge(self, read: Mapping[str, int], names: Sequence[str]) -> None:
        """Note what readers have, and delete what all of `names` have. On a full disk this is what makes room."""
        for attempt in (1, 2):
            try:
                with self.database.freeing() as connection:
                    self._note(connection, read)
                    least = min([self._at(connection, name) for name in names], default=0)
                    connection.execute("DELETE FROM records WHERE n <= ?", (least,))
                return
            except Full:
                if attempt == 2:
                    raise

    def at(self, name: str) -> int:
        """The number up to which a reader has everything."""
        with self.database.writing() as connection:
            return self._at(connection, name)

    def readers(self) -> list[str]:
        """The names of all readers it was ever told of."""
        with self.database.writing() as connection:
            return [name for (name,) in connection.execute("SELECT name FROM readers ORDER BY name")]

    @property
    def last(self) -> int:
        """The number of the last record, 0 for none."""
        with self.database.writing() as connection:
            return int(connection.execute("SELECT coalesce(max(n), 0) FROM records").fetchone()[0])

    def __len__(self) -> int:
        with self.database.writing() as connection:
            return int(connection.execute("SELECT count(*) FROM records").fetchone()[0])

    def close(self) -> None:
        """Close the file; it is removed when nothing is left in it."""
        empty = False
        with suppress(Exception):
            empty = len(self) == 0
        self.database.close(remove=empty)

    def _sum(self, n: int, note: str, body: bytes) -> bytes:
        return self.database.checksum(b"%d" % n, note.encode(), body)

    def _at(self, connection: sqlite3.Connection, name: str) -> int:
        found = connection.execute("SELECT n FROM readers WHERE name = ?", (name,)).fetchone()
        return 0 if found is None else int(found[0])

    def _note(self, connection: sqlite3.Connection, read: Mapping[str, int]) -> None:
        connection.executemany("INSERT OR REPLACE INTO readers VALUES (?, ?)", list(read.items()))
