"""Charges that are given back, made larger, held with a lease, or made only when another limit refuses."""

from __future__ import annotations

import pytest
import redis

from lockwatch.flow import Call
from tests.contract.bench import (
    FIXED,
    FLAGS,
    GCRA,
    HELD,
    LOOK,
    LOOSE,
    NAMES,
    PENALTY,
    SECOND,
    SET,
    SHADOW,
    START,
    WINDOW,
    Ask,
    Bench,
    Verdict,
    held_by,
    others,
    settle,
)

TEN = 10 * SECOND
LEASE = 10 * SECOND
HOUR = 3600 * SECOND
RATES = pytest.mark.parametrize("algorithm", range(5), ids=NAMES[:5])
EXACT = pytest.mark.parametrize("algorithm", [WINDOW, SET], ids=["sliding-window", "sorted-set"])
BOTH = pytest.mark.parametrize("flags", [LOOSE, HELD], ids=["loose", "held"])


def ask(algorithm: int = WINDOW, quota: int = 5, span: int = HOUR, cost: int = 1, key: str = "k", flags: int = 0) -> Ask:
    return Ask(key, quota, span, cost, 0, algorithm * FLAGS + flags, quota if algorithm == GCRA else 0)


async def left(bench: Bench, algorithm: int, quota: int = 5, span: int = HOUR) -> int:
    """What a look says is left."""
    return (await bench.ask(ask(algorithm, quota, span, 0))).remaining


# -------------------------------------------------------------------- giving back
@BOTH
@RATES
async def test_what_is_given_back_is_free_again(bench: Bench, algorithm: int, flags: int) -> None:
    given = ask(algorithm, cost=3, flags=flags)
    found = await bench.ask(given)
    assert (found.allowed, found.remaining) == (1, 2)
    assert found.receipt > 0
    assert await bench.settle(given, found.receipt, 1) == -2
    assert await left(bench, algorithm) == 4
    assert await bench.settle(given, found.receipt, 1) == 0
    assert await left(bench, algorithm) == 4


@RATES
async def test_a_clock_that_steps_back_after_a_settlement_forgets_nothing(bench: Bench, algorithm: int) -> None:
    bench.now = START + TEN - 1  # the last moment of a window that is aligned to the clock
    given = ask(algorithm, span=TEN, flags=LOOSE)
    found = await bench.ask(given)
    await bench.ask(ask(algorithm, span=TEN, cost=2))
    bench.now += 1
    assert await bench.settle(given, found.receipt, 0) == -1
    bench.now -= 1
    assert await left(bench, algorithm, span=TEN) == 3


@BOTH
@RATES
async def test_a_bucket_that_becomes_empty_is_gone(bench: Bench, algorithm: int, flags: int) -> None:
    given = ask(algorithm, cost=3, flags=flags)
    found = await bench.ask(given)
    assert await bench.settle(given, found.receipt, 0) == -3
    assert await bench.reset("k", held_by("k")) == 0
    assert await bench.settle(given, found.receipt, 0) == 0
    assert await bench.reset("k", held_by("k")) == 0


@BOTH
@RATES
async def test_what_came_to_more_is_charged_even_above_the_quota(bench: Bench, algorithm: int, flags: int) -> None:
    given = ask(algorithm, cost=2, flags=flags)
    found = await bench.ask(given)
    assert await bench.settle(given, found.receipt, 4) == 2
    assert await left(bench, algorithm) == 1
    assert await bench.settle(given, found.receipt, 4) == 0
    assert await left(bench, algorithm) == 1
    more = await bench.ask(ask(algorithm, flags=flags))
    assert await bench.settle(ask(algorithm, flags=flags), more.receipt, 3) == 2
    assert await left(bench, algorithm) == 0
    assert (await bench.ask(ask(algorithm))).allowed == 2


