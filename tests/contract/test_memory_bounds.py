"""A memory store with too little room: it refuses earlier, it never forgets what counts, and it never grows."""

from __future__ import annotations

import tracemalloc
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockwatch.flow import Call
from lockwatch.stores.memory import MemoryStore
from tests.contract.bench import CONCURRENT, FIXED, FLAGS, HELD, LOOSE, NAMES, SECOND, START, Ask, Verdict, admit, settle

TEN = 10 * SECOND
SHARED = 1024
"""How many buckets all subjects without room of their own share."""


class Table:
    """A memory store under a clock that a test sets."""

    def __init__(self, max_buckets: int) -> None:
        self.now = START
        self.store = MemoryStore(max_buckets, lambda: self.now)

    def take(self, key: str, quota: int, span: int = TEN, cost: int = 1) -> Verdict:
        return Verdict(*self.store.call(admit(0, Ask(key, quota, span, cost))))

    def take_all(self, *asks: Ask) -> list[Verdict]:
        reply = self.store.call(admit(0, *asks))
        return [Verdict(*reply[i : i + 6]) for i in range(0, len(reply), 6)]

    def peek(self, key: str, quota: int, span: int = TEN) -> Verdict:
        return Verdict(*self.store.call(admit(0, Ask(key, quota, span), script="peek")))

    def reset(self, *keys: str) -> int:
        return self.store.call(Call("reset", keys, ()))[0]


@cache
def neighbours() -> tuple[str, ...]:
    """Subjects that share a bucket when the table is full, found by asking."""
    table = Table(1)
    table.take("holder", 1)
    table.take("n0", 1)
    shared = [f"n{i}" for i in range(1, 60_000) if not table.peek(f"n{i}", 1).allowed]
    return ("n0", *shared[:4])


def test_neighbours_can_be_found() -> None:
    assert len(neighbours()) == 5


# ------------------------------------------------------------------------ bounds
def test_the_table_stays_bounded() -> None:
    table = Table(50)
    for i in range(10_000):
        table.take(f"k{i}", 5)
        assert len(table.store) <= 50 + SHARED
    assert len(table.store) > 50


def test_subjects_without_room_are_counted() -> None:
    table = Table(2)
    for key in ("a", "b"):
        table.take(key, 5)
    assert table.store.overflowed == 0
    for i in range(20):
        table.take(f"late{i}", 1000)
    assert table.store.overflowed > 0
    assert len(table.store) > 2


def test_subjects_with_room_are_not_touched_by_those_without() -> None:
    table = Table(3)
    own = [table.take(key, 5).remaining for key in ("a", "b", "c") for _ in range(3)]
    assert own == [4, 3, 2] * 3
    for i in range(5000):
        table.take(f"late{i}", 5)
    assert [table.take(key, 5).remaining for key in ("a", "b", "c")] == [1, 1, 1]


def test_a_full_table_still_limits_everybody() -> None:
    table = Table(1)
    table.take("holder", 1)
    for i in range(200):
        assert sum(table.take(f"k{i}", 3).allowed for _ in range(5)) <= 3


def test_what_was_refused_takes_no_room() -> None:
    table = Table(2)
    for i in range(100):
        assert not table.take(f"k{i}", 5, cost=6).allowed
        assert not table.take(f"k{i}", 0).allowed
        assert table.take(f"k{i}", 5, cost=0).allowed
        assert table.peek(f"k{i}", 5).allowed
    assert len(table.store) == 0


# ------------------------------------------------------------------------- reuse
def test_expired_buckets_make_room() -> None:
    table = Table(10)
    for round_ in range(50):
        for i in range(10):
            assert table.take(f"k{round_}-{i}", 1).allowed
        table.now += TEN
    assert table.store.overflowed == 0
    assert len(table.store) <= 10


def test_a_full_table_finds_room_again_when_buckets_expire() -> None:
    table = Table(10)
    for i in range(30):
        table.take(f"k{i}", 1)
    overflowed = table.store.overflowed
    assert overflowed
    table.now += TEN
    for i in range(10):
        assert table.take(f"new{i}", 1).allowed
    assert table.store.overflowed == overflowed


