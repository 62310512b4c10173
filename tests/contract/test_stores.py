"""The contract of a store, the same for every kind: what is admitted, what is refused, for how long, and what is left."""

from __future__ import annotations

from collections import deque

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from lockwatch.errors import StoreError
from lockwatch.flow import Call
from tests.contract.bench import MILLISECOND, SECOND, START, Ask, Bench, Verdict, admit, others

TEN = 10 * SECOND


# -------------------------------------------------------------------- the quota
@pytest.mark.parametrize("quota", [1, 2, 5, 30])
async def test_exactly_the_quota_is_admitted(bench: Bench, quota: int) -> None:
    found = [await bench.take(quota, TEN) for _ in range(quota + 3)]
    assert [v.allowed for v in found] == [1] * quota + [0] * 3
    assert [v.remaining for v in found] == [*range(quota - 1, -1, -1), 0, 0, 0]
    assert found[0] == Verdict(1, quota - 1, 0, TEN, TEN)
    assert found[-1] == Verdict(0, 0, TEN, TEN, TEN)


async def test_a_quota_of_nothing_admits_nothing(bench: Bench) -> None:
    assert await bench.take(0, TEN) == Verdict(0, 0, -1, 0, 0)
    assert await bench.take(0, TEN, cost=0) == Verdict(1, 0, 0, 0, 0)


async def test_what_is_refused_is_not_counted(bench: Bench) -> None:
    assert [(await bench.take(3, TEN)).allowed for _ in range(50)] == [1] * 3 + [0] * 47
    bench.now += TEN
    assert [(await bench.take(3, TEN)).allowed for _ in range(5)] == [1] * 3 + [0] * 2


async def test_the_window_slides_over_every_admission(bench: Bench) -> None:
    for _ in range(3):
        assert (await bench.take(3, TEN)).allowed
        bench.now += 2 * SECOND
    assert await bench.take(3, TEN) == Verdict(0, 0, 4 * SECOND, 8 * SECOND, 4 * SECOND)
    bench.now += 4 * SECOND
    assert await bench.take(3, TEN) == Verdict(1, 0, 0, TEN, 2 * SECOND)
    assert await bench.take(3, TEN) == Verdict(0, 0, 2 * SECOND, TEN, 2 * SECOND)


@pytest.mark.parametrize("windows", [1, 2, 3, 1000])
@pytest.mark.parametrize(("late", "allowed"), [(-1, 0), (0, 1), (1, 1)])
async def test_an_admission_counts_for_a_window_to_the_microsecond(bench: Bench, windows: int, late: int, allowed: int) -> None:
    bench.now = windows * TEN
    assert (await bench.take(1, TEN)).allowed
    bench.now += TEN + late
    assert (await bench.take(1, TEN)).allowed == allowed


@pytest.mark.parametrize(
    "span", [MILLISECOND, 1_001, SECOND, 1_073_741_824, 1_073_741_825, 86_400 * SECOND, 3600 * 86_400 * SECOND]
)
async def test_windows_of_any_length_end_to_the_microsecond(bench: Bench, span: int) -> None:
    bench.now = 4 * span + START
    assert await bench.take(2, span) == Verdict(1, 1, 0, span, span)
    bench.now += 1
    assert await bench.take(2, span) == Verdict(1, 0, 0, span, span - 1)
    bench.now += span - 2
    assert await bench.take(2, span) == Verdict(0, 0, 1, 2, 1)
    bench.now += 1
    assert await bench.take(2, span) == Verdict(1, 0, 0, span, 1)


async def test_many_on_one_clock_reading_are_one_quota(bench: Bench) -> None:
    found = await bench.calls([admit(bench.now, Ask("k", 40, TEN)) for _ in range(100)])
    assert [reply[0] for reply in found] == [1] * 40 + [0] * 60
    bench.now += TEN - 1
    assert (await bench.take(40, TEN)) == Verdict(0, 0, 1, 1, 1)
    bench.now += 1
    assert (await bench.take(40, TEN)) == Verdict(1, 39, 0, TEN, TEN)


async def test_the_clock_of_the_store_counts_when_none_is_given(bench: Bench) -> None:
    bench.now = 0
    found = [await bench.take(5, 60 * SECOND) for _ in range(8)]
    assert [v.allowed for v in found] == [1] * 5 + [0] * 3
    assert all(0 < v.reset <= 60 * SECOND for v in found)
    assert found[0].following == 60 * SECOND
    assert 0 < found[-1].retry <= 60 * SECOND


