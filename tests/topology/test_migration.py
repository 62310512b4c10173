"""Slots that move while they are used: calls follow, every admission counts once, and none is lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from lockwatch.errors import StoreError
from lockwatch.flow import Call
from lockwatch.stores.cluster import slot_of
from lockwatch.stores.connect import address_of
from lockwatch.stores.redis_async import AsyncRedisStore
from lockwatch.stores.redis_sync import RedisStore
from tests import servers
from tests.contract.bench import SECOND, Ask, admit
from tests.topology import sites
from tests.topology.sites import Site

HOUR = 3600 * SECOND
PATIENT = 5.0
KEYS = [f"{{moving}}:{i}" for i in range(40)]
SLOT = slot_of(("moving",)) or 0
QUOTA = 25


class Move:
    """The slot on its way from its node to another."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.source = sites.node_of(site, SLOT)
        self.target = next(node for node in site.nodes if node is not self.source)
        self._to = sites.ask(self.target.port, "CLUSTER", "MYID")
        self._from = sites.ask(self.source.port, "CLUSTER", "MYID")

    def begin(self) -> None:
        """Open the slot: new keys are made at its new node from now on."""
        sites.ask(self.target.port, "CLUSTER", "SETSLOT", SLOT, "IMPORTING", self._from)
        sites.ask(self.source.port, "CLUSTER", "SETSLOT", SLOT, "MIGRATING", self._to)

    def carry(self, key: str) -> None:
        """Take one key over."""
        sites.ask(self.source.port, "MIGRATE", "127.0.0.1", self.target.port, key, 0, 5000)

    def end(self) -> None:
        """Close the slot at its new node."""
        for node in (self.target, self.source, *self.site.nodes):
            sites.ask(node.port, "CLUSTER", "SETSLOT", SLOT, "NODE", self._to)


@pytest.fixture
def move(cluster: Site) -> Iterator[Move]:
    for node in cluster.nodes:
        sites.ask(node.port, "CONFIG", "RESETSTAT")
    yield Move(cluster)
    for node in cluster.nodes:
        sites.ask(node.port, "CLUSTER", "SETSLOT", SLOT, "STABLE")


def errors(node: servers.Proc, kind: str) -> int:
    """How often a node has answered with an error of this kind."""
    told = sites.ask(node.port, "INFO", "errorstats").get(f"errorstat_{kind}", "0")
    return int("".join(filter(str.isdigit, str(told))))  # as text or as a table, by release of redis-py


async def test_a_slot_that_moves_under_load_loses_no_admission_on_a_loop(move: Move) -> None:
    store = AsyncRedisStore(address_of(move.site.url), PATIENT)
    done = asyncio.Event()
    admitted = dict.fromkeys(KEYS, 0)

    async def load(turn: int) -> None:
        while not done.is_set():
            for key in KEYS[turn::4]:
                reply = await store.call(admit(0, Ask(key, QUOTA, HOUR)))
                admitted[key] += reply[0]
            await asyncio.sleep(0.001)

    tasks = [asyncio.ensure_future(load(i % 4)) for i in range(8)]
    await asyncio.sleep(0.02)
    await asyncio.to_thread(carry_over, move)
    await asyncio.sleep(0.1)
    done.set()
    await asyncio.gather(*tasks)
    for key in KEYS:
        while (await store.call(admit(0, Ask(key, QUOTA, HOUR))))[0]:
            admitted[key] += 1
    await store.aclose()
    assert_counted(move, admitted)


