"""Who may log in, in a SQLite file. Passwords are kept as scrypt hashes."""

import hashlib
import hmac
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

_TABLE = "CREATE TABLE IF NOT EXISTS account (name TEXT PRIMARY KEY, salt BLOB, work INTEGER, hash BLOB, plan TEXT, role TEXT)"


class Accounts:
    """The accounts in a file. Safe to use from several threads and processes.

    Args:
        work: what a guess costs. It is kept with each hash, so that raising it locks nobody out. The default is what OWASP's cheat
            sheet on password storage asks for.
    """

    def __init__(self, path: Path, work: int = 2**14) -> None:
        self._path = path
        self._work = work
        with self._database() as database:
            database.execute(_TABLE)

    def add(self, name: str, password: str, plan: str = "free", role: str = "user") -> bool:
        """Make an account; False if there is one of that name."""
        salt = os.urandom(16)
        row = (name, salt, self._work, _hash(password, salt, self._work), plan, role)
        with self._database() as database:
            return database.execute("INSERT OR IGNORE INTO account VALUES (?, ?, ?, ?, ?, ?)", row).rowcount == 1

    def check(self, name: str, password: str) -> bool:
        """Whether that is the password. Takes as long for a name that nobody has."""
        row = self._row("SELECT salt, work, hash FROM account WHERE name = ?", name)
        salt, work, expected = row or (bytes(16), self._work, b"")
        return hmac.compare_digest(_hash(password, salt, work), expected)

    def claims(self, name: str) -> dict[str, Any] | None:
        """What the tokens of an account say of it; None if it is gone."""
        row = self._row("SELECT plan, role FROM account WHERE name = ?", name)
        return None if row is None else {"plan": row[0], "roles": [row[1]]}

    def change_plan(self, name: str, plan: str) -> bool:
        """Give an account another plan; False if there is no such account."""
        with self._database() as database:
            return database.execute("UPDATE account SET plan = ? WHERE name = ?", (plan, name)).rowcount == 1

    def _row(self, question: str, name: str) -> Any:
        with self._database() as database:
            return database.execute(question, (name,)).fetchone()

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=30)) as database, database:
            yield database


def _hash(password: str, salt: bytes, work: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=work, r=8, p=5, maxmem=2**28)
