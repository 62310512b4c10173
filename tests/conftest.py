"""Fixtures for every test: real servers, one set per test process."""

from __future__ import annotations

import asyncio
import atexit
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import asyncpg
import hypothesis
import pytest
import redis

from lockwatch import worker
from tests import servers
from tests.endless import Verdict

# A busy machine is no failure: no example has a deadline of its own, the timeout of a test is the bound.
SLOW = [hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture]
hypothesis.settings.register_profile("lockwatch", deadline=None, suppress_health_check=SLOW)
hypothesis.settings.load_profile("lockwatch")
# Nor does the store have to answer in 50 ms, but where a test gives a deadline because it is about one.
os.environ["LOCKWATCH_STORE_TIMEOUT"] = "5"
# Nothing is kept where the user keeps things.
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="lw-state-")
os.environ["XDG_CACHE_HOME"] = os.environ["XDG_STATE_HOME"]
atexit.register(shutil.rmtree, os.environ["XDG_STATE_HOME"], ignore_errors=True)


@pytest.fixture(scope="session")
def endless_keys() -> Iterator[Verdict]:
    """Fails the run at the end of this test process if a key without a time to live was seen on its servers."""
    verdict = Verdict()
    yield verdict
    verdict.check()


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A real Redis or Valkey, started for this test process unless the environment names one."""
    if url := os.environ.get(servers.REDIS_ENV):
        yield url
        return
    process = servers.start_redis()
    yield f"redis://127.0.0.1:{process.port}/0"
    process.stop()


def silence() -> None:
    """End what the background does for applications that earlier tests did not close: they would go on saying that they live."""
    for job in worker.shared().jobs:
        job.cancel()
    ends = time.monotonic() + 20
    while worker.shared().state == "running" and time.monotonic() < ends:
        time.sleep(0.001)


@pytest.fixture
def redis_server(redis_url: str, endless_keys: Verdict, request: pytest.FixtureRequest) -> Iterator[str]:
    """The same server, empty. What a test leaves there has to end by itself."""
    silence()
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    yield redis_url
    endless_keys.look(redis_url, request.node.nodeid)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A real PostgreSQL, 18 from its wheel unless the environment names one: URL of a database to create others from."""
    if url := os.environ.get(servers.PG_ENV):
        yield url
        return
    process = servers.start_postgres()
    yield f"postgresql://postgres@127.0.0.1:{process.port}/postgres"
    process.stop()


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """A database of its own for one test, empty."""
    with fresh_database(postgres_server) as url:
        yield url


@contextmanager
def fresh_database(server: str) -> Iterator[str]:
    """A new, empty database on a server, dropped afterwards."""
    name = f"t{uuid.uuid4().hex}"
    _command(server, f"CREATE DATABASE {name}")
    yield urlsplit(server)._replace(path=f"/{name}").geturl()
    _command(server, f"DROP DATABASE {name} WITH (FORCE)")


def _command(url: str, statement: str) -> None:
    async def execute() -> None:
        connection = await asyncpg.connect(url)
        await connection.execute(statement)
        await connection.close()

    asyncio.run(execute())
