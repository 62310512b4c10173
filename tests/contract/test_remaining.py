"""What is left of a quota while the clock stands still: it only ever gets less."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockwatch.stores.memory import MemoryStore
from tests.contract.bench import FLAGS, GCRA, NAMES, SECOND, START, Ask, Bench, admit, verdicts

QUOTA = 20
MOMENTS = st.lists(st.tuples(st.integers(0, 3 * SECOND), st.lists(st.integers(0, 6), min_size=1, max_size=12)), max_size=12)


def ask(algorithm: int, cost: int) -> Ask:
    return Ask("k", QUOTA, 5 * SECOND, cost, 0, algorithm * FLAGS, QUOTA if algorithm == GCRA else 0)


@pytest.mark.parametrize("algorithm", range(5), ids=NAMES[:5])
@given(moments=MOMENTS)
def test_what_is_left_never_grows_at_one_clock_reading(algorithm: int, moments: list[tuple[int, list[int]]]) -> None:
    store, now = MemoryStore(), START
    for pause, costs in moments:
        now += pause
        found = [verdicts(store.call(admit(now, ask(algorithm, cost))))[0] for cost in costs]
        left = [verdict.remaining for verdict in found]
        assert left == sorted(left, reverse=True)
        assert left[-1] >= 0


@pytest.mark.parametrize("algorithm", range(5), ids=NAMES[:5])
async def test_nor_does_it_on_a_server(real: Bench, algorithm: int) -> None:
    for _ in range(4):
        left = [(await real.ask(ask(algorithm, cost))).remaining for cost in (3, 0, 5, 9, 1, 6, 2, 2)]
        assert left == sorted(left, reverse=True)
        real.now += 2 * SECOND
