"""Alerts that are kept until they have arrived: tables of one SQLite file for each process, or of its memory.

A delivery is one alert for one receiver. It is ``waiting`` until it has arrived or was tried often enough, then ``delivered`` or
``dead``. Receivers are named by a hash: no URL and no secret is in the file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from lockwatch import native
from lockwatch.alerts.digest import Held
from lockwatch.alerts.record import DEAD, DELIVERED, WAITING, Delivery
from lockwatch.spool.database import Database

REPLAYED: Final = "replayed"
KEPT: Final = "kept"
KNOWN: Final = "known"
FULL: Final = "full"
MOST_WAITING: Final = 5000
HISTORY: Final = {DELIVERED: 500, DEAD: 1000}
"""Deliveries that are kept to be looked at, the newest of each state."""
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS alerts (
    id TEXT PRIMARY KEY, type TEXT NOT NULL, raised_at REAL NOT NULL, body BLOB NOT NULL, sum BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS deliveries (
    alert TEXT NOT NULL, endpoint TEXT NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL,
    due_at REAL NOT NULL, since REAL NOT NULL, note TEXT NOT NULL, PRIMARY KEY (alert, endpoint)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (state, endpoint, due_at);
CREATE TABLE IF NOT EXISTS held (
    type TEXT PRIMARY KEY, count INTEGER NOT NULL, first_at INTEGER NOT NULL, last_at INTEGER NOT NULL, example BLOB NOT NULL
) WITHOUT ROWID;
"""
_FAR: Final = 2 * 86_400.0
_BATCH: Final = 100


_SELECT: Final = (
    "SELECT alert, type, raised_at, endpoint, name, state, attempts, due_at, since, note, body, sum "
    "FROM deliveries JOIN alerts ON alerts.id = deliveries.alert "
)


