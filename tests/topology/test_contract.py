"""The contract of a store, on a cluster and on a master under Sentinel, in both colours."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import redis

from lockwatch.flow import Call, Reply
from tests.contract.bench import SECOND, Ask, Bench, admit, verdicts
from tests.topology import sites
from tests.topology.sites import Site

MINUTE = 60 * SECOND
WAYS = [(site, colour) for site in ("cluster", "sentinels") for colour in ("redis", "redis-async")]


@pytest.fixture(params=WAYS, ids="-".join)
def way(request: pytest.FixtureRequest) -> tuple[Site, str]:
    name, colour = request.param
    return request.getfixturevalue(name), colour


@pytest.fixture
async def bench(way: tuple[Site, str]) -> AsyncIterator[Bench]:
    site, colour = way
    bench = Bench(colour, site.url)
    bench.now = 0
    yield bench
    await bench.close()


async def at_once(bench: Bench, calls: list[Call]) -> list[Reply]:
    """Calls made together, by tasks or by threads."""
    if "async" in bench.kind:
        return list(await asyncio.gather(*[bench.store.call(call) for call in calls]))
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(bench.store.call, calls))


async def test_many_calls_at_once_share_one_quota(bench: Bench) -> None:
    found = await at_once(bench, [admit(0, Ask("k", 50, MINUTE)) for _ in range(400)])
    assert sum(reply[0] == 1 for reply in found) == 50


async def test_buckets_of_many_subjects_are_kept_apart(bench: Bench) -> None:
    calls = [admit(0, Ask(f"{{{i % 100}}}:a", 3, MINUTE), Ask(f"{{{i % 100}}}:b", 10, MINUTE)) for i in range(500)]
    found = await at_once(bench, calls)
    assert [sum(found[i][0] == 1 for i in range(subject, 500, 100)) for subject in range(100)] == [3] * 100
    for subject in range(100):
        a, b = await bench.peek_all(Ask(f"{{{subject}}}:a", 3, MINUTE), Ask(f"{{{subject}}}:b", 10, MINUTE))
        assert (a.remaining, b.remaining) == (0, 7)


async def test_every_answer_goes_to_the_call_it_belongs_to(bench: Bench) -> None:
    calls = [admit(0, Ask(f"k{i}", 1000 + i, MINUTE)) for i in range(300)]
    assert [reply[1] for reply in await at_once(bench, calls)] == [999 + i for i in range(300)]


async def test_all_limits_of_a_subject_are_charged_or_none(bench: Bench) -> None:
    tight, wide = Ask("{s}:tight", 2, MINUTE), Ask("{s}:wide", 5, MINUTE)
    assert [[v.allowed for v in await bench.take_all(wide, tight)] for _ in range(4)] == [[1, 1], [1, 1], [1, 0], [1, 0]]
    assert [v.remaining for v in await bench.peek_all(wide, tight)] == [3, 0]


async def test_a_reset_forgets_and_a_peek_changes_nothing(bench: Bench) -> None:
    await bench.take_all(Ask("{s}:a", 5, MINUTE), Ask("{s}:b", 5, MINUTE))
    assert [v.remaining for v in await bench.peek_all(Ask("{s}:a", 5, MINUTE), Ask("{s}:b", 5, MINUTE))] == [4, 4]
    assert await bench.reset("{s}:a", "{s}:b", "{s}:c") == 2
    assert [v.remaining for v in await bench.peek_all(Ask("{s}:a", 5, MINUTE), Ask("{s}:b", 5, MINUTE))] == [5, 5]


async def test_a_call_without_keys_is_answered_by_anybody(bench: Bench) -> None:
    assert [list(await bench.call(Call("peek", (), (0,)))) for _ in range(20)] == [[]] * 20


async def test_the_secret_of_a_namespace_is_shared(bench: Bench) -> None:
    found = await at_once(bench, [Call("secret", ("shop:1:secret",), (60_000, i, i + 1)) for i in range(20)])
    assert len({tuple(reply) for reply in found}) == 1


async def test_no_key_is_without_a_time_to_live(bench: Bench, way: tuple[Site, str]) -> None:
    await at_once(bench, [admit(0, Ask(f"{{{i}}}:a", 3, MINUTE), Ask(f"{{{i}}}:b", 9, MINUTE, 2)) for i in range(60)])
    await bench.call(Call("secret", ("shop:1:secret",), (60_000, 1, 2)))
    times = []
    for node in way[0].nodes:
        with sites.client(node.port) as client:
            times += [client.pttl(key) for key in client.scan_iter(count=1000)]
    assert len(times) == 121
    assert all(0 < time <= 60_000 for time in times)


async def test_a_key_of_another_type_fails_alone(bench: Bench, way: tuple[Site, str]) -> None:
    key = "theirs:{odd}"
    for node in way[0].nodes:
        with suppress(redis.ResponseError):  # of the nodes that do not serve its slot
            sites.ask(node.port, "HSET", key, "a", "b")
    found = await bench.outcomes([admit(0, Ask(name, 5, MINUTE)) for name in ("{odd}:fine", key, "other", "{odd}:fine")])
    assert [isinstance(outcome, Exception) for outcome in found] == [False, True, False, False]
    assert "WRONGTYPE" in str(found[1])


async def test_a_forgotten_script_is_sent_again(bench: Bench, way: tuple[Site, str]) -> None:
    for _ in range(2):
        for node in way[0].nodes:
            sites.ask(node.port, "SCRIPT", "FLUSH")
        found = await at_once(bench, [admit(0, Ask(f"k{i}", 5, MINUTE)) for i in range(64)])
        assert {verdicts(reply)[0].allowed for reply in found} == {1}


def test_a_forked_child_asks_for_itself(way: tuple[Site, str]) -> None:
    site, _ = way
    bench = Bench("redis", site.url)
    bench.store.call(admit(0, Ask("k", 5, MINUTE)))
    child = os.fork()
    if not child:
        status = 1
        try:
            status = 0 if bench.store.call(admit(0, Ask("k", 5, MINUTE)))[1] == 3 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert bench.store.call(admit(0, Ask("k", 5, MINUTE)))[1] == 2
    bench.store.close()