@RATES
async def test_what_is_not_known_changes_nothing(bench: Bench, algorithm: int) -> None:
    await bench.ask(ask(algorithm, cost=2))
    for receipt in (0, 1, START - 1, START + HOUR, 2**53 - 1):
        assert await bench.settle(ask(algorithm, flags=HELD), receipt, 0) == 0
        assert await bench.settle(ask(algorithm, key="nobody", flags=LOOSE), receipt, 0) == 0
    assert await left(bench, algorithm) == 3
    assert await bench.reset("nobody", held_by("nobody")) == 0


@BOTH
@RATES
async def test_a_settle_after_the_window_changes_nothing_and_makes_no_key(bench: Bench, algorithm: int, flags: int) -> None:
    given = ask(algorithm, span=TEN, cost=5, flags=flags)
    found = await bench.ask(given)
    bench.now += 2 * TEN
    for actual in (0, 9):
        assert await bench.settle(given, found.receipt, actual) == 0
    await bench.ask(ask(algorithm, span=TEN, cost=4))
    before = await left(bench, algorithm, span=TEN)
    assert await bench.settle(given, found.receipt, 0) == 0
    assert await left(bench, algorithm, span=TEN) == before


@RATES
async def test_a_key_that_expired_on_the_server_stays_away(real: Bench, algorithm: int) -> None:
    given = ask(algorithm, flags=LOOSE)
    found = await real.ask(given)
    with redis.Redis.from_url(real.url) as client:
        client.delete("k")
        assert await real.settle(given, found.receipt, 0) == 0
        assert await real.settle(given, found.receipt, 7) == 0
        assert others(client) == []


@EXACT
async def test_a_charge_among_many_is_found(bench: Bench, algorithm: int) -> None:
    receipts = []
    for i in range(40):
        receipts.append((await bench.ask(ask(algorithm, 200, cost=1 + i % 5, flags=LOOSE))).receipt)
        bench.now += i % 3
    assert len(set(receipts)) == 40
    for i in (0, 39, 20, 7, 38):
        assert await bench.settle(ask(algorithm, 200, cost=1 + i % 5), receipts[i], 0) == -(1 + i % 5)
    assert await left(bench, algorithm, 200) == 200 - 120 + sum(1 + i % 5 for i in (0, 39, 20, 7, 38))
    assert await bench.settle(ask(algorithm, 200, cost=2), receipts[21], 1) == -1
    assert (await bench.ask(ask(algorithm, 200, cost=0))).reset == receipts[37] + HOUR - bench.now