class Outbox:
    """The tables. Its methods may be called from any thread; all raise sqlite3.Error.

    Args:
        database: a file that this process alone writes, though a command may look at it and ask for a replay; None for one in
            memory, which ends with the process.
    """

    def __init__(self, database: Database | None = None) -> None:
        self._lock = native.lock()
        self._database = database
        self._connection = database.connection if database else sqlite3.connect(":memory:", check_same_thread=False)
        self._connection.isolation_level = None
        try:
            self._connection.executescript(SCHEMA)
        except sqlite3.Error:
            self._connection.close()
            raise

    def add(self, name: str, kind: str, body: bytes, receivers: Mapping[str, str], now: float) -> str:
        """Keep an alert: `KEPT`; `KNOWN` when it is there already, `FULL` when too many are.

        Args:
            name: its id.
            receivers: their names by their hashes.
        """
        with self._write() as db:
            waiting = db.execute("SELECT count(*) FROM deliveries WHERE state = ?", (WAITING,)).fetchone()[0]
            if waiting + len(receivers) > MOST_WAITING:
                return FULL
            if not db.execute("INSERT OR IGNORE INTO alerts VALUES (?, ?, ?, ?, ?)", self._alert(name, kind, now, body)).rowcount:
                return KNOWN
            rows = [(name, key, shown, WAITING, 0, now, now, "") for key, shown in receivers.items()]
            db.executemany("INSERT INTO deliveries VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        return KEPT

    def due(self, endpoint: str, now: float, without: Sequence[str] = ()) -> Delivery | None:
        """What a receiver should get next; nothing that is in `without`. A time far ahead means that the clock was set back."""
        marks = ",".join("?" * len(without))
        found = self._read(
            f"{_SELECT} WHERE state = ? AND endpoint = ? AND (due_at <= ? OR due_at > ?) AND alert NOT IN ({marks}) "
            "ORDER BY due_at, since, alert LIMIT 1",
            (WAITING, endpoint, now, now + _FAR, *without),
        )
        return found[0] if found else None

    def record(self, delivery: Delivery, state: str, due_at: float, note: str) -> None:
        """Note what came of an attempt."""
        with self._write() as db:
            db.execute(
                "UPDATE deliveries SET state = ?, attempts = ?, due_at = ?, note = ? WHERE alert = ? AND endpoint = ?",
                (state, delivery.attempts + 1, due_at, note, delivery.alert, delivery.endpoint),
            )

    def hasten(self, endpoint: str, now: float) -> None:
        """Try everything for a receiver that works again, now."""
        with self._write() as db:
            db.execute(
                "UPDATE deliveries SET due_at = ? WHERE state = ? AND endpoint = ? AND due_at > ?", (now, WAITING, endpoint, now)
            )

    def bury(self, endpoint: str, note: str, now: float) -> int:
        """Try nothing any more for a receiver, except what somebody wants to be tried again; how many alerts that are."""
        with self._write() as db:
            return db.execute(
                "UPDATE deliveries SET state = ?, note = ?, due_at = ? WHERE state = ? AND endpoint = ? AND note <> ?",
                (DEAD, note, now, WAITING, endpoint, REPLAYED),
            ).rowcount

    def readdress(self, receivers: Mapping[str, str], now: float) -> None:
        """What waits for a receiver that is no longer configured is dead, and waits for `receivers` instead."""
        with self._write() as db:
            known = ",".join("?" * len(receivers))
            lost = f"state = ? AND endpoint NOT IN ({known})"
            arguments = (WAITING, *receivers)
            for key, shown in receivers.items():
                db.execute(
                    "INSERT OR IGNORE INTO deliveries "  # noqa: S608 - the text holds question marks only
                    f"SELECT DISTINCT alert, ?, ?, ?, 0, ?, ?, '' FROM deliveries WHERE {lost}",
                    (key, shown, WAITING, now, now, *arguments),
                )
            db.execute(
                f"UPDATE deliveries SET state = ?, note = ? WHERE {lost}",  # noqa: S608
                (DEAD, "its receiver is not configured any more", *arguments),
            )

    def replay(self, names: Sequence[str], now: float) -> int:
        """Try dead or delivered alerts again from the beginning, all dead ones without `names`; how many deliveries that are."""
        chosen = f"alert IN ({','.join('?' * len(names))})" if names else "state = ?"
        with self._write() as db:
            return db.execute(
                "UPDATE deliveries SET state = ?, attempts = 0, due_at = ?, since = ?, note = ? "  # noqa: S608
                f"WHERE state <> ? AND {chosen}",
                (WAITING, now, now, REPLAYED, WAITING, *(names or (DEAD,))),
            ).rowcount

    def hold(self, held: Sequence[Held]) -> None:
        """Add to what is too much to be sent one by one."""
        with self._write() as db:
            db.executemany(
                "INSERT INTO held VALUES (?, ?, ?, ?, ?) ON CONFLICT (type) DO UPDATE SET count = count + excluded.count, "
                "first_at = min(first_at, excluded.first_at), last_at = max(last_at, excluded.last_at)",
                [(h.type, h.count, h.first_at, h.last_at, h.example) for h in held],
            )

    def held(self) -> list[Held]:
        """What was held back since the last digest."""
        with self._lock:
            return [Held(*row) for row in self._connection.execute("SELECT * FROM held ORDER BY count DESC, type")]

    def digest(self, name: str, kind: str, body: bytes, receivers: Mapping[str, str], now: float) -> None:
        """Keep an alert that speaks of everything held, in place of it."""
        with self._write() as db:
            db.execute("INSERT INTO alerts VALUES (?, ?, ?, ?, ?)", self._alert(name, kind, now, body))
            rows = [(name, key, shown, WAITING, 0, now, now, "") for key, shown in receivers.items()]
            db.executemany("INSERT INTO deliveries VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
            db.execute("DELETE FROM held")

    def counts(self) -> dict[str, int]:
        """Deliveries by state."""
        with self._lock:
            return dict(self._connection.execute("SELECT state, count(*) FROM deliveries GROUP BY state").fetchall())

    def deliveries(self, states: Sequence[str], most: int) -> list[Delivery]:
        """Deliveries in these states, the newest alerts first."""
        marks = ",".join("?" * len(states))
        return self._read(f"{_SELECT} WHERE state IN ({marks}) ORDER BY raised_at DESC, alert, endpoint LIMIT ?", (*states, most))

    def prune(self) -> None:
        """Forget the oldest of what needs no attempt any more."""
        with self._write() as db:
            for state, most in HISTORY.items():
                db.execute(
                    "DELETE FROM deliveries WHERE state = ? AND (alert, endpoint) NOT IN "
                    "(SELECT alert, endpoint FROM deliveries WHERE state = ? ORDER BY due_at DESC LIMIT ?)",
                    (state, state, most),
                )
            db.execute("DELETE FROM alerts WHERE NOT EXISTS (SELECT 1 FROM deliveries WHERE alert = id)")
        if self._database is not None:
            self._database.trim_ballast()

    def adopt(self, other: Outbox) -> int:
        """Take over what a dead process left, in steps that may be repeated; how many alerts that are."""
        moved = 0
        self.hold(other.held())
        with other._write() as theirs:
            theirs.execute("DELETE FROM held")
        while batch := other._batch():
            with self._write() as ours:
                ours.executemany("INSERT OR IGNORE INTO alerts VALUES (?, ?, ?, ?, ?)", [alert for alert, _ in batch])
                rows = [row for _, rows in batch for row in rows]
                ours.executemany("INSERT OR IGNORE INTO deliveries VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
            other._forget([alert[0] for alert, _ in batch])
            moved += len(batch)
        return moved

    def make_room(self) -> None:
        """Give up the ballast on a full disk, so that what has arrived can be noted, and have it again when there is room."""
        with self._lock:
            if self._database is not None:
                self._database.drop_ballast()

    def close(self) -> None:
        """Close the file, which the next process takes over; without it, when there is nothing in it."""
        with self._lock:
            empty = False
            with suppress(sqlite3.Error):
                empty = self._connection.execute("SELECT 1 FROM alerts UNION ALL SELECT 1 FROM held LIMIT 1").fetchone() is None
            if self._database is None:
                self._connection.close()
            else:
                self._database.close(remove=empty)

    def disconnect(self) -> None:
        """Close the file, and nothing else."""
        with self._lock, suppress(sqlite3.Error):
            self._connection.close()

    def abandon(self) -> None:
        """Leave the file to the parent, in a forked child: let go of the lock that both hold."""
        if self._database is not None:
            self._database.claim.release()

    def _alert(self, name: str, kind: str, now: float, body: bytes) -> tuple[str, str, float, bytes, bytes]:
        return name, kind, now, body, self._sum(name, kind, body)

    def _sum(self, name: str, kind: str, body: bytes) -> bytes:
        return b"" if self._database is None else self._database.checksum(name.encode(), kind.encode(), body)

    def _delivery(self, row: tuple[Any, ...]) -> Delivery:
        body, kept = row[-2:]
        whole = isinstance(body, bytes) and self._sum(row[0], row[1], body) == kept
        return Delivery(*(*row[:-2], body if whole else None))

    def _batch(self) -> list[tuple[tuple[Any, ...], list[tuple[Any, ...]]]]:
        with self._lock:
            db = self._connection
            alerts = db.execute(
                "SELECT id, type, raised_at, body, sum FROM alerts ORDER BY raised_at LIMIT ?", (_BATCH,)
            ).fetchall()
            return [(alert, db.execute("SELECT * FROM deliveries WHERE alert = ?", alert[:1]).fetchall()) for alert in alerts]

    def _forget(self, names: Sequence[str]) -> None:
        with self._write() as db:
            db.executemany("DELETE FROM deliveries WHERE alert = ?", [(name,) for name in names])
            db.executemany("DELETE FROM alerts WHERE id = ?", [(name,) for name in names])

    def _read(self, question: str, arguments: Sequence[Any]) -> list[Delivery]:
        with self._lock:
            return [self._delivery(row) for row in self._connection.execute(question, arguments)]

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it or nothing."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
