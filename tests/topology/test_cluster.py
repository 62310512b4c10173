"""Redis Cluster: calls find their slots, and what cannot be served is an outage of its own slots only."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio.cluster import RedisCluster as AsyncRedisCluster
from redis.cluster import key_slot

from lockwatch.errors import StoreError, StoreRefused
from lockwatch.stores.cluster import slot_of
from lockwatch.stores.connect import address_of
from lockwatch.stores.redis_async import AsyncRedisStore
from lockwatch.stores.redis_sync import RedisStore
from tests import servers
from tests.contract.bench import SECOND, Ask, admit
from tests.topology import sites
from tests.topology.sites import Site

MINUTE = 60 * SECOND
PATIENT = 5.0
CALLS = [admit(0, Ask(f"k{i}", 10, MINUTE)) for i in range(60)]


# ------------------------------------------------------------------------- slots
@given(st.one_of(st.text(), st.from_regex("[a-c{}]{0,12}", fullmatch=True)))
def test_the_slot_of_a_key_is_the_one_redis_computes(key: str) -> None:
    assert slot_of((key,)) == key_slot(key.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize(
    ("key", "slot"), [("123456789", 0x31C3), ("{user1000}.following", slot_of(("user1000",))), ("foo{}{bar}", 8363), ("", 0)]
)
def test_the_slots_of_the_specification(key: str, slot: int) -> None:
    assert slot_of((key,)) == slot


def test_no_keys_have_no_slot() -> None:
    assert slot_of(()) is None


def test_keys_of_several_slots_in_one_call_are_a_bug_in_blocking_code(cluster: Site) -> None:
    store = RedisStore(address_of(cluster.url), PATIENT)
    with pytest.raises(ValueError, match="2 slots"):
        store.call(admit(0, Ask("a", 5, MINUTE), Ask("b", 5, MINUTE)))
    store.close()


async def test_keys_of_several_slots_in_one_call_are_a_bug_on_a_loop_and_harm_no_other_call(cluster: Site) -> None:
    store = AsyncRedisStore(address_of(cluster.url), PATIENT)
    wrong = admit(0, Ask("a", 5, MINUTE), Ask("b", 5, MINUTE))
    fine, bug = await asyncio.gather(store.call(CALLS[0]), store.call(wrong), return_exceptions=True)
    assert isinstance(bug, ValueError)
    assert not isinstance(bug, StoreError)
    assert not isinstance(fine, BaseException)
    assert fine[1] == 9
    await store.aclose()


def test_stores_say_whether_their_keys_are_split(cluster: Site, sentinels: Site, redis_server: str) -> None:
    for url, split in ((cluster.url, True), (sentinels.url, False), (redis_server, False)):
        assert AsyncRedisStore(address_of(url)).split is split
        assert RedisStore(address_of(url)).split is split


# ----------------------------------------------------------------------- batches
async def test_a_tick_of_the_loop_is_one_script_for_each_slot(cluster: Site) -> None:
    store = AsyncRedisStore(address_of(cluster.url), PATIENT, lanes=1)
    keys = [f"{{{i % 7}}}:{i}" for i in range(63)]
    await asyncio.gather(*[store.call(admit(0, Ask(key, 5, MINUTE), script="peek")) for key in keys])
    before = [scripts(node) for node in cluster.nodes]
    await asyncio.gather(*[store.call(admit(0, Ask(key, 5, MINUTE))) for key in keys])
    assert sum(scripts(node) for node in cluster.nodes) - sum(before) == 7
    await store.aclose()


async def test_buckets_are_spread_over_the_nodes(cluster: Site) -> None:
    store = AsyncRedisStore(address_of(cluster.url), PATIENT)
    await asyncio.gather(*[store.call(call) for call in CALLS])
    assert all(sites.ask(node.port, "DBSIZE") > 5 for node in cluster.nodes)
    await store.aclose()


def scripts(node: servers.Proc) -> int:
    """How many scripts a node has run."""
    with sites.client(node.port) as client:
        return sum(line["calls"] for name, line in client.info("commandstats").items() if "eval" in name)


# ---------------------------------------------------------------- where to begin
def test_event_loops_that_begin_together_wait_for_one_round_of_questions(cluster: Site, silent: int) -> None:
    """An application's and the background's share what is known; neither may fail because the other is asking."""
    url = f"redis+cluster://127.0.0.1:{silent},127.0.0.1:{cluster.nodes[0].port}"
    for _ in range(20):
        store = AsyncRedisStore(address_of(url), PATIENT)
        barrier = threading.Barrier(4)

        async def first(store: AsyncRedisStore = store, barrier: threading.Barrier = barrier) -> int:
            barrier.wait()
            return (await store.call(admit(0, Ask("k", 1000, MINUTE))))[0]

        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(lambda _: asyncio.run(first()), range(4))) == 4


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that accepts connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


async def test_nodes_that_are_gone_or_hang_are_passed_over(cluster: Site, silent: int) -> None:
    url = f"redis+cluster://127.0.0.1:{servers.free_port()},127.0.0.1:{silent},127.0.0.1:{cluster.nodes[1].port}"
    store, blocking = AsyncRedisStore(address_of(url), 20.0), RedisStore(address_of(url), 20.0)
    began = time.monotonic()
    assert (await store.call(CALLS[0]))[1] == 9
    assert blocking.call(CALLS[0])[1] == 8
    assert time.monotonic() - began < 15
    await store.aclose()
    blocking.close()


async def test_without_any_node_a_call_fails_in_time_and_says_where_it_looked(silent: int) -> None:
    address = address_of(f"redis+cluster://me:hunter2@127.0.0.1:{silent},127.0.0.1:{servers.free_port()}")
    reports: list[StoreError | None] = []
    store, blocking = AsyncRedisStore(address, 0.1, report=reports.append), RedisStore(address, 0.1)
    for _ in range(3):
        began = time.monotonic()
        found = await asyncio.gather(*[store.call(call) for call in CALLS], return_exceptions=True)
        assert {type(outcome) for outcome in found} == {StoreError}
        with pytest.raises(StoreError, match="no node of the cluster at 127") as caught:
            blocking.call(CALLS[0])
        assert time.monotonic() - began < 15
    assert "hunter2" not in f"{found[0]} {caught.value}"
    assert reports
    assert None not in reports
    await store.aclose()
    blocking.close()


async def test_a_server_that_is_no_cluster_is_a_store_error(redis_server: str) -> None:
    store = AsyncRedisStore(address_of(redis_server.replace("redis://", "redis+cluster://")), PATIENT)
    with pytest.raises(StoreError, match="cluster support disabled"):
        await store.call(CALLS[0])
    await store.aclose()


@pytest.mark.parametrize("decode", [False, True])
async def test_clients_of_a_cluster_lend_their_nodes(cluster: Site, decode: bool) -> None:
    port = cluster.nodes[0].port
    with redis.RedisCluster(host="127.0.0.1", port=port, decode_responses=decode) as client:
        sync_address = address_of(client)
    async with AsyncRedisCluster(host="127.0.0.1", port=port, decode_responses=decode) as other:
        async_address = address_of(lambda: other)
    for left, address in enumerate((sync_address, async_address)):
        store, blocking = AsyncRedisStore(address, PATIENT), RedisStore(address, PATIENT)
        assert [(await store.call(CALLS[0]))[1], blocking.call(CALLS[0])[1]] == [9 - 2 * left, 8 - 2 * left]
        await store.aclose()
        blocking.close()


async def test_the_address_remap_of_a_client_is_used(cluster: Site, silent: int) -> None:
    """Nodes behind a NAT call themselves something that leads nowhere."""
    hidden = {node.port: node.port for node in cluster.nodes}
    asked: list[tuple[str, int]] = []

    def remap(place: tuple[str, int]) -> tuple[str, int]:
        asked.append(place)
        return place[0], hidden[place[1]]

    client = AsyncRedisCluster(host="127.0.0.1", port=cluster.nodes[0].port, address_remap=remap)
    store = AsyncRedisStore(address_of(client), PATIENT)
    await store.call(CALLS[0])
    assert {port for _, port in asked} == set(hidden)
    await store.aclose()
    await client.aclose()


# ------------------------------------------------------------------- it is broken
@pytest.fixture
def lonely() -> Iterator[Site]:
    """A node that serves half of the slots."""
    node = servers.start_redis("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf")
    sites.ask(node.port, "CLUSTER", "ADDSLOTS", *range(8192))
    site = Site([node])
    yield site
    site.stop()


def state(site: Site) -> str:
    return sites.fields(sites.ask(site.nodes[0].port, "CLUSTER", "INFO"))["cluster_state"]


LOW, HIGH = "{user1000}", "foo"
assert slot_of((LOW,)) < 8192 <= slot_of((HIGH,))


async def test_slots_nobody_serves_are_an_outage_of_these_slots(lonely: Site) -> None:
    sites.ask(lonely.nodes[0].port, "CONFIG", "SET", "cluster-require-full-coverage", "no")
    sites.until(lambda: state(lonely) == "ok", "half a cluster")
    reports: list[StoreError | None] = []
    store = AsyncRedisStore(address_of(lonely.url), PATIENT, report=reports.append)
    blocking = RedisStore(address_of(lonely.url), PATIENT)
    assert blocking.call(admit(0, Ask(LOW, 50, MINUTE)))[0] == 1
    assert (await store.call(admit(0, Ask(LOW, 50, MINUTE))))[0] == 1
    for _ in range(2):
        with pytest.raises(StoreError, match="serves slot"):
            await store.call(admit(0, Ask(HIGH, 5, MINUTE)))
        with pytest.raises(StoreError, match="serves slot"):
            blocking.call(admit(0, Ask(HIGH, 5, MINUTE)))
        assert (await store.call(admit(0, Ask(LOW, 50, MINUTE))))[0] == 1
        assert blocking.call(admit(0, Ask(LOW, 50, MINUTE)))[0] == 1
    assert [type(report) for report in reports] == [type(None), StoreError, type(None), StoreError, type(None)]
    sites.ask(lonely.nodes[0].port, "CLUSTER", "ADDSLOTS", *range(8192, 16384))
    while reports[-1] is not None:
        with suppress(StoreError):
            await store.call(admit(0, Ask(HIGH, 50, MINUTE)))
            assert blocking.call(admit(0, Ask(HIGH, 50, MINUTE)))[0] == 1
        await asyncio.sleep(0.05)
    await store.aclose()
    blocking.close()


async def test_a_cluster_that_is_down_is_a_store_error(lonely: Site) -> None:
    sites.until(lambda: state(lonely) == "fail", "a cluster that is down")
    reports: list[StoreError | None] = []
    store = AsyncRedisStore(address_of(lonely.url), PATIENT, report=reports.append)
    blocking = RedisStore(address_of(lonely.url), PATIENT)
    for _ in range(2):
        with pytest.raises(StoreError, match="cluster is down"):
            await store.call(admit(0, Ask(LOW, 5, MINUTE)))
        with pytest.raises(StoreError, match="cluster is down"):
            blocking.call(admit(0, Ask(LOW, 5, MINUTE)))
    assert [type(report) for report in reports] == [StoreRefused] * 2
    await store.aclose()
    blocking.close()