def test_expired_buckets_are_given_up_without_being_asked_for() -> None:
    table = Table(100_000)
    for i in range(1000):
        table.take(f"old{i}", 1)
    table.now += TEN
    for i in range(1000):
        table.take(f"new{i}", 1)
    assert len(table.store) <= 1500


def test_a_log_does_not_grow_with_time() -> None:
    table = Table(10)

    def live(seconds: int) -> int:
        for _ in range(seconds):
            table.now += SECOND
            assert table.take("k", 20).allowed
        return tracemalloc.get_traced_memory()[0]

    live(100)
    tracemalloc.start()
    try:
        assert live(5000) - live(1000) < 4096
        assert abs(live(10_000) - live(1000)) < 4096
    finally:
        tracemalloc.stop()


def test_a_reset_gives_room_back() -> None:
    table = Table(1)
    table.take("a", 5)
    assert table.reset("a") == 1
    table.take("b", 5)
    assert table.store.overflowed == 0


# --------------------------------------------------------------------- exactness
def test_a_shared_bucket_refuses_earlier_and_never_later() -> None:
    table = Table(1)
    table.take("holder", 1)
    first, second, *_ = neighbours()
    assert [table.take(first, 3).allowed for _ in range(2)] == [1, 1]
    assert [table.take(second, 3).allowed for _ in range(3)] == [1, 0, 0]
    assert table.take(first, 3).retry == TEN
    table.now += TEN
    assert table.take(first, 3).allowed


def test_a_short_window_in_a_shared_bucket_does_not_end_a_long_one() -> None:
    table = Table(1)
    table.take("holder", 1, 3600 * SECOND)
    hourly, brief, *_ = neighbours()
    assert [table.take(hourly, 3, 3600 * SECOND).allowed for _ in range(4)] == [1, 1, 1, 0]
    table.now += 2 * SECOND
    table.take(brief, 100, SECOND)
    assert table.take(hourly, 3, 3600 * SECOND).allowed == 0
    table.now += 2 * SECOND
    table.take(brief, 100, SECOND)
    assert table.take(hourly, 3, 3600 * SECOND).allowed == 0


STEPS = st.lists(
    st.tuples(st.integers(0, 6), st.integers(1, 3), st.sampled_from([0, 1, SECOND, 4 * SECOND, TEN - 1, TEN])), max_size=25
)


@settings(max_examples=700, deadline=None)
@given(st.integers(1, 3), STEPS)
def test_a_full_table_never_admits_more_than_the_quota(room: int, steps: list[tuple[int, int, int]]) -> None:
    check(room, steps, [TEN] * 7)


@settings(max_examples=700, deadline=None)
@given(st.integers(1, 3), STEPS)
def test_a_full_table_never_admits_more_than_the_quota_whatever_the_windows(room: int, steps: list[tuple[int, int, int]]) -> None:
    check(room, steps, [TEN, SECOND, 3600 * SECOND, TEN, SECOND, 60 * SECOND, TEN])


def check(room: int, steps: list[tuple[int, int, int]], spans: list[int]) -> None:
    """In no window of any subject is more admitted than its quota, and what is left is never overstated."""
    table = Table(room)
    subjects = [*neighbours(), "x", "y"]
    admitted: dict[str, list[tuple[int, int]]] = {key: [] for key in subjects}
    for who, cost, pause in steps:
        table.now += pause
        key, span = subjects[who], spans[who]
        found = table.take(key, 4, span, cost)
        if found.allowed:
            admitted[key].append((table.now, cost))
        used = sum(paid for at, paid in admitted[key] if at > table.now - span)
        assert used <= 4
        assert found.remaining <= 4 - used
        assert len(table.store) <= room + SHARED


@settings(max_examples=300, deadline=None)
@given(
    st.integers(1, 2), st.lists(st.tuples(st.sets(st.integers(0, 4), min_size=1), st.sampled_from([0, SECOND, TEN])), max_size=20)
)
def test_several_buckets_at_once_in_a_full_table(room: int, steps: list[tuple[set[int], int]]) -> None:
    table = Table(room)
    admitted: dict[str, list[int]] = {key: [] for key in neighbours()}
    for which, pause in steps:
        table.now += pause
        keys = [neighbours()[i] for i in sorted(which)]
        found = table.take_all(*[Ask(key, 2, TEN) for key in keys])
        for key in keys:
            if all(v.allowed for v in found):
                admitted[key].append(table.now)
            assert sum(at > table.now - TEN for at in admitted[key]) <= 2


