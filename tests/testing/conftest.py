"""Shops in both frameworks, over memory and over Redis."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import fakeredis
import pytest

from tests.testing.shops import SHOPS, Shop


@pytest.fixture(params=["memory", "redis", "fakeredis"])
def store(request: pytest.FixtureRequest, redis_server: str) -> dict[str, Any]:
    """Options that name a store of each kind."""
    if request.param == "memory":
        return {}
    own = {"redis_url": None, "namespace": f"shop-{secrets.token_hex(4)}"}
    return own | (
        {"redis": fakeredis.FakeRedis(server=fakeredis.FakeServer())}
        if request.param == "fakeredis"
        else {"redis_url": redis_server}
    )


@pytest.fixture(params=list(SHOPS))
def make(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Makes a shop in each framework, and closes it."""
    made: list[Shop] = []

    def build(**options: Any) -> Shop:
        made.append(SHOPS[request.param](**options))
        return made[-1]

    yield build
    for shop in made:
        if request.param == "flask":
            shop.lockwatch.close()


@pytest.fixture
def shop(make: Any, store: dict[str, Any]) -> Iterator[Shop]:
    """A shop in each framework over each store, running."""
    made = make(**store)
    if hasattr(made.client, "__exit__") and not hasattr(made.client, "open"):
        with made.client:
            yield made
    else:
        yield made


@pytest.fixture
def plain(make: Any) -> Shop:
    """A shop in each framework over memory."""
    found: Shop = make()
    return found
