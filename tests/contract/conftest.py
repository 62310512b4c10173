"""A store of each kind under a clock that a test sets."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.contract.bench import KINDS, REAL, Bench


@pytest.fixture(params=KINDS)
async def bench(request: pytest.FixtureRequest, redis_server: str) -> AsyncIterator[Bench]:
    """Every kind of store."""
    made = Bench(request.param, redis_server)
    yield made
    await made.close()


@pytest.fixture(params=REAL)
async def real(request: pytest.FixtureRequest, redis_server: str) -> AsyncIterator[Bench]:
    """A store on a real server, in both colours."""
    made = Bench(request.param, redis_server)
    yield made
    await made.close()
