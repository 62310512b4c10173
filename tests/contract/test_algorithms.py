"""Every algorithm over every kind of store: each reply written out."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
import redis

from lockwatch.flow import Call
from lockwatch.stores.memory import MemoryStore
from tests.contract.bench import (
    CONCURRENT,
    COUNTER,
    FIXED,
    FLAGS,
    GCRA,
    LOOSE,
    MILLISECOND,
    NAMES,
    SECOND,
    SET,
    SHADOW,
    START,
    WINDOW,
    Ask,
    Bench,
    Line,
    Verdict,
    admit,
    held_by,
)

TEN = 10 * SECOND
EVERY = pytest.mark.parametrize("algorithm", range(6), ids=NAMES)
RATES = pytest.mark.parametrize("algorithm", range(5), ids=NAMES[:5])
EXACT = pytest.mark.parametrize("algorithm", [WINDOW, SET], ids=["sliding-window", "sorted-set"])


def ask(algorithm: int, quota: int = 5, span: int = TEN, cost: int = 1, *, key: str = "k", flags: int = 0, **given: Any) -> Ask:
    """One bucket of an algorithm; a token bucket holds its quota unless told otherwise."""
    return Ask(key, quota, span, cost, 0, algorithm * FLAGS + flags, given.get("burst", quota if algorithm == GCRA else 0))


# ------------------------------------------------------------------ what all share
@EVERY
async def test_exactly_the_quota_is_admitted_at_one_clock_reading(bench: Bench, algorithm: int) -> None:
    found = [await bench.ask(ask(algorithm)) for _ in range(8)]
    assert [v.allowed == 1 for v in found] == [True] * 5 + [False] * 3
    assert [v.remaining for v in found] == [4, 3, 2, 1, 0, 0, 0, 0]


@EVERY
async def test_a_refusal_is_firm_only_where_time_alone_decides(bench: Bench, algorithm: int) -> None:
    for _ in range(5):
        await bench.ask(ask(algorithm))
    assert (await bench.ask(ask(algorithm))).allowed == (0 if algorithm in {WINDOW, GCRA, FIXED} else 2)


@pytest.mark.parametrize("algorithm", [WINDOW, GCRA, FIXED], ids=["sliding-window", "gcra", "fixed-window"])
async def test_a_refusal_is_not_firm_once_a_charge_may_be_given_back(bench: Bench, algorithm: int) -> None:
    first = await bench.ask(ask(algorithm, flags=LOOSE))
    for _ in range(4):
        await bench.ask(ask(algorithm))
    assert (await bench.ask(ask(algorithm))).allowed == 2
    await bench.settle(ask(algorithm), first.receipt, 0)
    assert [(await bench.ask(ask(algorithm))).allowed for _ in range(2)] == [1, 2]
    bench.now += 2 * TEN
    assert [(await bench.ask(ask(algorithm))).allowed for _ in range(6)] == [1] * 5 + [0]


@RATES
async def test_a_cost_above_the_quota_is_never_admitted(bench: Bench, algorithm: int) -> None:
    assert await bench.ask(ask(algorithm, cost=6)) == Verdict(0, 5, -1, 0, 0, 0)
    assert (await bench.ask(ask(algorithm, cost=5)))[:2] == (1, 0)


@EVERY
async def test_a_quota_of_nothing_admits_nothing(bench: Bench, algorithm: int) -> None:
    assert await bench.ask(ask(algorithm, 0)) == Verdict(0, 0, -1, 0, 0, 0)
    assert await bench.ask(ask(algorithm, 0, cost=0)) == Verdict(1, 0, 0, 0, 0, 0)


@EVERY
async def test_a_cost_of_nothing_is_a_look(bench: Bench, algorithm: int) -> None:
    assert await bench.ask(ask(algorithm, cost=0)) == Verdict(1, 5, 0, 0, 0, 0)
    for _ in range(5):
        await bench.ask(ask(algorithm))
    seen = await bench.ask(ask(algorithm, cost=0))
    assert (seen.allowed, seen.remaining, seen.retry, seen.receipt) == (1, 0, 0, 0)
    assert await bench.ask(ask(algorithm, cost=0)) == seen


@EVERY
async def test_a_refusal_and_a_peek_change_nothing(bench: Bench, algorithm: int) -> None:
    for _ in range(5):
        await bench.ask(ask(algorithm))
    (seen,) = await bench.peek_all(ask(algorithm))
    for _ in range(20):
        assert await bench.ask(ask(algorithm)) == seen
    assert await bench.peek_all(ask(algorithm)) == [seen]


@EVERY
async def test_one_that_refuses_leaves_the_others_untouched(bench: Bench, algorithm: int) -> None:
    full, free = ask(algorithm, 1, key="full"), [ask(a, key=f"free{a}") for a in range(6)]
    await bench.ask(full)
    before = await bench.peek_all(*free)
    found = await bench.take_all(*free[:3], full, *free[3:])
    assert [v.allowed == 1 for v in found] == [True] * 3 + [False] + [True] * 3
    assert [*found[:3], *found[4:]] == before == await bench.peek_all(*free)


async def test_all_algorithms_are_charged_in_one_call(bench: Bench) -> None:
    found = await bench.take_all(*[ask(a, key=f"k{a}") for a in range(6)])
    assert [(v.allowed, v.remaining) for v in found] == [(1, 4)] * 6


@EVERY
async def test_buckets_never_affect_each_other(bench: Bench, algorithm: int) -> None:
    together, alone = [], []
    for i in range(30):
        bench.now = START + i * 900_001
        together.append(await bench.ask(ask(algorithm, key="a", cost=1 + i % 3, flags=LOOSE * (i % 2))))
        for key in ("b", "c"):
            await bench.ask(ask(algorithm, key=key, cost=1 + i % 2))
    for i in range(30):
        bench.now = START + i * 900_001
        alone.append(await bench.ask(ask(algorithm, key="d", cost=1 + i % 3, flags=LOOSE * (i % 2))))
    assert together == alone


@EVERY
async def test_a_shadow_reports_and_refuses_nobody(bench: Bench, algorithm: int) -> None:
    shadow, strict = ask(algorithm, 1, key="shadow", flags=SHADOW), ask(algorithm, 3, key="strict")
    found = [await bench.take_all(shadow, strict) for _ in range(4)]
    assert [[v.allowed == 1 for v in pair] for pair in found] == [[True, True], [False, True], [False, True], [False, False]]


@EVERY
async def test_a_reset_bucket_is_as_new(bench: Bench, algorithm: int) -> None:
    for _ in range(5):
        await bench.ask(ask(algorithm))
    assert await bench.reset("k") == 1
    assert await bench.reset("k") == 0
    assert (await bench.ask(ask(algorithm))).remaining == 4


@RATES
async def test_a_clock_set_back_frees_nothing(bench: Bench, algorithm: int) -> None:
    for back in (1, TEN - 1, TEN, TEN + 1, 3600 * SECOND):
        bench.now = START
        await bench.reset("k")
        await bench.ask(ask(algorithm, cost=5))
        bench.now -= back
        assert (await bench.ask(ask(algorithm))).allowed != 1
        bench.now += 2 * TEN + min(back, TEN)
        assert (await bench.ask(ask(algorithm))).allowed == 1


@RATES
async def test_a_limit_may_be_lowered_and_raised(bench: Bench, algorithm: int) -> None:
    await bench.ask(ask(algorithm, 10, cost=6))
    assert (await bench.ask(ask(algorithm, 5))).allowed != 1
    found = await bench.ask(ask(algorithm, 10, cost=4))
    assert (found.allowed, found.remaining) == (1, 0)
    assert (await bench.ask(ask(algorithm, 20))).remaining >= 9


# ------------------------------------------------------------------- sorted-set
async def test_a_sorted_set_gives_every_charge_a_stamp_of_its_own(bench: Bench) -> None:
    assert await bench.ask(ask(SET)) == Verdict(1, 4, 0, TEN, TEN, 0)
    assert await bench.ask(ask(SET, cost=2)) == Verdict(1, 2, 0, TEN + 1, TEN, 0)
    bench.now += 4 * SECOND
    assert await bench.ask(ask(SET, cost=3)) == Verdict(2, 2, 6 * SECOND, 6 * SECOND + 1, 6 * SECOND, 0)
    assert await bench.ask(ask(SET, cost=4)) == Verdict(2, 2, 6 * SECOND + 1, 6 * SECOND + 1, 6 * SECOND, 0)
    bench.now += 6 * SECOND
    assert await bench.ask(ask(SET, cost=3)) == Verdict(1, 0, 0, TEN, 1, 0)


async def test_entries_lists_what_counts_newest_first(bench: Bench) -> None:
    for cost in (1, 2, 1):
        await bench.ask(ask(SET, cost=cost))
        bench.now += 4 * SECOND
    assert (
        list(await bench.call(Call("entries", ("k",), (bench.now - 1, TEN, 10)))) == [START + 8 * SECOND] + [START + 4 * SECOND] * 2
    )
    assert list(await bench.call(Call("entries", ("k",), (bench.now, TEN, 2)))) == [START + 8 * SECOND, START + 4 * SECOND]
    assert list(await bench.call(Call("entries", ("nobody",), (bench.now, TEN, 2)))) == []


async def test_a_sorted_set_stores_a_member_for_each_unit_and_no_refusal(real: Bench) -> None:
    for cost in (1, 2, 9, 1):
        await real.ask(ask(SET, cost=cost))
    with redis.Redis.from_url(real.url, decode_responses=True) as client:
        found = client.zrange("k", 0, -1, withscores=True)
    assert found == [
        (f"{START}:0", START),
        (f"{START + 1}:0", START + 1),
        (f"{START + 1}:1", START + 1),
        (f"{START + 2}:0", START + 2),
    ]


async def test_a_large_cost_in_a_sorted_set(bench: Bench) -> None:
    assert await bench.ask(ask(SET, 3000, cost=2500)) == Verdict(1, 500, 0, TEN, TEN, 0)
    found = await bench.ask(ask(SET, 3000, cost=500, flags=LOOSE))
    assert await bench.settle(ask(SET, 3000, cost=500), found.receipt, 100) == -400
    assert (await bench.ask(ask(SET, 3000, cost=401)))[:2] == (2, 400)


# -------------------------------------------------------------- sliding-counter
async def test_a_sliding_counter_weighs_the_window_before(bench: Bench) -> None:
    assert START % TEN == 0
    bench.now += 5 * SECOND
    assert await bench.ask(ask(COUNTER, 10, cost=10)) == Verdict(1, 0, 0, 15 * SECOND, 6 * SECOND, 0)
    assert await bench.ask(ask(COUNTER, 10)) == Verdict(2, 0, 6 * SECOND, 15 * SECOND, 6 * SECOND, 0)
    bench.now = START + 16 * SECOND
    assert await bench.ask(ask(COUNTER, 10)) == Verdict(1, 5, 0, 14 * SECOND, SECOND, 0)
    assert await bench.ask(ask(COUNTER, 10, cost=6)) == Verdict(2, 5, SECOND, 14 * SECOND, SECOND, 0)
    bench.now += SECOND
    assert await bench.ask(ask(COUNTER, 10, cost=6)) == Verdict(1, 0, 0, 13 * SECOND, SECOND, 0)


async def test_a_sliding_counter_forgets_after_two_windows(bench: Bench) -> None:
    await bench.ask(ask(COUNTER, cost=5))
    bench.now = START + 2 * TEN - 1
    assert await bench.ask(ask(COUNTER, cost=5)) == Verdict(2, 4, 1, 1, 1, 0)
    bench.now += 1
    assert (await bench.ask(ask(COUNTER, cost=5)))[:2] == (1, 0)


async def test_a_sliding_counter_may_admit_twice_its_quota_in_a_window_that_is_not_its_own(bench: Bench) -> None:
    """What its name does not say: the docs have the measurement."""
    bench.now = START + TEN - 1
    await bench.ask(ask(COUNTER, 100, cost=100))
    admitted = 0
    for _ in range(100):
        bench.now += SECOND // 10
        admitted += (await bench.ask(ask(COUNTER, 100))).allowed == 1
    assert admitted == 100 - 1


async def test_waiting_as_a_sliding_counter_tells_is_enough_across_windows(bench: Bench) -> None:
    for cost in (3, 4, 2, 5, 1, 7, 10, 6, 10, 10):
        found = await bench.ask(ask(COUNTER, 10, 7 * SECOND, cost))
        if found.allowed != 1:
            bench.now += found.retry
            assert (await bench.ask(ask(COUNTER, 10, 7 * SECOND, cost))).allowed == 1
        bench.now += 1_234_567


# ----------------------------------------------------------------- fixed-window
async def test_a_fixed_window_starts_with_its_first_admission(bench: Bench) -> None:
    bench.now += 3 * SECOND
    assert await bench.ask(ask(FIXED, cost=2)) == Verdict(1, 3, 0, TEN, TEN, 0)
    bench.now += 4 * SECOND
    assert await bench.ask(ask(FIXED, cost=3)) == Verdict(1, 0, 0, 6 * SECOND, 6 * SECOND, 0)
    assert await bench.ask(ask(FIXED)) == Verdict(0, 0, 6 * SECOND, 6 * SECOND, 6 * SECOND, 0)
    bench.now += 6 * SECOND - 1
    assert await bench.ask(ask(FIXED)) == Verdict(0, 0, 1, 1, 1, 0)
    bench.now += 1
    assert await bench.ask(ask(FIXED, cost=5)) == Verdict(1, 0, 0, TEN, TEN, 0)


# ------------------------------------------------------------------------- gcra
VECTORS = [
    # milliseconds, volume, then limited, remaining, reset, retry: redis-cell, 5 at once and 1 a second
    (0, 6, 1, 5, 0, None),
    (0, 1, 0, 4, 1000, 0),
    (0, 1, 0, 3, 2000, 0),
    (0, 1, 0, 2, 3000, 0),
    (0, 1, 0, 1, 4000, 0),
    (0, 1, 0, 0, 5000, 0),
    (0, 1, 1, 0, 5000, 1000),
    (3000, 1, 0, 2, 3000, 0),
    (3100, 1, 0, 1, 3900, 0),
    (4000, 1, 0, 1, 4000, 0),
    (8000, 1, 0, 4, 1000, 0),
    (9500, 1, 0, 4, 1000, 0),
    (9500, 0, 0, 4, 1000, 0),
    (9500, 2, 0, 2, 3000, 0),
    (9500, 5, 1, 2, 3000, 3000),
]


async def test_the_vectors_of_redis_cell(bench: Bench) -> None:
    for after, volume, limited, remaining, reset, retry in VECTORS:
        bench.now = START + after * MILLISECOND
        found = await bench.ask(ask(GCRA, 1, SECOND, volume, burst=5))
        wait = -1 if retry is None else retry * MILLISECOND
        assert found[:4] == (1 - limited, remaining, wait, reset * MILLISECOND)


async def test_a_token_bucket_refills_while_nobody_looks_and_while_somebody_does(bench: Bench) -> None:
    assert await bench.ask(ask(GCRA, 1, 2 * SECOND, burst=1)) == Verdict(1, 0, 0, 2 * SECOND, 2 * SECOND, 0)
    admitted = []
    for _ in range(8):
        bench.now += SECOND
        admitted.append((await bench.ask(ask(GCRA, 1, 2 * SECOND, burst=1))).allowed)
    assert admitted == [0, 1] * 4


async def test_a_burst_smaller_than_the_quota_still_limits(real: Bench) -> None:
    real.now = 0
    found = [await real.ask(ask(GCRA, 100, SECOND, burst=1, key="small")) for _ in range(3)]
    assert found[0].allowed == 1
    with redis.Redis.from_url(real.url) as client:
        assert -2 <= client.pttl("small") <= 11
        assert client.pttl("small") != -1
    assert await real.ask(ask(GCRA, 1, 3600 * SECOND, burst=1)) == Verdict(1, 0, 0, 3600 * SECOND, 3600 * SECOND, 0)
    with redis.Redis.from_url(real.url) as client:
        assert 0 < client.pttl("k") <= 3_600_000


async def test_a_limit_changed_in_a_token_bucket_keeps_what_is_missing(bench: Bench) -> None:
    await bench.ask(ask(GCRA, 10, TEN, 6, burst=10))
    assert await bench.ask(ask(GCRA, 5, TEN, 0, burst=10)) == Verdict(1, 4, 0, 12 * SECOND, 2 * SECOND, 0)
    bench.now += 2 * SECOND
    assert (await bench.ask(ask(GCRA, 5, TEN, 0, burst=10))).remaining == 5


@pytest.mark.parametrize(("quota", "span"), [(1000, 7 * SECOND), (7, 1000 * SECOND), (999_983, 1_000_003)])
def test_a_million_fractions_lose_nothing(quota: int, span: int) -> None:
    """Tokens that take no whole number of microseconds: after each step exactly what a rational number says is there."""
    store, now, missing = MemoryStore(), START, 0  # of a token, as many parts as the span has microseconds
    steps = (span // quota + 1, span // quota, 1, 3 * span // quota)
    for i in range(1_000_000 // 4):
        step = steps[i % 4]
        now += step
        missing = max(0, missing - step * quota)
        allowed = missing + span <= 5 * span
        missing += span * allowed
        found = store.call(Call("admit", ("k",), (now, GCRA * FLAGS, quota, span, 5, 1)))
        if i % 5000 == 0:
            assert found[:2] == (allowed, (5 * span - missing) // span)


def test_many_fractions_lose_nothing_on_a_server(redis_server: str) -> None:
    line, now, missing, rate = Line(redis_server), START, Fraction(0), Fraction(1000, 7 * SECOND)
    for _ in range(20):
        calls, expected = [], []
        for i in range(1000):
            pause = (7000, 6999, 1, 7001)[i % 4]
            now += pause
            missing = max(Fraction(0), missing - pause * rate)
            allowed = missing + 1 <= 5
            missing += allowed
            calls.append(admit(now, Ask("k", 1000, 7 * SECOND, 1, 0, GCRA * FLAGS, 5)))
            expected.append([int(allowed), int(5 - missing)])
        assert [list(reply)[:2] for reply in line.call(calls) if not isinstance(reply, Exception)] == expected
    line.close()


# ------------------------------------------------------------------- concurrent
async def test_leases_limit_what_is_in_flight(bench: Bench) -> None:
    lease = ask(CONCURRENT, 2, 30 * SECOND)
    first, second = await bench.ask(lease), await bench.ask(lease)
    assert first == Verdict(1, 1, 0, 30 * SECOND, SECOND, START)
    assert second == Verdict(1, 0, 0, 30 * SECOND, SECOND, START + 1)
    bench.now += SECOND
    assert await bench.ask(lease) == Verdict(2, 0, SECOND, 29 * SECOND, SECOND, 0)
    assert await bench.settle(lease, first.receipt, 1) == 0
    assert await bench.settle(lease, first.receipt, 0) == -1
    assert await bench.settle(lease, first.receipt, 0) == 0
    assert await bench.ask(lease) == Verdict(1, 0, 0, 30 * SECOND, SECOND, START + SECOND)


async def test_a_cost_counts_as_one_in_flight(bench: Bench) -> None:
    assert (await bench.ask(ask(CONCURRENT, 2, cost=7)))[:2] == (1, 1)


async def test_a_lease_of_a_killed_worker_lapses(bench: Bench) -> None:
    lease = ask(CONCURRENT, 1, 30 * SECOND)
    held = await bench.ask(lease)
    bench.now += 30 * SECOND - 1
    assert (await bench.ask(lease)).allowed == 2
    bench.now += 1
    assert (await bench.ask(lease)).allowed == 1
    assert await bench.settle(lease, held.receipt, 0) == 0


async def test_a_lease_is_renewed_while_it_is_there(bench: Bench) -> None:
    lease = ask(CONCURRENT, 1, 30 * SECOND)
    held = await bench.ask(lease)
    bench.now += 20 * SECOND
    assert list(await bench.call(Call("renew", ("k",), (bench.now, held.receipt, 1, 30 * SECOND)))) == [1]
    bench.now += 30 * SECOND - 1
    assert await bench.ask(lease) == Verdict(2, 0, SECOND, 1, SECOND, 0)
    bench.now += 1
    assert list(await bench.call(Call("renew", ("k",), (bench.now, held.receipt, 1, 30 * SECOND)))) == [0]
    assert (await bench.ask(lease)).allowed == 1


# -------------------------------------------------------------------------- TTL
@EVERY
@pytest.mark.parametrize("span", [200 * MILLISECOND, SECOND, 60 * SECOND, 86_400 * SECOND])
async def test_every_key_expires_and_none_outlives_two_windows(real: Bench, algorithm: int, span: int) -> None:
    real.now = 0
    with redis.Redis.from_url(real.url) as client:
        for cost, flags in ((1, 0), (2, LOOSE), (0, 0), (4, 4), (900, 0), (5000, 0), (1, 4)):
            given = ask(algorithm, 1000, span, cost, flags=flags)
            found = await real.ask(given)
            if found.receipt:
                await real.settle(given, found.receipt, cost + 1)
            for key in client.scan_iter():
                lease = 10_000 if key.decode() == held_by("k") else 0
                left = client.pttl(key)
                assert left != -1, f"{key!r} would stay for ever"
                assert left <= 2 * span // 1000 + lease


def test_a_share_of_a_limit_is_exact_in_memory_however_fine_it_is() -> None:
    """A seventh of 1,000,000 a month has no common divisor with a month: units that no double could count."""
    store, month = MemoryStore(), 30 * 86_400 * SECOND
    share = Ask("k", 142_857, month, 142_857, 0, GCRA * FLAGS, 142_857)
    assert store.call(admit(START, share))[:2] == (1, 0)
    assert store.call(admit(START, share._replace(cost=1)))[:2] == (0, 0)
    assert store.call(admit(START + month, share))[:2] == (1, 0)
