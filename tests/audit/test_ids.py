"""Ids of rows: in order, and of the time that is meant."""

from __future__ import annotations

import random
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from lockwatch.audit.ids import Ids, spelled

NOW = 1_760_000_000_000_000
SECOND = 1_000_000


def made(times: list[int]) -> list[tuple[int, str, bytes]]:
    ids = Ids(random.Random(1).getrandbits)
    found = [ids.next(time) for time in times]
    return [(timestamp, spelled(high, low), (high << 64 | low).to_bytes(16, "big")) for timestamp, high, low in found]


@given(st.lists(st.integers(-SECOND // 25, SECOND // 25), min_size=1, max_size=60))
def test_a_clock_that_is_set_a_little_keeps_the_order(steps: list[int]) -> None:
    found = made([NOW + step for step in steps])
    assert [raw for *_, raw in found] == sorted({raw for *_, raw in found})
    assert all(UUID(text).version == 7 and UUID(text).bytes == raw for _, text, raw in found)


@given(st.lists(st.sampled_from([0, -3600, 86_400 * 400, -86_400 * 30_000, 7]), min_size=1, max_size=20, unique=True))
def test_what_happened_at_quite_another_time_has_that_time_and_moves_no_other(seconds: list[int]) -> None:
    times = [max(0, NOW + second * SECOND) for second in seconds]
    assert [timestamp for timestamp, *_ in made(times)] == times
