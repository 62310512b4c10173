"""Many at once, on one bucket: tasks, threads, processes, forks and event loops."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from lockwatch.stores.connect import address_of
from lockwatch.stores.memory import MemoryStore
from lockwatch.stores.redis_async import AsyncRedisStore
from lockwatch.stores.redis_sync import RedisStore
from tests.contract.bench import PATIENT, SECOND, Ask, admit

HOUR = 3600 * SECOND
QUOTA = 100


def hit(key: str = "k", quota: int = QUOTA, cost: int = 1) -> Any:
    """A call at the clock of the store."""
    return admit(0, Ask(key, quota, HOUR, cost))


def clients_of(url: str) -> set[str]:
    """The connections a server has, but for the one that asks."""
    with redis.Redis.from_url(url) as client:
        own = str(client.client_id())
        return {str(found["id"]) for found in client.client_list()} - {own}


def settled(url: str, before: set[str]) -> set[str]:
    """The connections that are left of those made since `before`, when the server has noticed."""
    until = time.monotonic() + 20
    while (left := clients_of(url) - before) and time.monotonic() < until:
        time.sleep(0.01)
    return left


# ----------------------------------------------------------------------- tasks
async def test_a_thousand_tasks_get_exactly_the_quota(redis_server: str) -> None:
    store = AsyncRedisStore(address_of(redis_server), PATIENT)
    found = await asyncio.gather(*[store.call(hit()) for _ in range(1000)])
    assert sum(reply[0] for reply in found) == QUOTA
    assert sorted(reply[1] for reply in found if reply[0]) == list(range(QUOTA))
    await store.aclose()


async def test_tasks_that_come_and_go_get_exactly_the_quota(redis_server: str) -> None:
    store = AsyncRedisStore(address_of(redis_server), PATIENT)

    async def visitor(i: int) -> int:
        admitted = 0
        for n in range(20):
            await asyncio.sleep(0 if (i + n) % 3 else 0.0005)
            admitted += (await store.call(hit()))[0]
        return admitted

    assert sum(await asyncio.gather(*[visitor(i) for i in range(50)])) == QUOTA
    await store.aclose()


async def test_every_task_gets_the_answer_to_its_own_call(redis_server: str) -> None:
    store = AsyncRedisStore(address_of(redis_server), PATIENT)
    found = await asyncio.gather(*[store.call(hit(f"k{i}", 1000 + i, i % 7)) for i in range(900)])
    assert [reply[1] for reply in found] == [1000 + i - i % 7 for i in range(900)]
    await store.aclose()


@pytest.mark.parametrize(("calls", "scripts"), [(1, 1), (50, 1), (64, 1), (65, 2), (200, 4)])
async def test_what_is_asked_in_one_tick_travels_together(redis_server: str, calls: int, scripts: int) -> None:
    store = AsyncRedisStore(address_of(redis_server), PATIENT)
    await store.call(hit("warm"))
    with redis.Redis.from_url(redis_server) as client:
        client.config_resetstat()
        await asyncio.gather(*[store.call(hit()) for _ in range(calls)])
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] == scripts
    await store.aclose()


async def test_tasks_need_no_more_connections_than_lanes(redis_server: str) -> None:
    before = clients_of(redis_server)
    store = AsyncRedisStore(address_of(redis_server), PATIENT, lanes=3)
    await asyncio.gather(*[store.call(hit()) for _ in range(2000)])
    assert len(clients_of(redis_server) - before) <= 3
    await store.aclose()
    assert await asyncio.to_thread(settled, redis_server, before) == set()


# --------------------------------------------------------------------- threads
def race(work: Callable[[], int], runners: int) -> int:
    """Run `work` in so many threads that start together; what they admitted."""
    gate = threading.Barrier(runners)

    def run() -> int:
        gate.wait(60)
        return work()

    with ThreadPoolExecutor(runners) as pool:
        return sum(future.result() for future in [pool.submit(run) for _ in range(runners)])


def test_threads_get_exactly_the_quota_from_memory() -> None:
    store = MemoryStore()
    assert race(lambda: sum(store.call(hit())[0] for _ in range(200)), 32) == QUOTA


def test_threads_get_exactly_the_quota_of_every_bucket_from_memory() -> None:
    store = MemoryStore()
    asks = [Ask("a", 100, HOUR), Ask("b", 150, HOUR), Ask("c", 120, HOUR)]
    assert race(lambda: sum(all(store.call(admit(0, *asks))[::6]) for _ in range(50)), 32) == 100
    assert store.call(admit(0, *asks, script="peek"))[1::6] == [0, 50, 20]


@pytest.mark.parametrize("connections", [1, 8, 32])
def test_threads_get_exactly_the_quota_from_redis(redis_server: str, connections: int) -> None:
    before = clients_of(redis_server)
    store = RedisStore(address_of(redis_server), PATIENT, connections)
    assert race(lambda: sum(store.call(hit())[0] for _ in range(20)), 32) == QUOTA
    assert len(clients_of(redis_server) - before) <= connections
    store.close()
    assert settled(redis_server, before) == set()


def test_every_thread_gets_the_answer_to_its_own_call(redis_server: str) -> None:
    store = RedisStore(address_of(redis_server), PATIENT, 8)
    taken = iter(range(100))

    def work() -> int:
        mine = next(taken)
        return sum(store.call(hit(f"k{mine}", 1000 + mine))[1] == 999 + mine - n for n in range(20))

    assert race(work, 16) == 16 * 20
    store.close()


def test_loops_in_several_threads_share_a_store(redis_server: str) -> None:
    store = AsyncRedisStore(address_of(redis_server), PATIENT)

    async def visit() -> int:
        found = await asyncio.gather(*[store.call(hit()) for _ in range(60)])
        await store.aclose()
        return sum(reply[0] for reply in found)

    assert race(lambda: asyncio.run(visit()), 4) == QUOTA


# ------------------------------------------------------------------- processes
def run_python(script: str, *arguments: str) -> None:
    """Run a script in a process of its own, in which every warning is an error."""
    command = [sys.executable, "-W", "error", "-c", script, *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=110)
    assert (done.returncode, done.stderr) == (0, "")


PROCESSES = """
import asyncio, os, sys
from lockwatch.stores.connect import address_of
from lockwatch.stores.redis_async import AsyncRedisStore
from lockwatch.stores.redis_sync import RedisStore
from tests.contract.bench import Ask, admit