# ------------------------------------------------------------------------- cost
async def test_a_cost_is_taken_at_once_or_not_at_all(bench: Bench) -> None:
    assert await bench.take(10, TEN, 7) == Verdict(1, 3, 0, TEN, TEN)
    bench.now += SECOND
    assert await bench.take(10, TEN, 4) == Verdict(0, 3, 9 * SECOND, 9 * SECOND, 9 * SECOND)
    assert await bench.take(10, TEN, 3) == Verdict(1, 0, 0, TEN, 9 * SECOND)
    bench.now += 9 * SECOND
    assert await bench.take(10, TEN, 8) == Verdict(0, 7, SECOND, SECOND, SECOND)
    assert await bench.take(10, TEN, 7) == Verdict(1, 0, 0, TEN, SECOND)


async def test_a_cost_of_nothing_is_a_look(bench: Bench) -> None:
    assert await bench.take(2, TEN, 0) == Verdict(1, 2, 0, 0, 0)
    await bench.take(2, TEN, 2)
    bench.now += SECOND
    for _ in range(3):
        assert await bench.take(2, TEN, 0) == Verdict(1, 0, 0, 9 * SECOND, 9 * SECOND)
    bench.now += 9 * SECOND
    assert await bench.take(2, TEN, 0) == Verdict(1, 2, 0, 0, 0)


async def test_a_cost_above_the_quota_is_never_admitted(bench: Bench) -> None:
    assert await bench.take(5, TEN, 6) == Verdict(0, 5, -1, 0, 0)
    await bench.take(5, TEN, 2)
    assert await bench.take(5, TEN, 6) == Verdict(0, 3, -1, TEN, TEN)
    assert await bench.take(5, TEN, 3) == Verdict(1, 0, 0, TEN, TEN)


@pytest.mark.parametrize("quota", [2**14, 2**14 + 1, 2**22, 2**22 + 1, 2**30, 2**30 + 1, 2**40])
async def test_quotas_and_costs_may_be_large(bench: Bench, quota: int) -> None:
    assert await bench.take(quota, TEN, quota) == Verdict(1, 0, 0, TEN, TEN)
    assert await bench.take(quota, TEN) == Verdict(0, 0, TEN, TEN, TEN)
    bench.now += TEN
    assert await bench.take(quota, TEN, quota - 1) == Verdict(1, 1, 0, TEN, TEN)
    bench.now += SECOND
    assert await bench.take(quota, TEN, 2) == Verdict(0, 1, 9 * SECOND, 9 * SECOND, 9 * SECOND)
    assert await bench.take(quota, TEN, 1) == Verdict(1, 0, 0, TEN, 9 * SECOND)
    bench.now += 9 * SECOND
    assert await bench.take(quota, TEN, quota) == Verdict(0, quota - 1, SECOND, SECOND, SECOND)
    assert await bench.take(quota, TEN, quota - 1) == Verdict(1, 0, 0, TEN, SECOND)


