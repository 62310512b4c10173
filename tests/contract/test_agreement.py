"""Stores against an oracle: a list of everything ever admitted, in exact fractions of seconds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import accumulate
from typing import NamedTuple

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from lockwatch.flow import Call, Reply
from lockwatch.stores.connect import address_of
from lockwatch.stores.memory import MemoryStore
from lockwatch.stores.redis_sync import RedisStore
from tests.contract.bench import PATIENT, SECOND, START, Ask, Line, admit, fake

KEYS = ("a", "b", "c")
SPANS = (3 * SECOND, 7 * SECOND, 10 * SECOND)
PAUSES = (0, 1, SECOND, 2_999_999, 3_000_000, 6_999_999, 7_000_000, 10_000_000, 10_000_001)
NEVER = -1


class Step(NamedTuple):
    """Some time passes; then some buckets are asked at once."""

    pause: int
    asks: tuple[Ask, ...]


COSTS = (1, 1, 2, 0)
QUOTAS = (2, 3, 1, 4, 6, 0)


def history(text: bytes) -> list[Step]:
    """Four bytes become a step: how long before it, which buckets, what each costs, and a limit that changes now and then."""
    steps = []
    quotas = [2, 3, 4]
    for pause, which, costs, other in zip(*[iter(text)] * 4, strict=False):
        if other % 8 == 1:
            quotas[other // 8 % 3] = QUOTAS[other // 24 % 6]
        chosen = [i for i in range(3) if which >> i & 1] or [which % 3]
        shadow = other // 16 if other % 8 == 2 else 0
        asks = [Ask(KEYS[i], quotas[i], SPANS[i], COSTS[costs >> 2 * i & 3], shadow >> i & 1) for i in chosen]
        steps.append(Step(PAUSES[pause % 32] if pause % 32 < len(PAUSES) else pause * 10_009, tuple(asks)))
    return steps


HISTORIES = st.binary(min_size=16, max_size=48).map(history)


def calls_of(steps: Sequence[Step]) -> list[Call]:
    now, calls = START, []
    for step in steps:
        now += step.pause
        calls.append(admit(now, *step.asks))
    return calls


# -------------------------------------------------------------------- the oracle
class Log:
    """Everything one bucket ever admitted. It forgets nothing and is clever about nothing."""

    def __init__(self, span: int) -> None:
        self.span = Fraction(span, SECOND)
        self.admitted: list[tuple[Fraction, int, int]] = []

    def used(self, now: Fraction) -> int:
        """What counts at `now`: admitted less than a window ago."""
        horizon = now - self.span
        return sum(cost for at, cost, _ in self.admitted if at > horizon)

    def judge(self, now: Fraction, quota: int, cost: int) -> list[int]:
        """The six numbers of a reply; nothing is given back here."""
        used = self.used(now)
        horizon = now - self.span
        counting = [at for at, _, _ in self.admitted if at > horizon]
        reset = counting[-1] + self.span - now if counting else Fraction(0)
        following = counting[0] + self.span - now if counting else Fraction(0)
        fits = cost == 0 or used + cost <= quota
        retry = Fraction(0) if fits else self._wait(now, counting, quota, cost)
        return [int(fits), max(0, quota - used), *map(microseconds, (retry, reset, following)), 0]

    def _wait(self, now: Fraction, counting: Sequence[Fraction], quota: int, cost: int) -> Fraction:
        """Until the first moment at which something expires and it fits."""
        for at in counting:
            if self.used(at + self.span) + cost <= quota:
                return at + self.span - now
        return Fraction(NEVER, SECOND)

    def check(self) -> None:
        """No window of any position holds more than the quota of its last moment, nor than the largest there was."""
        most = max((quota for _, _, quota in self.admitted), default=0)
        for moment, _, _ in self.admitted:
            before, after = moment - self.span, moment + self.span
            quota = max(quota for at, _, quota in self.admitted if at == moment)
            assert sum(cost for at, cost, _ in self.admitted if before < at <= moment) <= quota
            assert sum(cost for at, cost, _ in self.admitted if moment <= at < after) <= most


def microseconds(seconds: Fraction) -> int:
    exact = seconds * SECOND
    assert exact.denominator == 1
    return exact.numerator


def expected(steps: Sequence[Step]) -> Iterator[list[int]]:
    """What a store has to answer, call by call. Whoever answers the same has admitted the same, and no window holds too much."""
    logs = {key: Log(span) for key, span in zip(KEYS, SPANS, strict=True)}
    now = Fraction(START, SECOND)
    for step in steps:
        now += Fraction(step.pause, SECOND)
        found = [logs[ask.key].judge(now, ask.quota, ask.cost) for ask in step.asks]
        if all(verdict[0] or ask.shadow for verdict, ask in zip(found, step.asks, strict=True)):
            for i, ask in enumerate(step.asks):
                if found[i][0] and ask.cost:
                    logs[ask.key].admitted.append((now, ask.cost, ask.quota))
                    found[i] = logs[ask.key].judge(now, ask.quota, 0)
        yield [number for verdict in found for number in verdict]
    for log in logs.values():
        log.check()


# ---------------------------------------------------------------------- the tests
@pytest.fixture
def line(redis_server: str) -> Iterator[Line]:
    made = Line(redis_server)
    yield made
    made.close()


def in_memory(calls: Sequence[Call]) -> list[Reply]:
    store = MemoryStore()
    return [list(store.call(call)) for call in calls]


def on_redis(line: Line, calls: Sequence[Call]) -> list[Reply]:
    replies = line.call([Call("reset", KEYS, ()), *calls])
    return [reply for reply in replies[1:] if not isinstance(reply, Exception)]


@pytest.mark.parametrize("part", range(4))
@settings(max_examples=2500, deadline=None, database=None)
@given(HISTORIES)
def test_memory_and_redis_agree_with_the_oracle(line: Line, part: int, steps: list[Step]) -> None:
    calls, wanted = calls_of(steps), list(expected(steps))
    for place, found in (("memory", in_memory(calls)), ("redis", on_redis(line, calls))):
        note(f"{place}: {found}")
        assert found == wanted


@settings(max_examples=150, deadline=None, database=None)
@given(HISTORIES)
def test_fakeredis_agrees_with_the_oracle(steps: list[Step]) -> None:
    store = RedisStore(address_of(fake("FakeRedis")), PATIENT)
    assert [store.call(call) for call in calls_of(steps)] == list(expected(steps))
    store.close()


FORWARD = (0, 1, SECOND, 3 * SECOND, 7 * SECOND, 60 * SECOND)
BACKWARD = (-1, -SECOND, -3 * SECOND, -7 * SECOND - 1, -60 * SECOND)
WIDE = (*SPANS, 1000, 2000 * SECOND, 3600 * 86_400 * SECOND)


def wild(keys: Sequence[str], pauses: Sequence[int]) -> st.SearchStrategy[list[Call]]:
    """Calls under limits, costs and windows that change all the time."""
    ask = st.tuples(
        st.sampled_from(keys),
        st.sampled_from([0, 1, 2, 5, 20_000, 2**40]),
        st.sampled_from(WIDE),
        st.sampled_from([0, 1, 1, 2, 5, 19_999, 2**39]),
        st.integers(0, 1),
    )
    asks = st.lists(ask, min_size=1, max_size=len(keys), unique_by=lambda a: a[0])
    step = st.tuples(st.sampled_from(pauses), st.sampled_from(["admit", "admit", "peek"]), asks)

    def timed(steps: list[tuple[int, str, list[tuple[str, int, int, int, int]]]]) -> list[Call]:
        times = accumulate((pause for pause, _, _ in steps), initial=START)
        return [admit(now, *[Ask(*a) for a in found], script=script) for now, (_, script, found) in zip(times, steps, strict=False)]

    return st.lists(step, max_size=10).map(timed)


@settings(max_examples=600, deadline=None, database=None)
@given(wild(KEYS, FORWARD))
def test_memory_and_redis_agree_whatever_limits_do(line: Line, calls: list[Call]) -> None:
    assert in_memory(calls) == on_redis(line, calls)


@settings(max_examples=600, deadline=None, database=None)
@given(wild(KEYS[:1], FORWARD + BACKWARD))
def test_memory_and_redis_agree_whatever_the_clock_does(line: Line, calls: list[Call]) -> None:
    assert in_memory(calls) == on_redis(line, calls)


@settings(max_examples=40, deadline=None, database=None)
@given(st.integers(1, 60), st.lists(st.tuples(st.integers(1, 5), st.integers(0, SECOND // 4)), min_size=50, max_size=150))
def test_memory_and_redis_agree_over_long_histories(line: Line, quota: int, steps: list[tuple[int, int]]) -> None:
    now, calls = START, []
    for cost, pause in steps:
        now += pause
        calls.append(admit(now, Ask("a", quota, SPANS[2], cost)))
    asks = [Step(pause, (Ask("c", quota, SPANS[2], cost),)) for cost, pause in steps]
    found = in_memory(calls)
    assert found == on_redis(line, calls)
    assert found == list(expected(asks))