address = address_of(sys.argv[1])
call = admit(0, Ask("k", 100, 3_600_000_000))
gate, results = os.pipe(), os.pipe()

def visit(i):
    if i % 2:
        store = RedisStore(address, 10.0)
        return sum(store.call(call)[0] for _ in range(150))
    store = AsyncRedisStore(address, 10.0)
    async def run():
        return sum([(await store.call(call))[0] for _ in range(150)])
    return asyncio.run(run())

children = []
for i in range(8):
    children.append(os.fork())
    if children[-1] == 0:
        code = 1
        try:
            os.close(gate[1])
            os.read(gate[0], 1)
            os.write(results[1], b"%d\\n" % visit(i))
            code = 0
        finally:
            os._exit(code)
os.close(gate[1])
assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 8
found = [int(line) for line in os.read(results[0], 1000).split()]
assert len(found) == 8 and sum(found) == 100, found
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_processes_get_exactly_the_quota(redis_server: str) -> None:
    run_python(PROCESSES, redis_server)


# ----------------------------------------------------------------------- forks
FORK = """
import os, sys, redis
from lockwatch.stores.connect import address_of
from lockwatch.stores.redis_sync import RedisStore
from tests.contract.bench import Ask, admit

url = sys.argv[1]
store = RedisStore(address_of(url), 10.0)
ask = lambda key: store.call(admit(0, Ask(key, 10_000, 3_600_000_000)))[1]
assert ask("parent") == 9_999
client = redis.Redis.from_url(url)
before = len(client.client_list())
told, asked = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    code = 1
    try:
        seen = [ask("child") for _ in range(300)]
        code = 0 if seen == list(range(9_999, 9_699, -1)) else 2
        os.write(told[1], b"x")
        os.read(asked[0], 1)
    finally:
        os._exit(code)
seen = [ask("parent") for _ in range(300)]
assert seen == list(range(9_998, 9_698, -1)), seen
os.read(told[0], 1)
assert len(client.client_list()) == before + 1, "the child has a connection of its own"
os.write(asked[1], b"x")
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert ask("parent") == 9_698
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_forked_child_has_connections_of_its_own(redis_server: str) -> None:
    run_python(FORK, redis_server)


# ----------------------------------------------------------------- event loops
LOOPS = """
import asyncio, gc, sys
from lockwatch.stores.connect import address_of
from lockwatch.stores.redis_async import AsyncRedisStore
from tests.contract.bench import Ask, admit

store = AsyncRedisStore(address_of(sys.argv[1]), 10.0)
close = sys.argv[2] == "close"

async def visit(first):
    found = await asyncio.gather(*[store.call(admit(0, Ask("k", 1000, 3_600_000_000))) for _ in range(100)])
    assert sorted(reply[1] for reply in found) == list(range(first - 99, first + 1))
    if close:
        await store.aclose()

for round in range(4):
    asyncio.run(visit(999 - 100 * round))
    gc.collect()
"""


@pytest.mark.parametrize("close", ["close", "leave"])
def test_one_loop_after_another_uses_a_store_without_a_warning(redis_server: str, close: str) -> None:
    run_python(LOOPS, redis_server, close)


@pytest.mark.parametrize("close", [True, False])
def test_a_loop_that_ends_takes_its_connections_with_it(redis_server: str, close: bool) -> None:
    store = AsyncRedisStore(address_of(redis_server), PATIENT)
    before = clients_of(redis_server)

    async def visit() -> None:
        await asyncio.gather(*[store.call(hit()) for _ in range(300)])
        assert clients_of(redis_server) - before
        if close:
            await store.aclose()

    for _ in range(3):
        asyncio.run(visit())
        gc.collect()
        assert settled(redis_server, before) == set()


def test_a_loop_that_ends_in_the_middle_of_calls_leaves_nothing_behind(redis_server: str) -> None:
    store = AsyncRedisStore(address_of(redis_server), PATIENT)
    before = clients_of(redis_server)

    async def leave() -> None:
        waiting = [asyncio.ensure_future(store.call(hit())) for _ in range(300)]
        await asyncio.sleep(0)
        assert not any(w.done() for w in waiting)

    for _ in range(3):
        asyncio.run(leave())
        gc.collect()
    assert settled(redis_server, before) == set()


async def test_a_closed_store_opens_again(redis_server: str) -> None:
    store = AsyncRedisStore(address_of(redis_server), PATIENT)
    await store.aclose()
    for i in range(3):
        assert (await store.call(hit()))[1] == QUOTA - 1 - i
        await store.aclose()
    await store.aclose()


def test_a_closed_blocking_store_opens_again(redis_server: str) -> None:
    store = RedisStore(address_of(redis_server), PATIENT)
    store.close()
    for i in range(3):
        assert store.call(hit())[1] == QUOTA - 1 - i
        store.close()
    store.close()
