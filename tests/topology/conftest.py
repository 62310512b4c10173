"""A cluster, and a master under Sentinel, for the tests that leave them as they are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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
def cluster(_cluster: Site) -> Site:
    """Three masters, empty."""
    for node in _cluster.nodes:
        sites.ask(node.port, "FLUSHALL")
    return _cluster


@pytest.fixture
def sentinels(_sentinels: Site) -> Site:
    """A master with a replica and three sentinels, empty."""
    sites.ask(_sentinels.nodes[0].port, "FLUSHALL")
    return _sentinels