async def test_large_costs_over_many_windows_do_not_run_out_of_digits(bench: Bench) -> None:
    quota = 2**40
    for i in range(600):
        bench.now += TEN // 2
        found = await bench.take(quota, TEN, quota // 2 - 1)
        assert (found.allowed, found.remaining) == (1, quota // 2 + 1 if i == 0 else 2)


# --------------------------------------------------------------- several buckets
@pytest.mark.parametrize("full", [0, 1, 2])
async def test_one_that_refuses_leaves_all_others_untouched(bench: Bench, full: int) -> None:
    asks = [Ask(f"k{i}", 3, TEN) for i in range(3)]
    assert (await bench.take(3, TEN, 3, key=f"k{full}")).allowed
    bench.now += SECOND
    for _ in range(4):
        found = await bench.take_all(*asks)
        assert [v.allowed for v in found] == [int(i != full) for i in range(3)]
        assert [v.remaining for v in found] == [0 if i == full else 3 for i in range(3)]
        assert found[full].retry == 9 * SECOND
    bench.now += 9 * SECOND
    assert [v.remaining for v in await bench.take_all(*asks)] == [2, 2, 2]


async def test_all_that_admit_are_charged(bench: Bench) -> None:
    asks = [Ask("second", 10, SECOND, 2), Ask("minute", 100, 60 * SECOND), Ask("day", 1000, 86_400 * SECOND, 5)]
    assert await bench.take_all(*asks) == [
        Verdict(1, 8, 0, SECOND, SECOND),
        Verdict(1, 99, 0, 60 * SECOND, 60 * SECOND),
        Verdict(1, 995, 0, 86_400 * SECOND, 86_400 * SECOND),
    ]


async def test_several_that_refuse_are_all_told(bench: Bench) -> None:
    await bench.take_all(Ask("a", 1, SECOND), Ask("b", 1, TEN), Ask("c", 2, TEN))
    found = await bench.take_all(Ask("a", 1, SECOND), Ask("b", 1, TEN), Ask("c", 2, TEN))
    assert [(v.allowed, v.retry) for v in found] == [(0, SECOND), (0, TEN), (1, 0)]


async def test_a_bucket_in_shadow_reports_and_refuses_nobody(bench: Bench) -> None:
    shadow, strict = Ask("shadow", 1, TEN, shadow=1), Ask("strict", 3, TEN)
    found = [await bench.take_all(shadow, strict) for _ in range(4)]
    assert [[v.allowed for v in pair] for pair in found] == [[1, 1], [0, 1], [0, 1], [0, 0]]
    assert [[v.remaining for v in pair] for pair in found] == [[0, 2], [0, 1], [0, 0], [0, 0]]
    assert await bench.peek(1, TEN, key="shadow") == Verdict(0, 0, TEN, TEN, TEN)


async def test_a_refusal_leaves_a_bucket_in_shadow_untouched(bench: Bench) -> None:
    await bench.take(1, TEN, key="strict")
    await bench.take_all(Ask("strict", 1, TEN), Ask("shadow", 5, TEN, shadow=1))
    assert (await bench.peek(5, TEN, key="shadow")).remaining == 5


async def test_a_bucket_in_shadow_alone_still_says_no(bench: Bench) -> None:
    found = [await bench.take(1, TEN, shadow=1) for _ in range(3)]
    assert [v.allowed for v in found] == [1, 0, 0]


async def test_a_look_beside_a_charge_charges_the_other_only(bench: Bench) -> None:
    found = await bench.take_all(Ask("looked", 5, TEN, 0), Ask("taken", 5, TEN, 2))
    assert [v.remaining for v in found] == [5, 3]
    assert [v.remaining for v in await bench.peek_all(Ask("looked", 5, TEN), Ask("taken", 5, TEN))] == [5, 3]


async def test_no_bucket_at_all_is_no_verdict(bench: Bench) -> None:
    assert await bench.take_all() == []
    assert await bench.peek_all() == []


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4), st.integers(0, 6 * SECOND)), max_size=12))
async def test_buckets_never_affect_each_other(bench: Bench, steps: list[tuple[int, int, int]]) -> None:
    """A bucket among others answers what it answers alone."""
    together, alone = [], []
    now = START
    for which, cost, pause in steps:
        now += pause
        together.append((which, admit(now, Ask(f"together{which}", 5, TEN, cost))))
        alone.append((which, admit(now, Ask(f"alone{which}", 5, TEN, cost))))
    await bench.reset(*[f"{name}{which}" for name in ("together", "alone") for which in range(3)])
    mixed = await bench.calls([call for _, call in together])
    for which in range(3):
        found = await bench.calls([call for w, call in alone if w == which])
        assert [list(r) for r in found] == [list(r) for (w, _), r in zip(together, mixed, strict=True) if w == which]


async def test_keys_may_be_any_text(bench: Bench) -> None:
    keys = ["", " ", "a b", "a\nb", "{a}:b", "*", "\x00", "\u00e9\u4e2d", "\ud800", "k" * 5000, "2 a b"]
    for key in keys:
        assert await bench.take(1, TEN, key=key) == Verdict(1, 0, 0, TEN, TEN)
    for key in keys:
        assert (await bench.take(1, TEN, key=key)).allowed == 0
    assert await bench.reset(*keys) == len(keys)


# ---------------------------------------------------------- limits that change
async def test_a_raised_limit_keeps_what_was_used(bench: Bench) -> None:
    await bench.take(3, TEN, 3)
    bench.now += SECOND
    assert await bench.take(5, TEN) == Verdict(1, 1, 0, TEN, 9 * SECOND)
    assert await bench.take(100_000, TEN, 99_996) == Verdict(1, 0, 0, TEN, 9 * SECOND)
    bench.now += 9 * SECOND
    assert await bench.take(100_000, TEN) == Verdict(1, 2, 0, TEN, SECOND)


