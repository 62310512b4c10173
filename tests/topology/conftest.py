"""A cluster, and a master under Sentinel, for the tests that leave them as they are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.endless import Verdict
from tests.topology import sites
from tests.topology.sites import Site


@pytest.fixture(scope="session")
def _cluster() -> Iterator[Site]:
    site = sites.start_cluster()
    yield site
    site.stop()


@pytest.fixture(scope="session")
def _sentinels() -> Iterator[Site]:
    site = sites.start_sentinels()
    yield site
    site.stop()


@pytest.fixture
def cluster(_cluster: Site, endless_keys: Verdict, request: pytest.FixtureRequest) -> Iterator[Site]:
    """Three masters, empty. What a test leaves there has to end by itself."""
    for node in _cluster.nodes:
        sites.ask(node.port, "FLUSHALL")
    yield _cluster
    for node in _cluster.nodes:
        endless_keys.look(f"redis://127.0.0.1:{node.port}", request.node.nodeid)


@pytest.fixture
def sentinels(_sentinels: Site, endless_keys: Verdict, request: pytest.FixtureRequest) -> Iterator[Site]:
    """A master with a replica and three sentinels, empty. What a test leaves there has to end by itself."""
    sites.ask(_sentinels.nodes[0].port, "FLUSHALL")
    yield _sentinels
    endless_keys.look(f"redis://127.0.0.1:{_sentinels.nodes[0].port}", request.node.nodeid)
