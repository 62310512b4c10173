"""Fixtures for every test: real servers, one set per test process."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import redis

from tests import servers


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
def redis_server(redis_url: str) -> str:
    """The same server, empty."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    return redis_url
