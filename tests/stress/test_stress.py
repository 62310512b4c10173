"""The long runs, short."""

from __future__ import annotations

import asyncio

import pytest

from tests.stress import fill, keys
from tests.stress.admission import IN_FLIGHT, MODES, QUOTA, Seen, most_at_once, most_in_a_window, race
from tests.stress.adversary import LIMIT, PHASES, Subject, attack, subjects


@pytest.mark.parametrize("name", MODES)
def test_processes_never_get_more_than_the_quota(redis_server: str, name: str) -> None:
    found = race(redis_server, name, 6, 1.5)
    assert found.over == 0
    assert found.admitted > (IN_FLIGHT if name == "concurrent" else QUOTA)


@pytest.mark.parametrize("most", [3000, 200])
def test_many_subjects_in_memory_are_bounded_and_leave_nothing(most: int) -> None:
    row = keys.in_memory(3000, 60.0, most)
    assert not keys.broken(row)
    assert most <= row.kept <= most + keys.SHARED


def test_many_subjects_in_redis_leave_nothing(redis_server: str) -> None:
    # A database of its own: in the other one applications of other tests may say that they live.
    row = keys.in_redis(400, 2.0, redis_server.removesuffix("/0") + "/7")
    assert not keys.broken(row)
    assert row.kept == 400
    assert row.server > 400 * 70


def test_a_row_says_what_there_is_of_each_subject() -> None:
    first, row = keys.Row("Redis", 10, 0, 3000, 1e-4, 10, 10, 0, 0.1), keys.Row("Redis", 20, 0, 4000, 2e-4, 20, 20, 0, 0.2)
    assert keys.line(row, first) == "| Redis | 20 | 0 | 200 | 200.0 | 2.00 | 20 | 0, 0.2 s after it |"
    assert not keys.broken(row)
    assert keys.broken(keys.Row("memory", 10, 0, 0, 1e-6, 12, 11, 0, 0.0))
    assert keys.broken(keys.Row("memory", 10, 0, 0, 1e-6, 10, 10, 1, 0.0))


def test_the_judge_counts_what_is_beyond_doubt() -> None:
    seen = [Seen(0, 5), Seen(3, 4), Seen(9, 11), Seen(10, 10)]
    assert most_in_a_window(seen, 10) == 3
    assert most_in_a_window(seen, 12) == 4
    assert most_at_once([Seen(0, 5), Seen(3, 6), Seen(5, 9)]) == 2


@pytest.mark.parametrize("subject", subjects(), ids=lambda subject: subject.name)
def test_an_adversary_gets_no_more_than_promised(subject: Subject) -> None:
    most = max(attack(subject, phase).most for phase in PHASES[::3])
    assert LIMIT <= most <= subject.promised


def test_a_process_that_is_full_grows_no_more() -> None:
    found = asyncio.run(fill.fill(40, 4, 100))
    assert [step.requests for step in found] == [10, 20, 30, 40]
    assert all(step.blocks > 0 for step in found)
    flat = [fill.Step(n, blocks, 0) for n, blocks in enumerate((100_000, 180_000, 200_000, 201_000))]
    assert not fill.grows(flat)
    assert fill.grows([*flat, fill.Step(5, 240_000, 0)])