async def test_a_lowered_limit_waits_until_enough_has_expired(bench: Bench) -> None:
    for _ in range(5):
        await bench.take(5, TEN)
        bench.now += SECOND
    assert await bench.take(2, TEN) == Verdict(0, 0, 8 * SECOND, 9 * SECOND, 5 * SECOND)
    assert await bench.take(2, TEN, 2) == Verdict(0, 0, 9 * SECOND, 9 * SECOND, 5 * SECOND)
    assert await bench.take(0, TEN) == Verdict(0, 0, -1, 9 * SECOND, 5 * SECOND)
    bench.now += 8 * SECOND
    assert await bench.take(2, TEN) == Verdict(1, 0, 0, TEN, SECOND)


async def test_a_limit_lowered_and_raised_again_has_lost_nothing(bench: Bench) -> None:
    await bench.take(100_000, TEN, 60_000)
    assert (await bench.take(10, TEN)).allowed == 0
    assert await bench.take(100_000, TEN, 30_000) == Verdict(1, 10_000, 0, TEN, TEN)


async def test_a_shorter_window_forgets_what_is_older_at_once(bench: Bench) -> None:
    for _ in range(4):
        await bench.take(4, 60 * SECOND)
        bench.now += 5 * SECOND
    assert await bench.take(4, TEN) == Verdict(1, 2, 0, TEN, 5 * SECOND)
    bench.now += 5 * SECOND
    assert await bench.take(4, TEN) == Verdict(1, 2, 0, TEN, 5 * SECOND)


async def test_a_longer_window_counts_what_the_shorter_one_remembers(bench: Bench) -> None:
    for _ in range(3):
        await bench.take(4, TEN)
        bench.now += 4 * SECOND
    assert await bench.take(4, 60 * SECOND) == Verdict(1, 0, 0, 60 * SECOND, 48 * SECOND)
    bench.now += 47 * SECOND
    assert await bench.take(4, 60 * SECOND) == Verdict(0, 0, SECOND, 13 * SECOND, SECOND)


async def test_a_longer_window_does_not_revive_what_the_shorter_one_let_go(bench: Bench) -> None:
    await bench.take(2, TEN)
    bench.now += TEN
    assert await bench.take(2, 60 * SECOND) == Verdict(1, 1, 0, 60 * SECOND, 60 * SECOND)


async def test_a_window_may_become_much_longer_and_shorter(bench: Bench) -> None:
    spans = [SECOND, 3600 * SECOND, 30 * 86_400 * SECOND, 3600 * 86_400 * SECOND, 86_400 * SECOND, SECOND, MILLISECOND]
    for i, span in enumerate(spans):
        bench.now += 1
        found = await bench.take(10, span)
        assert found == Verdict(1, 9 - i, 0, span, span - i)


# ------------------------------------------------------------------ Retry-After
@pytest.mark.parametrize(("quota", "costs", "asked"), [(1, [1], 1), (3, [1, 1, 1], 1), (3, [1, 1, 1], 2), (3, [1, 1, 1], 3)])
async def test_waiting_as_told_is_enough_and_a_microsecond_less_is_not(
    bench: Bench, quota: int, costs: list[int], asked: int
) -> None:
    await check_retry(bench, quota, costs, asked)


@pytest.mark.parametrize(("quota", "costs", "asked"), [(10, [3, 5, 2], 4), (10, [10], 10), (10, [1, 9], 2), (7, [2, 2, 2], 5)])
async def test_waiting_as_told_is_enough_for_more_than_one(bench: Bench, quota: int, costs: list[int], asked: int) -> None:
    await check_retry(bench, quota, costs, asked)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.lists(st.integers(1, 4), max_size=8), st.integers(1, 9))
async def test_waiting_as_told_is_always_enough(bench: Bench, quota: int, costs: list[int], asked: int) -> None:
    await bench.reset("k")
    bench.now = START
    await check_retry(bench, quota, costs, min(asked, quota))


