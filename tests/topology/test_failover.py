"""A master is lost under load: calls follow the new one, and what was admitted above the limit is counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from lockwatch.errors import StoreError
from lockwatch.stores.cluster import slot_of
from lockwatch.stores.connect import address_of
from lockwatch.stores.redis_async import AsyncRedisStore
from lockwatch.stores.redis_sync import RedisStore
from tests.contract.bench import SECOND, Ask, admit
from tests.stress.failover import HEAD, Load, Loss, kill_of_cluster, kill_of_master, measure, switch_of_master
from tests.topology import sites
from tests.topology.sites import Site

HOUR = 3600 * SECOND
LOAD = Load(tuple(f"{{failover}}:{i}" for i in range(4)), 400, tasks=4, pace=0.005)
FORGIVEN = 64
"""Admissions the new master may not know: what one batch of a loop holds. A copy that is further behind loses more."""


@pytest.fixture
def replicated() -> Iterator[Site]:
    with sites.running(sites.start_cluster(replicas=True)) as site:
        for node in (*site.nodes, *site.replicas):
            sites.ask(node.port, "CONFIG", "SET", "cluster-require-full-coverage", "no")
            sites.ask(node.port, "CONFIG", "SET", "cluster-node-timeout", 1000)
        yield site


@pytest.fixture
def watched() -> Iterator[Site]:
    with sites.running(sites.start_sentinels()) as site:
        yield site


def told(loss: Loss) -> Loss:
    print(f"\n{HEAD}\n{loss.line()}")
    return loss


async def test_a_killed_master_of_a_cluster_costs_its_slots_a_pause_and_the_others_nothing(replicated: Site) -> None:
    slot = slot_of(LOAD.keys[:1]) or 0
    lost = sites.node_of(replicated, slot)
    elsewhere = next(f"{{{i}}}" for i in range(100) if sites.node_of(replicated, slot_of((f"{{{i}}}",)) or 0) is not lost)
    reports: list[StoreError | None] = []
    store = AsyncRedisStore(address_of(replicated.url), 5.0, report=reports.append)
    blocking = RedisStore(address_of(replicated.url), 2.0)
    assert blocking.call(admit(0, Ask("{failover}", 50, HOUR)))[1] == 49
    ended = asyncio.Event()

    async def others() -> int:
        count = 0
        while not ended.is_set():
            count += (await store.call(admit(0, Ask(elsewhere, 10**6, HOUR))))[0]
            await asyncio.sleep(0.005)
        return count

    running = asyncio.ensure_future(others())
    loss = told(await measure("cluster: a master killed", replicated, LOAD, kill_of_cluster(replicated, LOAD.keys)))
    ended.set()
    assert await running > 100
    assert not [report for report in reports if report is not None]
    assert loss.failed
    assert loss.over <= FORGIVEN
    assert first_answer(blocking) == 48
    blocking.close()
    await store.aclose()


async def test_a_killed_master_of_sentinel_is_followed(watched: Site) -> None:
    blocking = RedisStore(address_of(watched.url), 2.0)
    assert blocking.call(admit(0, Ask("{failover}", 50, HOUR)))[1] == 49
    loss = told(await measure("sentinel: the master killed", watched, LOAD, kill_of_master(watched, LOAD.keys)))
    assert first_answer(blocking) == 48
    blocking.close()
    assert loss.failed
    assert loss.over <= FORGIVEN
    assert loss.unused <= LOAD.tasks * len(LOAD.keys)  # counted, but the answer was lost


async def test_a_master_that_writes_with_its_replica_only_loses_nothing_when_it_is_switched() -> None:
    load = LOAD._replace(quota=1500, after=0.1)
    with sites.running(sites.start_sentinels(careful=True)) as site:
        blocking = RedisStore(address_of(site.url), 2.0)
        assert blocking.call(admit(0, Ask("{failover}", 50, HOUR)))[1] == 49
        loss = told(await measure("sentinel: switched", site, load, switch_of_master(site, load.keys)))
        assert first_answer(blocking) == 48
        blocking.close()
    assert loss.over <= FORGIVEN


async def test_a_copy_that_is_behind_loses_what_it_has_not_heard() -> None:
    with sites.running(sites.start_sentinels(lag=0.3)) as site:
        loss = told(await measure("sentinel: its replica 300 ms behind", site, LOAD, kill_of_master(site, LOAD.keys)))
    assert 0 < loss.over < LOAD.quota * len(LOAD.keys)


async def test_a_master_that_hangs_is_left_and_counts_nothing_when_it_wakes(watched: Site) -> None:
    store = AsyncRedisStore(address_of(watched.url), 1.0)
    call = admit(0, Ask("k", 50, HOUR))
    assert (await store.call(call))[1] == 49
    sites.until(lambda: sites.ask(watched.replicas[0].port, "EXISTS", "k"), "a copy")
    began = time.monotonic()
    with sites.halted(watched.nodes[0]):
        while True:
            asked = time.monotonic()
            try:
                reply = await store.call(call)
                break
            except StoreError:
                assert time.monotonic() - asked < 10
                assert time.monotonic() - began < 60
                await asyncio.sleep(0.02)
        assert reply[1] == 48
    assert [(await store.call(call))[1] for _ in range(3)] == [47, 46, 45]
    await store.aclose()


def first_answer(store: RedisStore) -> int:
    """What is left after the first call that is answered, which has to come soon."""
    for _ in range(200):
        try:
            return store.call(admit(0, Ask("{failover}", 50, HOUR)))[1]
        except StoreError:
            time.sleep(0.05)
    raise AssertionError("never answered")
