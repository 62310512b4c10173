"""Fixtures for every test: real servers, one set per test process."""

from __future__ import annotations

import os
from collections.abc import Iterator

import hypothesis
import pytest
import redis

from lockwatch import worker
from tests import servers
from tests.endless import Verdict

# A busy machine is no failure: no example has a deadline of its own, the timeout of a test is the bound.
hypothesis.settings.register_profile("lockwatch", deadline=None)
hypothesis.settings.load_profile("lockwatch")


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


@pytest.fixture
def redis_server(redis_url: str, endless_keys: Verdict, request: pytest.FixtureRequest) -> Iterator[str]:
    """The same server, empty. What a test leaves there has to end by itself."""
    for job in worker.shared().jobs:
        job.cancel()  # of applications that earlier tests did not close: they would go on saying that they live
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    yield redis_url
    endless_keys.look(redis_url, request.node.nodeid)
