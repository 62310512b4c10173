"""A check that travels alone has a script of its own. It says what the script of a batch says, and keeps the same bytes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from lockwatch.errors import CallFailed
from tests.contract.bench import SECOND, SHADOW, START, Ask, Bench, admit, make_store, verdicts

TURNS = st.lists(
    st.tuples(st.integers(0, 9 * SECOND), st.integers(0, 4), st.sampled_from([0, SHADOW]), st.sampled_from(["admit", "peek"])),
    min_size=1,
    max_size=30,
)


async def both(store: Any, turns: list[tuple[int, int, int, str]], quota: int) -> None:
    """Ask for one bucket alone, and for another with company; their answers have to be one."""
    now = START
    for step, cost, shadow, script in turns:
        now += step
        alone = await store.call(admit(now, Ask("alone", quota, 10 * SECOND, cost, shadow), script=script))
        company = admit(now, Ask("company", quota, 10 * SECOND, cost, shadow), script=script)
        beside, _ = await asyncio.gather(store.call(company), store.call(admit(now, Ask("else", 5, SECOND))))
        assert verdicts(alone) == verdicts(beside)


@settings(max_examples=25, deadline=None)
@given(turns=TURNS, quota=st.integers(1, 40))
def test_a_check_alone_says_what_it_says_in_company(redis_server: str, turns: list[tuple[int, int, int, str]], quota: int) -> None:
    async def run() -> None:
        store = make_store("redis-async", redis_server)
        await both(store, turns, quota)
        await store.aclose()  # type: ignore[union-attr]

    with redis.Redis.from_url(redis_server) as client:
        client.flushall()
        asyncio.run(run())
        assert client.dump("alone") == client.dump("company")
        assert (client.pttl("alone") > 0) == (client.pttl("company") > 0)


async def test_a_check_alone_of_a_key_that_is_not_ours_fails_alone(real: Bench) -> None:
    with redis.Redis.from_url(real.url) as client:
        client.lpush("alone", "not ours")
        client.expire("alone", 60)
        with pytest.raises(CallFailed):
            await real.call(admit(START, Ask("alone", 3, SECOND)))
        assert client.lrange("alone", 0, -1) == [b"not ours"]
        assert verdicts(await real.call(admit(START, Ask("other", 3, SECOND))))[0].allowed