async def check_retry(bench: Bench, quota: int, costs: list[int], asked: int) -> None:
    for cost in costs:
        await bench.take(quota, TEN, cost)
        bench.now += 777_777
    found = await bench.peek(quota, TEN, asked)
    if not found.allowed:
        bench.now += found.retry - 1
        assert await bench.peek(quota, TEN, asked) == (await bench.take(quota, TEN, asked))
        assert (await bench.take(quota, TEN, asked)).retry == 1
        bench.now += 1
    assert (await bench.take(quota, TEN, asked)).allowed


# ------------------------------------------------------- clocks that step back
async def test_a_clock_that_steps_back_within_a_window_stands_still(bench: Bench) -> None:
    await bench.take(3, TEN)
    bench.now -= 4 * SECOND
    assert await bench.take(3, TEN) == Verdict(1, 1, 0, 14 * SECOND, 14 * SECOND)
    bench.now -= 5 * SECOND
    assert await bench.take(3, TEN) == Verdict(1, 0, 0, 19 * SECOND, 19 * SECOND)
    assert (await bench.take(3, TEN)).allowed == 0
    bench.now = START + TEN - 1
    assert (await bench.take(3, TEN)).allowed == 0
    bench.now = START + TEN
    assert await bench.take(3, TEN) == Verdict(1, 2, 0, TEN, TEN)


async def test_a_clock_a_whole_window_back_still_stands_still(bench: Bench) -> None:
    await bench.take(1, TEN)
    bench.now -= TEN
    assert await bench.take(1, TEN) == Verdict(0, 0, 2 * TEN, 2 * TEN, 2 * TEN)
    bench.now += 2 * TEN - 1
    assert (await bench.take(1, TEN)).allowed == 0
    bench.now += 1
    assert (await bench.take(1, TEN)).allowed


async def test_a_clock_set_back_further_locks_nobody_out_for_longer_than_a_window(bench: Bench) -> None:
    await bench.take(3, TEN)
    bench.now += SECOND
    await bench.take(3, TEN)
    bench.now -= 3600 * SECOND
    assert await bench.take(3, TEN, 2) == Verdict(0, 1, TEN, TEN, TEN)
    assert await bench.take(3, TEN) == Verdict(1, 0, 0, TEN, TEN)
    bench.now += TEN - 1
    assert (await bench.take(3, TEN)).allowed == 0
    bench.now += 1
    assert await bench.take(3, TEN) == Verdict(1, 2, 0, TEN, TEN)


async def test_a_clock_set_back_frees_nothing(bench: Bench) -> None:
    for back in (TEN - 1, TEN, TEN + 1, 2 * TEN, 86_400 * SECOND):
        bench.now = START
        await bench.reset("k")
        await bench.take(3, TEN, 3)
        bench.now -= back
        assert (await bench.peek(3, TEN)).allowed == 0
        assert (await bench.take(3, TEN)).allowed == 0


async def test_what_was_admitted_ahead_of_time_counts_when_the_clock_is_set_back(bench: Bench) -> None:
    await bench.take(2, TEN)
    bench.now += 3600 * SECOND
    assert await bench.take(2, TEN) == Verdict(1, 1, 0, TEN, TEN)
    bench.now -= 3600 * SECOND
    assert await bench.take(2, TEN) == Verdict(1, 0, 0, TEN, TEN)
    assert (await bench.take(2, TEN)).allowed == 0


async def test_a_step_back_does_not_break_a_call_that_another_bucket_refuses(bench: Bench) -> None:
    await bench.take_all(Ask("a", 3, TEN, 2), Ask("b", 1, TEN))
    bench.now -= 3600 * SECOND
    found = await bench.take_all(Ask("a", 3, TEN), Ask("b", 1, TEN))
    assert [(v.allowed, v.remaining) for v in found] == [(1, 1), (0, 0)]
    assert [v.remaining for v in await bench.peek_all(Ask("a", 3, TEN), Ask("b", 1, TEN))] == [1, 0]


