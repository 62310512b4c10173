"""Bursts: what is counted is the same in every store, and agrees with an oracle that remembers everything."""

from __future__ import annotations

import random

import pytest

from lockwatch.flow import Call
from tests.contract.bench import MILLISECOND, SECOND, Bench

TEN = 10 * SECOND
MINUTE = 60 * SECOND


async def burst(
    bench: Bench, threshold: int = 5, window: int = TEN, more: int = 1, claim: int = MINUTE, key: str = "b"
) -> tuple[int, ...]:
    keys = (f"{{{key}}}:ring", f"{{{key}}}:told")
    return tuple(await bench.call(Call("burst", keys, (bench.now, threshold, window, more, claim))))


async def test_it_is_a_burst_from_the_threshold_th_request_on(bench: Bench) -> None:
    assert [await burst(bench) for _ in range(7)] == [(0, n, 0) for n in (1, 2, 3, 4)] + [(1, 5, 1), (1, 6, 0), (1, 7, 0)]


async def test_the_window_slides_and_is_exact_to_the_microsecond(bench: Bench) -> None:
    for _ in range(4):
        await burst(bench)
        bench.now += SECOND
    bench.now += 6 * SECOND - 1
    assert (await burst(bench))[0] == 1
    bench.now += 2 * SECOND  # the first two are over
    assert (await burst(bench))[0] == 0


async def test_a_request_counts_until_the_window_is_over_and_no_longer(bench: Bench) -> None:
    await burst(bench, 2)
    bench.now += TEN
    assert (await burst(bench, 2))[0] == 0
    bench.now += TEN - 1
    assert (await burst(bench, 2))[0] == 1


async def test_a_threshold_of_one_is_always_reached(bench: Bench) -> None:
    assert await burst(bench, 1) == (1, 1, 1)
    assert (await burst(bench, 1))[0] == 1


async def test_only_one_is_to_tell_until_its_claim_is_over(bench: Bench) -> None:
    told = [(await burst(bench, 1, claim=MINUTE))[2] for _ in range(3)]
    assert told == [1, 0, 0]
    assert (await burst(bench, 1, key="other"))[2] == 1
    assert (await burst(bench, 1, claim=0, key="silent"))[2] == 0


async def test_what_was_told_is_not_told_again(bench: Bench) -> None:
    await bench.call(Call("told", ("{b}:told",), (bench.now, MINUTE)))
    assert (await burst(bench, 1))[2] == 0


@pytest.mark.parametrize("more", [1, 3, 4, 5, 6, 40])
async def test_requests_that_come_together_count_as_many(bench: Bench, more: int) -> None:
    assert (await burst(bench, 5, more=more))[:2] == (int(more >= 5), more)
    bench.now += SECOND
    assert (await burst(bench, 5))[0] == int(more >= 4)


async def test_the_count_above_the_threshold_is_about_right(bench: Bench) -> None:
    found: tuple[int, ...] = ()
    for _ in range(400):
        found = await burst(bench, 5)
        bench.now += 100 * MILLISECOND
    assert found[0] == 1
    assert 95 <= found[1] <= 105


async def test_a_clock_that_steps_back_stands_still(bench: Bench) -> None:
    for _ in range(4):
        await burst(bench)
    bench.now -= 5 * SECOND
    assert (await burst(bench))[0] == 1
    bench.now -= 100 * SECOND
    assert (await burst(bench))[0] == 0


@pytest.mark.parametrize("seed", range(4))
async def test_it_agrees_with_who_remembers_everything(bench: Bench, seed: int) -> None:
    dice, seen = random.Random(seed), []
    threshold, window = dice.randint(2, 9), TEN
    for _ in range(120):
        bench.now += int(dice.expovariate(threshold / window))
        more = dice.choice([1, 1, 1, 1, 2, 3])
        seen += [bench.now] * more
        reached, _, _ = await burst(bench, threshold, window, more)
        inside = sum(stamp > bench.now - window for stamp in seen)
        assert reached == int(inside >= threshold), (inside, threshold)


async def test_the_clock_of_the_store_counts_when_none_is_given(bench: Bench) -> None:
    bench.now = 0
    assert [(await burst(bench, 3))[0] for _ in range(4)] == [0, 0, 1, 1]