def test_a_slot_that_moves_under_load_loses_no_admission_in_blocking_code(move: Move) -> None:
    store = RedisStore(address_of(move.site.url), PATIENT)
    done = threading.Event()

    def load(turn: int) -> dict[str, int]:
        admitted = dict.fromkeys(KEYS[turn::4], 0)
        while not done.wait(0.001):
            for key in admitted:
                admitted[key] += store.call(admit(0, Ask(key, QUOTA, HOUR)))[0]
        return admitted

    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(load, i % 4) for i in range(8)]
        done.wait(0.02)
        carry_over(move)
        done.wait(0.1)
        done.set()
    admitted = {key: sum(future.result().get(key, 0) for future in futures) for key in KEYS}
    for key in KEYS:
        while store.call(admit(0, Ask(key, QUOTA, HOUR)))[0]:
            admitted[key] += 1
    store.close()
    assert_counted(move, admitted)


def carry_over(move: Move) -> None:
    """Take the slot over, key by key; some keys are made on the way, by ASK."""
    move.begin()
    pause = threading.Event()
    for key in sorted(KEYS):
        move.carry(key)
        pause.wait(0.002)
    pause.wait(0.05)
    for key in KEYS:
        move.carry(key)
    move.end()


def assert_counted(move: Move, admitted: dict[str, int]) -> None:
    """Every bucket has given out its quota, and both kinds of redirection have happened."""
    assert admitted == dict.fromkeys(KEYS, QUOTA)
    assert errors(move.source, "ASK")
    assert errors(move.source, "MOVED")
    assert sites.ask(move.target.port, "CLUSTER", "COUNTKEYSINSLOT", SLOT) == len(KEYS)


# ------------------------------------------------------------ one redirection each
Calling = Callable[[Call], Awaitable[int]]


@pytest.fixture(params=["redis", "redis-async"])
def remaining(request: pytest.FixtureRequest, cluster: Site) -> Iterator[Calling]:
    """What a call leaves of its quota."""
    store, blocking = AsyncRedisStore(address_of(cluster.url), PATIENT), RedisStore(address_of(cluster.url), PATIENT)

    async def ask(call: Call) -> int:
        return (blocking.call(call) if request.param == "redis" else await store.call(call))[1]

    yield ask
    blocking.close()


def one(key: str) -> Call:
    return admit(0, Ask(key, QUOTA, HOUR))


async def test_a_bucket_made_while_its_slot_moves_is_made_at_the_new_node(move: Move, remaining: Calling) -> None:
    assert await remaining(one(KEYS[0])) == QUOTA - 1
    move.begin()
    assert await remaining(one(KEYS[0])) == QUOTA - 2  # still at the old node
    assert [await remaining(one(KEYS[1])) for _ in range(2)] == [QUOTA - 1, QUOTA - 2]
    assert errors(move.source, "ASK") == 2
    assert sites.ask(move.target.port, "CLUSTER", "COUNTKEYSINSLOT", SLOT) == 1
    move.carry(KEYS[0])
    assert await remaining(one(KEYS[0])) == QUOTA - 3
    move.end()
    assert [await remaining(one(key)) for key in KEYS[:2]] == [QUOTA - 4, QUOTA - 3]
    assert errors(move.source, "MOVED") == 1  # then the map is known


async def test_a_call_whose_buckets_are_at_two_nodes_is_an_outage_until_they_are_together(move: Move, remaining: Calling) -> None:
    both = admit(0, Ask(KEYS[0], QUOTA, HOUR), Ask(KEYS[1], QUOTA, HOUR))
    assert await remaining(both) == QUOTA - 1
    move.begin()
    move.carry(KEYS[0])
    with pytest.raises(StoreError, match=r"(?i)tryagain|multiple keys"):
        await remaining(both)
    move.carry(KEYS[1])
    assert await remaining(both) == QUOTA - 2
    move.end()
    assert await remaining(both) == QUOTA - 3


async def test_a_script_the_new_node_does_not_know_is_sent_whole(move: Move, remaining: Calling) -> None:
    assert await remaining(one(KEYS[0])) == QUOTA - 1
    move.begin()
    sites.ask(move.target.port, "SCRIPT", "FLUSH")
    assert await remaining(one(KEYS[1])) == QUOTA - 1
    move.end()