# ---------------------------------------------------------------- every algorithm
AHEAD = 100
"""Microseconds that stamps run ahead at most: where charges may be given back each has its own, and a shared bucket has more."""
PLAYS = st.lists(
    st.tuples(
        st.integers(0, 6),
        st.sampled_from([1, 1, 2, 3]),
        st.sampled_from([0, LOOSE, HELD]),
        st.sampled_from([0, 0, 1, SECOND, 4 * SECOND, TEN - AHEAD, TEN]),
        st.integers(0, 5),
    ),
    max_size=30,
)


@pytest.mark.parametrize("algorithm", [a for a in range(6) if a != FIXED], ids=lambda a: NAMES[a])
@settings(max_examples=250, deadline=None)
@given(st.integers(1, 3), PLAYS)
def test_a_full_table_admits_only_what_an_empty_one_would(
    algorithm: int, room: int, plays: list[tuple[int, int, int, int, int]]
) -> None:
    """Settles and lapsed leases included: sharing a bucket refuses earlier, never later.

    Not fixed-window: a window that somebody else began ends sooner. The next test holds what it promises.
    """
    small, large = Table(room), Table(1000)
    subjects = [*neighbours(), "x", "y"]
    given_: list[tuple[Ask, int, int]] = []
    for who, cost, flags, pause, actual in plays:
        small.now = large.now = small.now + pause
        ask = Ask(subjects[who], 4 + who % 2, TEN, cost, 0, algorithm * FLAGS + flags, 4)
        (found,) = small.take_all(ask)
        if found.allowed == 1:
            (alone,) = large.take_all(ask)
            assert alone.allowed == 1
            assert found.remaining <= alone.remaining
            if found.receipt:
                given_.append((ask if algorithm != CONCURRENT else ask._replace(cost=1), found.receipt, alone.receipt))
        if actual > 2 and given_:
            settled, here, there = given_.pop(who % len(given_))
            small.store.call(settle(0, (settled, here, actual - 3)))
            large.store.call(settle(0, (settled, there, actual - 3)))
        assert len(small.store) <= room + 3 * SHARED


@settings(max_examples=250, deadline=None)
@given(PLAYS)
def test_a_full_table_of_fixed_windows_admits_no_more_than_twice_the_quota(plays: list[tuple[int, int, int, int, int]]) -> None:
    table, admitted = Table(1), {key: list[tuple[int, int]]() for key in (*neighbours(), "x", "y")}
    for who, cost, _, pause, _ in plays:
        table.now += pause
        key = list(admitted)[who]
        if table.take_all(Ask(key, 4, TEN, cost, 0, FIXED * FLAGS))[0].allowed == 1:
            admitted[key].append((table.now, cost))
        assert sum(paid for at, paid in admitted[key] if at > table.now - TEN) <= 8


@pytest.mark.parametrize("flags", [LOOSE, HELD])
def test_a_full_table_gives_back_what_is_its_own(flags: int) -> None:
    table = Table(1)
    table.take("holder", 5)
    first, second, *_ = neighbours()
    asks = [Ask(key, 5, TEN, 2, 0, flags) for key in (first, second)]
    (one,), (two,) = table.take_all(asks[0]), table.take_all(asks[1])
    assert (one.remaining, two.remaining) == (3, 1)
    assert list(table.store.call(settle(0, (asks[1], two.receipt, 0)))) == [-2]
    assert list(table.store.call(settle(0, (asks[1], two.receipt, 0)))) == [0]
    assert table.peek(first, 5).remaining == 3
    assert list(table.store.call(settle(0, (asks[0], one.receipt, 0)))) == [-2]
    assert table.peek(first, 5).remaining == 5


def test_a_lease_in_a_full_table_is_renewed() -> None:
    table = Table(1)
    lease = Ask("holder", 1, TEN, 1, 0, CONCURRENT * FLAGS)
    table.take_all(lease)
    late = lease._replace(key=neighbours()[0])
    (found,) = table.take_all(late)
    table.now += TEN - 1
    assert list(table.store.call(Call("renew", (late.key,), (0, found.receipt, 1, TEN)))) == [1]
    table.now += TEN - 1
    assert table.take_all(late)[0].allowed == 2
