"""Bans: the same in every store."""

from __future__ import annotations

import pytest

from lockwatch.flow import Call, words_of
from tests.contract.bench import SECOND, Bench

KEYS = ("{bans}:records", "{bans}:order", "{bans}:due")
HOUR, DAY = 3600 * SECOND, 86_400 * SECOND
RULE, SET, LIFT = 0, 1, 2


async def ban(bench: Bench, name: str, how: int = RULE, seconds: int = 60, room: int = 100, says: str = "") -> tuple[int, ...]:
    numbers = (bench.now, how, seconds * SECOND, 200, HOUR, DAY, room, 7)
    left, times, changed = await bench.call(Call("ban", KEYS, numbers, words=(name, says or f"says-{name}")))
    return left // SECOND, times, changed


async def heard(bench: Bench, mark: int = 0, after: int = 0, most: int = 50) -> tuple[tuple[int, ...], list[tuple[str, int, int]]]:
    reply = await bench.call(Call("bans", KEYS, (bench.now, mark, after, most)))
    changes = [(word, reply[3 + i * 3] // SECOND, reply[5 + i * 3]) for i, word in enumerate(words_of(reply))]
    return tuple(reply[:3]), changes


async def test_there_are_none_at_first(bench: Bench) -> None:
    assert await heard(bench) == ((0, 0, 0), [])


async def test_a_ban_is_heard_once_by_whom_knows_the_rest(bench: Bench) -> None:
    assert await ban(bench, "a") == (60, 1, 1)
    assert await ban(bench, "b", SET, 5) == (5, 1, 1)
    assert await heard(bench) == ((7, 2, 0), [("says-a", 60, 1), ("says-b", 5, 1)])
    assert await heard(bench, 7, 1) == ((7, 2, 0), [("says-b", 5, 1)])
    assert await heard(bench, 7, 2) == ((7, 2, 0), [])
    bench.now += 6 * SECOND
    assert (await heard(bench))[1] == [("says-a", 54, 1), ("says-b", 0, 1)]


async def test_another_mark_tells_everything_anew(bench: Bench) -> None:
    await ban(bench, "a")
    assert await heard(bench, 8, 5) == ((7, 1, 0), [("says-a", 60, 1)])


async def test_a_lift_is_a_change_and_begins_anew(bench: Bench) -> None:
    await ban(bench, "a")
    assert await ban(bench, "a", LIFT) == (0, 0, 1)
    assert await ban(bench, "a", LIFT) == (0, 0, 0)
    assert (await heard(bench))[1] == [("says-a", 0, 0)]
    assert await ban(bench, "a") == (60, 1, 1)


async def test_who_comes_back_is_banned_for_longer_up_to_a_bound(bench: Bench) -> None:
    found = []
    for _ in range(8):
        left, times, _ = await ban(bench, "a")
        found.append((left, times))
        bench.now += left * SECOND
    assert found == [(60, 1), (120, 2), (240, 3), (480, 4), (960, 5), (1920, 6), (3600, 7), (3600, 8)]
    bench.now += DAY + SECOND
    assert await ban(bench, "a") == (60, 1, 1)


async def test_several_reasons_at_once_are_one_ban(bench: Bench) -> None:
    await ban(bench, "a", seconds=60)
    bench.now += 10 * SECOND
    assert await ban(bench, "a", seconds=20) == (50, 1, 0)
    assert await ban(bench, "a", seconds=90) == (90, 1, 1)


async def test_an_operator_may_shorten_a_ban(bench: Bench) -> None:
    await ban(bench, "a", SET, 600)
    assert await ban(bench, "a", SET, 5) == (5, 1, 1)


async def test_a_full_list_forgets_what_ends_first(bench: Bench) -> None:
    for i in range(5):
        await ban(bench, f"n{i}", SET, 100 + (i - 1) ** 2, room=3)
    (_, _, more), changes = await heard(bench)
    assert more == 0
    assert len(changes) == 3
    assert "says-n4" in [word for word, _, _ in changes]


@pytest.mark.parametrize("most", [1, 2, 7])
async def test_many_changes_come_in_parts(bench: Bench, most: int) -> None:
    for i in range(7):
        await ban(bench, f"n{i}")
    mark, after, more, got = 0, 0, 1, []
    while more:
        (mark, after, more), changes = await heard(bench, mark, after, most)
        got += [word for word, _, _ in changes]
    assert got == [f"says-n{i}" for i in range(7)]
    assert (mark, after) == (7, 7)


async def test_what_is_over_is_forgotten_in_the_end(bench: Bench) -> None:
    await ban(bench, "a")
    bench.now += DAY + 61 * SECOND
    await ban(bench, "b")
    assert [word for word, _, _ in (await heard(bench))[1]] == ["says-b"]
