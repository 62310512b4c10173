"""Audit databases for the tests: SQLite files, and every PostgreSQL there is on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests import servers
from tests.conftest import fresh_database

PLACES = servers.pg_bindirs()


@pytest.fixture(scope="session")
def started() -> Iterator[Callable[[tuple[str, str]], str]]:
    """Starts a PostgreSQL of `PLACES` when it is first asked for."""
    running: list[servers.Proc] = []

    @cache
    def start(place: tuple[str, str]) -> str:
        running.append(servers.start_postgres(place=place))
        return f"postgresql://postgres@127.0.0.1:{running[-1].port}/postgres"

    yield start
    for process in running:
        process.stop()


@pytest.fixture(params=PLACES, ids=[origin for _, origin in PLACES])
def any_postgres_url(request: pytest.FixtureRequest, started: Callable[[tuple[str, str]], str]) -> Iterator[str]:
    """An empty database on each PostgreSQL in turn."""
    with fresh_database(started(request.param)) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A SQLite file that is not there yet."""
    return f"sqlite+aiosqlite:///{tmp_path}/audit.db"


@pytest.fixture(params=["postgres", "sqlite"])
def audit_url(request: pytest.FixtureRequest) -> str:
    """An empty database of either kind."""
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture(params=[*PLACES, None], ids=[*[origin for _, origin in PLACES], "SQLite"])
def url(request: pytest.FixtureRequest, tmp_path: Path, started: Callable[[tuple[str, str]], str]) -> Iterator[str]:
    """An empty database on each PostgreSQL in turn, and on SQLite."""
    if request.param is None:
        yield f"sqlite+aiosqlite:///{tmp_path}/audit.db"
    else:
        with fresh_database(started(request.param)) as found:
            yield found