# ------------------------------------------------------------------- long logs
@pytest.mark.parametrize("cost", [1, 3])
@pytest.mark.parametrize("size", [7, 8, 9, 16, 17, 200, 2000])
async def test_a_bucket_grows_and_wraps_around_without_losing_an_admission(bench: Bench, size: int, cost: int) -> None:
    if bench.kind.startswith("fake"):  # slow; call by call it runs the same Lua as in batches
        size = min(size, 300 if bench.kind == "fake-async" else 40)
    quota, step = size * cost, TEN // size // 2
    counting: deque[int] = deque()
    for part in (1.0, 0.5, 0.4, 1.0, 0.3, 1.0):
        calls, expected = [], []
        for _ in range(int(size * part) + 2):
            while counting and counting[0] + TEN <= bench.now:
                counting.popleft()
            allowed = len(counting) < size
            if allowed:
                counting.append(bench.now)
            upcoming = counting[0] + TEN - bench.now
            left = (size - len(counting)) * cost
            expected.append(Verdict(allowed, left, 0 if allowed else upcoming, counting[-1] + TEN - bench.now, upcoming))
            calls.append(admit(bench.now, Ask("k", quota, TEN, cost)))
            bench.now += step
        assert [Verdict(*reply) for reply in await bench.calls(calls)] == expected
        await check_every_wait(bench, counting, size, cost)
        bench.now += TEN * 6 // 10