@pytest.mark.parametrize("size", [9, 100, 1000])
async def test_a_charge_is_found_in_a_ring_that_has_wrapped_around(bench: Bench, size: int) -> None:
    if bench.kind.startswith("fake"):
        size = min(size, 100)
    given, receipts = ask(WINDOW, size, TEN, flags=LOOSE), []
    for _ in range(size + size // 2):
        receipts.append((await bench.ask(given)).receipt)
        bench.now += TEN // size
    counting = [receipt for receipt in receipts if receipt > bench.now - TEN]
    for receipt in counting[::7]:
        assert await bench.settle(given, receipt, 0) == -1
    assert await left(bench, WINDOW, size, TEN) == size - len(counting) + len(counting[::7])
    kept = [receipt for i, receipt in enumerate(counting) if i % 7]
    found = await bench.ask(ask(WINDOW, size, TEN, 0))
    assert (found.reset, found.following) == (kept[-1] + TEN - bench.now, kept[0] + TEN - bench.now)


async def test_a_charge_very_far_back_is_left_as_it_is(real: Bench) -> None:
    given = ask(WINDOW, 10_000, flags=LOOSE)
    first = await real.ask(given)
    second = await real.ask(given)
    for _ in range(4095):
        await real.ask(given)
    assert await real.settle(given, first.receipt, 0) == 0
    assert await real.settle(given, second.receipt, 0) == -1


async def test_a_token_bucket_gives_back_what_is_still_missing_of_a_charge(bench: Bench) -> None:
    given = ask(GCRA, 10, TEN, 4, flags=LOOSE)
    found = await bench.ask(given)
    assert found == Verdict(1, 6, 0, 4 * SECOND, SECOND, START + 4 * SECOND)
    bench.now += 3 * SECOND
    assert await bench.settle(given, found.receipt, 0) == -1
    assert await left(bench, GCRA, 10, TEN) == 10
    found = await bench.ask(given)
    bench.now += 4 * SECOND
    assert await bench.settle(given, found.receipt, 0) == 0


async def test_a_fixed_window_takes_nothing_back_into_the_next(bench: Bench) -> None:
    given = ask(FIXED, 5, TEN, 5, flags=LOOSE)
    found = await bench.ask(given)
    bench.now += TEN
    assert (await bench.ask(ask(FIXED, 5, TEN, 5))).allowed == 1
    assert await bench.settle(given, found.receipt, 0) == 0
    assert await left(bench, FIXED, 5, TEN) == 0


@RATES
async def test_several_are_settled_in_one_call(bench: Bench, algorithm: int) -> None:
    asks = [ask(algorithm, cost=2, key=f"k{i}", flags=(LOOSE, HELD)[i % 2]) for i in range(4)]
    found = await bench.take_all(*asks)
    items = [(a, v.receipt, actual) for a, v, actual in zip(asks, found, (0, 1, 2, 3), strict=True)]
    assert list(await bench.call(settle(bench.now, *items))) == [-2, -1, 0, 1]
    assert list(await bench.call(settle(bench.now, *items))) == [0, 0, 0, 0]


# ----------------------------------------------------------------------- leases
@RATES
async def test_a_reservation_of_a_killed_worker_is_given_back(bench: Bench, algorithm: int) -> None:
    given = ask(algorithm, cost=5, flags=HELD)
    assert (await bench.ask(given)).allowed == 1
    bench.now += LEASE - 1
    assert (await bench.ask(given)).allowed == 2
    bench.now += 1
    assert (await bench.ask(given)).allowed == 1


@RATES
async def test_a_late_settle_charges_what_it_came_to(bench: Bench, algorithm: int) -> None:
    given = ask(algorithm, cost=2, flags=HELD)
    found = await bench.ask(given)
    bench.now += LEASE
    assert (await bench.peek_all(given))[0].remaining == 5
    assert await bench.settle(given, found.receipt, 3) == 3
    assert await left(bench, algorithm) == 2
    assert await bench.settle(given, found.receipt, 3) == 0
    assert await left(bench, algorithm) == 2


@RATES
async def test_a_late_settle_of_nothing_ends_it(bench: Bench, algorithm: int) -> None:
    given = ask(algorithm, cost=2, flags=HELD)
    found = await bench.ask(given)
    bench.now += LEASE
    await bench.peek_all(given)
    assert await bench.settle(given, found.receipt, 0) == 0
    assert await bench.settle(given, found.receipt, 3) == 0
    assert await left(bench, algorithm) == 5


@RATES
async def test_a_lease_may_be_renewed(bench: Bench, algorithm: int) -> None:
    given = ask(algorithm, cost=5, flags=HELD)
    found = await bench.ask(given)
    for _ in range(3):
        bench.now += LEASE - 1
        assert list(await bench.call(Call("renew", (held_by("k"),), (bench.now, found.receipt, 5, LEASE)))) == [1]
    assert (await bench.ask(given)).allowed == 2
    bench.now += LEASE
    assert list(await bench.call(Call("renew", (held_by("k"),), (bench.now, found.receipt, 5, LEASE)))) == [0]
    assert (await bench.ask(given)).allowed == 1


async def test_a_hundred_lapsed_reservations_are_given_back_in_one_call(bench: Bench) -> None:
    given = ask(WINDOW, 250, flags=HELD)
    for _ in range(250):
        await bench.ask(given)
    bench.now += LEASE
    assert [(await bench.peek_all(given))[0].remaining for _ in range(4)] == [100, 200, 250, 250]


async def test_open_reservations_expire_with_their_leases(real: Bench) -> None:
    real.now = 0
    given = ask(WINDOW, span=SECOND, flags=HELD)
    found = await real.ask(given)
    with redis.Redis.from_url(real.url) as client:
        assert 9_000 < client.pttl(held_by("k")) <= 11_000
        assert await real.settle(given, found.receipt, 1) == 0
        assert client.exists(held_by("k")) == 0


# -------------------------------------------------------------- penalty and look
@RATES
async def test_a_penalty_is_charged_when_another_limit_refuses(bench: Bench, algorithm: int) -> None:
    limit, penalty = ask(WINDOW, 1, key="limit"), ask(algorithm, 2, key="penalty", flags=PENALTY)
    found = [await bench.take_all(limit, penalty) for _ in range(4)]
    assert [[v.allowed == 1 for v in pair] for pair in found] == [[True, True], [False, True], [False, True], [False, False]]
    assert [pair[1].remaining for pair in found] == [2, 1, 0, 0]


async def test_a_penalty_that_refuses_refuses_the_call(bench: Bench) -> None:
    limit, penalty = ask(WINDOW, 1, TEN, key="limit"), ask(WINDOW, 1, HOUR, key="penalty", flags=PENALTY)
    for _ in range(2):
        await bench.take_all(limit, penalty)
    bench.now += TEN
    first, second = await bench.take_all(limit, penalty)
    assert (first.allowed, first.remaining, second.allowed) == (1, 1, 0)
    assert (await bench.peek_all(limit))[0].remaining == 1


async def test_a_shadow_that_would_refuse_is_no_reason_for_a_penalty(bench: Bench) -> None:
    asks = [ask(WINDOW, 1, key="limit", flags=SHADOW), ask(WINDOW, 2, key="penalty", flags=PENALTY)]
    found = [await bench.take_all(*asks) for _ in range(3)]
    assert [pair[1].remaining for pair in found] == [2, 2, 2]


@RATES
async def test_a_look_may_refuse_and_is_never_charged(bench: Bench, algorithm: int) -> None:
    look, limit = ask(algorithm, 2, key="looked", flags=LOOK), ask(WINDOW, 9, key="limit")
    found = [await bench.take_all(look, limit) for _ in range(3)]
    assert [[v.remaining for v in pair] for pair in found] == [[2, 8], [2, 7], [2, 6]]
    await bench.ask(ask(algorithm, 2, cost=2, key="looked"))
    first, second = await bench.take_all(look, limit)
    assert (first.allowed == 1, second.allowed, second.remaining) == (False, 1, 6)


async def test_a_look_for_a_held_limit_opens_nothing(bench: Bench) -> None:
    assert (await bench.ask(ask(WINDOW, flags=HELD | LOOK))).receipt == 0
    assert await bench.reset("k", held_by("k")) == 0


# ------------------------------------------------------------ workers and epochs
async def test_workers_are_counted_until_they_are_silent(bench: Bench) -> None:
    async def alive(worker: int) -> int:
        (count,) = await bench.call(Call("workers", ("w",), (bench.now, worker, TEN)))
        return count

    assert [await alive(worker) for worker in (7, 2**52 + 1, 7, 9)] == [1, 2, 2, 3]
    bench.now += TEN - 1
    assert await alive(7) == 3
    bench.now += 1
    assert await alive(7) == 1
    bench.now -= HOUR
    assert await alive(9) == 1


async def test_an_epoch_counts(bench: Bench) -> None:
    assert [list(await bench.call(Call("epoch", ("e",), (more, 60_000)))) for more in (0, 1, 0, 2, 0)] == [[0], [1], [1], [3], [3]]


async def test_workers_and_epochs_expire(real: Bench) -> None:
    await real.call(Call("workers", ("w",), (0, 7, TEN)))
    await real.call(Call("epoch", ("e",), (1, 60_000)))
    with redis.Redis.from_url(real.url) as client:
        assert 0 < client.pttl("w") <= 10_000
        assert 0 < client.pttl("e") <= 60_000
