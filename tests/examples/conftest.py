"""The example applications, on what they embed and on real servers."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from docs.examples.chronobot.accounts import Accounts as Chatters
from docs.examples.livestotell.accounts import Accounts as Authors
from tests.conftest import fresh_database

PASSWORD = "correct horse battery"
CHEAP = 2
"""What it costs to check the password of an account of the tests."""
HOSTILE = {
    "half a surrogate pair": rb'{"username": "\ud800", "password": "correct horse"}',
    "half a pair in a password": rb'{"username": "ann", "password": "correct horse \ud800"}',
    "NUL": rb'{"username": "ann\u0000", "password": "correct horse"}',
    "no text": b"\xff\xfe",
    "no number": b"NaN",
    "deep": b'{"username":' + b"[" * 100_000,
    "nothing": b"",
}
"""Bodies that parsers and databases stumble over."""
UNREAD = ("REDIS_URL", "JWT_SECRET", "WEB_CONCURRENCY", "LOCKWATCH_REDIS_URL", "LOCKWATCH_DATABASE_URL", "CHRONOBOT_ORIGINS")


@pytest.fixture(scope="session")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for each application, with some accounts."""
    place = tmp_path_factory.mktemp("accounts")
    for name in ("chronobot", "livestotell"):
        (place / name).mkdir()
    chatters, authors = Chatters(place / "chronobot/accounts.db", CHEAP), Authors(place / "livestotell/accounts.db", CHEAP)
    chatters.add("admin", PASSWORD, "pro", "admin")
    authors.add("admin", PASSWORD, "admin")
    for name in ("ann", "bob"):
        chatters.add(name, PASSWORD)
        authors.add(name, PASSWORD)
    chatters.add("pat", PASSWORD, "pro")
    return place


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, registered: Path) -> Path:
    """The environment of applications that have nothing but a directory each; where these are."""
    for name in UNREAD:
        monkeypatch.delenv(name, raising=False)
    for name in ("chronobot", "livestotell"):
        shutil.copytree(registered / name, tmp_path / name)
        monkeypatch.setenv(f"{name.upper()}_DATA", str(tmp_path / name))
    return tmp_path


@pytest.fixture(params=["embedded", "servers"])
def environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, embedded: Path) -> Iterator[Path]:
    """The environment of applications, also with Valkey and PostgreSQL; where their directories are."""
    if request.param == "embedded":
        yield embedded
        return
    use: Callable[[str], str] = request.getfixturevalue
    monkeypatch.setenv("LOCKWATCH_REDIS_URL", use("redis_server"))
    with fresh_database(use("postgres_server")) as url:
        monkeypatch.setenv("LOCKWATCH_DATABASE_URL", url)
        yield embedded