async def check_every_wait(bench: Bench, counting: deque[int], size: int, cost: int) -> None:
    """Ask for some, half and all of the quota: each waits for the admission that has to expire first."""
    alive = [stamp for stamp in counting if stamp + TEN > bench.now]
    for wanted in {1, 2, size // 3, size // 2, size - 1, size}:
        missing = wanted - (size - len(alive))
        found = await bench.peek(size * cost, TEN, wanted * cost)
        assert found.retry == (alive[missing - 1] + TEN - bench.now if missing > 0 else 0)
        assert found.remaining == (size - len(alive)) * cost


async def test_a_quota_used_to_the_full_window_after_window_does_not_grow_a_bucket(real: Bench) -> None:
    held = []
    with redis.Redis.from_url(real.url) as client:
        for _ in range(6):
            await real.calls([admit(real.now + i, Ask("k", 300, TEN)) for i in range(300)])
            held.append(client.strlen("k"))
            real.now += TEN
    assert held[0] <= 300 * 8 + 40
    assert held == held[:1] * 6


# ---------------------------------------------------------------- peek and reset
async def test_a_peek_says_what_would_be_and_changes_nothing(bench: Bench) -> None:
    asks = [Ask("a", 3, TEN, 2), Ask("b", 5, TEN)]
    for _ in range(3):
        assert await bench.peek_all(*asks) == [Verdict(1, 3, 0, 0, 0), Verdict(1, 5, 0, 0, 0)]
    assert await bench.reset("a", "b") == 0
    await bench.take_all(*asks)
    bench.now += SECOND
    for _ in range(3):
        assert await bench.peek_all(*asks) == [
            Verdict(0, 1, 9 * SECOND, 9 * SECOND, 9 * SECOND),
            Verdict(1, 4, 0, 9 * SECOND, 9 * SECOND),
        ]
    assert [v.remaining for v in await bench.take_all(Ask("a", 3, TEN), Ask("b", 5, TEN))] == [0, 3]


async def test_looks_and_refusals_write_nothing(real: Bench) -> None:
    await real.take(3, TEN, 3)
    with redis.Redis.from_url(real.url) as client:
        before = client.get("k")
        real.now += SECOND
        await real.peek(3, TEN)
        await real.take(3, TEN)
        await real.take(3, TEN, 0)
        await real.take(1, 60 * SECOND)
        assert client.get("k") == before
        assert others(client) == [b"k"]


async def test_a_reset_bucket_is_as_new(bench: Bench) -> None:
    assert await bench.reset("k") == 0
    await bench.take_all(Ask("k", 3, TEN, 3), Ask("other", 3, TEN, 3))
    assert await bench.reset("k", "unheard-of") == 1
    assert await bench.take(3, TEN) == Verdict(1, 2, 0, TEN, TEN)
    assert (await bench.take(3, TEN, key="other")).allowed == 0
    assert await bench.reset("k", "other") == 2
    assert await bench.reset() == 0


# ------------------------------------------------------------------ real servers
async def test_every_bucket_expires_and_none_outlives_its_window(real: Bench) -> None:
    real.now = 0
    with redis.Redis.from_url(real.url) as client:
        for span in (MILLISECOND * 200, SECOND, 60 * SECOND, 86_400 * SECOND):
            for cost in (1, 2, 0, 900, 5000, 1):
                key = f"k{span}"
                await real.take_all(Ask(key, 1000, span, cost), Ask("other", 1000, TEN))
                assert 0 < client.pttl(key) <= span // 1000
        for i in range(300):
            await real.take(1000, 60 * SECOND, key="grown")
            assert 0 < client.pttl("grown") <= 60_000, i
        assert client.strlen("grown") > 1024
        assert all(client.pttl(key) > 0 for key in client.scan_iter())


async def test_a_bucket_of_a_millisecond_expires_too(real: Bench) -> None:
    real.now = 0
    with redis.Redis.from_url(real.url) as client:
        for _ in range(20):
            assert (await real.take(10**6, MILLISECOND)).allowed
            assert client.pttl("k") in {-2, 0, 1}


@pytest.mark.parametrize("script", ["admit", "peek"])
async def test_a_key_that_is_something_else_fails_alone(real: Bench, script: str) -> None:
    with redis.Redis.from_url(real.url) as client:
        client.rpush("theirs:list", "not ours")
        first, second, third = await real.outcomes(
            [admit(real.now, Ask(k, 5, TEN), script=script) for k in ("a", "theirs:list", "b")]
        )
        assert first == third == ([1, 4, 0, TEN, TEN, 0] if script == "admit" else [1, 5, 0, 0, 0, 0])
        assert isinstance(second, StoreError)
        assert "WRONGTYPE" in str(second)
        assert client.lrange("theirs:list", 0, -1) == [b"not ours"]


async def test_a_call_with_one_key_that_is_something_else_charges_none(real: Bench) -> None:
    with redis.Redis.from_url(real.url) as client:
        client.rpush("theirs:list", "not ours")
        for keys in (("a", "theirs:list", "b"), ("theirs:list", "a", "b"), ("a", "b", "theirs:list")):
            with pytest.raises(StoreError, match="WRONGTYPE"):
                await real.take_all(*[Ask(key, 5, TEN) for key in keys])
        assert others(client) == [b"theirs:list"]


async def test_a_string_that_is_none_of_ours_fails_alone(real: Bench) -> None:
    with redis.Redis.from_url(real.url) as client:
        client.set("theirs:text", "1")
        found = await real.outcomes([admit(real.now, Ask(key, 5, TEN)) for key in ("a", "theirs:text", "b")])
    assert [isinstance(outcome, StoreError) for outcome in found] == [False, True, False]


async def test_a_script_nobody_knows_fails_alone(bench: Bench) -> None:
    if bench.kind != "memory":
        found = await bench.outcomes([Call("nothing", ("k",), (0,)), admit(bench.now, Ask("a", 5, TEN))])
        assert [isinstance(outcome, StoreError) for outcome in found] == [True, False]


async def test_a_server_that_forgot_the_script_is_told_again(real: Bench) -> None:
    with redis.Redis.from_url(real.url) as client:
        client.script_flush()
        assert (await real.take(3, TEN)).remaining == 2
        client.script_flush()
        assert (await real.take(3, TEN)).remaining == 1
        client.script_flush()
        found = await real.calls([admit(real.now, Ask("k", 3, TEN)) for _ in range(3)])
    assert [reply[0] for reply in found] == [1, 0, 0]


async def test_a_server_that_was_emptied_starts_anew(real: Bench) -> None:
    await real.take(1, TEN)
    with redis.Redis.from_url(real.url) as client:
        client.flushall()
    assert (await real.take(1, TEN)).allowed


# ----------------------------------------------------------------------- secret
async def test_the_first_secret_offered_is_the_one_of_all(bench: Bench) -> None:
    offers = [(1000 * 60, *[2**32 - 1 - i - n for n in range(8)]) for i in range(3)]
    found = [list(await bench.call(Call("secret", ("s",), offer))) for offer in offers]
    assert found == [list(offers[0][1:])] * 3
    assert list(await bench.call(Call("secret", ("other",), offers[1]))) == list(offers[1][1:])


async def test_a_secret_is_kept_from_its_last_use_on(real: Bench) -> None:
    offer = Call("secret", ("s",), (60_000, 1, 2, 3))
    with redis.Redis.from_url(real.url) as client:
        await real.call(offer)
        client.pexpire("s", 50)
        await real.call(offer)
        assert 50 < client.pttl("s") <= 60_000


async def test_two_stores_on_one_server_share_secrets_and_buckets(real: Bench) -> None:
    other = Bench(real.kind, real.url)
    assert await real.call(Call("secret", ("s",), (60_000, 1, 2))) == await other.call(Call("secret", ("s",), (60_000, 3, 4)))
    assert [(await b.take(3, TEN)).remaining for b in (real, other, real)] == [2, 1, 0]
    await other.close()
