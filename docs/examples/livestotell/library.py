"""Stories and comments, in a SQLite file."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

_TABLES = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS story (id TEXT PRIMARY KEY, author TEXT, title TEXT, text TEXT);
CREATE TABLE IF NOT EXISTS comment (id TEXT PRIMARY KEY, story TEXT, author TEXT, text TEXT);
"""


class Library:
    """The stories in a file. Safe to use from several threads and processes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with closing(sqlite3.connect(path, timeout=30)) as database:
            database.executescript(_TABLES)

    def add_story(self, author: str, title: str, text: str) -> dict[str, Any]:
        """Keep a story."""
        return self._add("story", {"id": str(uuid4()), "author": author, "title": title, "text": text})

    def add_comment(self, story: UUID, author: str, text: str) -> dict[str, Any]:
        """Keep a comment."""
        return self._add("comment", {"id": str(uuid4()), "story": str(story), "author": author, "text": text})

    def story(self, story: UUID) -> dict[str, Any] | None:
        """A story; None if there is no such."""
        return next(iter(self._rows("SELECT * FROM story WHERE id = ?", str(story))), None)

    def stories(self) -> list[dict[str, Any]]:
        """The newest stories."""
        return self._rows("SELECT id, author, title FROM story ORDER BY rowid DESC LIMIT 50")

    def comments(self, story: UUID) -> list[dict[str, Any]]:
        """The newest comments on a story."""
        return self._rows("SELECT * FROM comment WHERE story = ? ORDER BY rowid DESC LIMIT 50", str(story))

    def remove(self, story: UUID) -> None:
        """Forget a story and what was said about it."""
        with self._database() as database:
            database.execute("DELETE FROM comment WHERE story = ?", (str(story),))
            database.execute("DELETE FROM story WHERE id = ?", (str(story),))

    def _add(self, table: str, values: dict[str, Any]) -> dict[str, Any]:
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        with self._database() as database:
            database.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values.values()))
        return values

    def _rows(self, question: str, *arguments: str) -> list[dict[str, Any]]:
        with self._database() as database:
            return [dict(row) for row in database.execute(question, arguments)]

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=30)) as database, database:
            database.row_factory = sqlite3.Row
            yield database
