"""What processes tell each other about attacks: the same in every store."""

from __future__ import annotations

from typing import NamedTuple

from lockwatch.flow import Call, Reply, words_of
from tests.contract.bench import SECOND, Bench

KEYS = tuple([f"{{watch}}:{part}" for part in ("inbox", "counters", "judge", "state", "news", "pending", "known")])
ONE, OTHER = 11, 22


class Heard(NamedTuple):
    judges: int
    fresh: int
    read: int
    waiting: int
    news: int
    tallies: list[tuple[int, str]]
    words: list[str]


def heard(reply: Reply) -> Heard:
    judges, fresh, read, waiting, news, tallies, told, *numbers = reply
    words = list(words_of(reply))
    state = [words.pop(0)] if fresh else []
    firsts = [(numbers[i * 5], words.pop(0)) for i in range(tallies)]
    assert told * 2 <= len(words)
    return Heard(judges, fresh, read, waiting, news, firsts, [*state, *words])


async def report(
    bench: Bench, me: int = ONE, tally: str = "", read: int = 0, news: int = 0, most: int = 10, room: int = 5
) -> Heard:
    numbers = (bench.now, me, 3 * SECOND, room, read, news, most)
    if tally:
        return heard(await bench.call(Call("report", KEYS, (*numbers, int(tally[1:]), 0, 0, 0, 2**50), words=(tally,))))
    return heard(await bench.call(Call("report", KEYS, numbers)))


async def publish(bench: Bench, *words: str, me: int = ONE, upto: int = 0, items: int = 0, told: int = 0) -> list[int]:
    return list(await bench.call(Call("publish", KEYS, (bench.now, me, upto, items, told), words=words)))


async def test_the_first_judges_and_gets_all_tallies_in_order(bench: Bench) -> None:
    assert await report(bench, ONE, "t1") == Heard(1, 1, 1, 0, 0, [(1, "t1")], ["-"])
    assert await report(bench, OTHER, "t2") == Heard(0, 0, 0, 2, 0, [], [])
    assert await report(bench, ONE, "t3", read=1) == Heard(1, 0, 3, 0, 0, [(2, "t2"), (3, "t3")], [])
    assert await report(bench, ONE, read=3) == Heard(1, 0, 3, 0, 0, [], [])


async def test_another_judges_when_the_first_is_silent_and_goes_on_from_its_state(bench: Bench) -> None:
    for tally in ("t1", "t2", "t3"):
        await report(bench, ONE, tally)
    assert await publish(bench, "state", upto=2) == [1]
    bench.now += 3 * SECOND
    assert await report(bench, OTHER) == Heard(1, 1, 3, 0, 0, [(3, "t3")], ["state"])
    assert await publish(bench, "late", upto=3) == [0]
    assert (await report(bench, ONE)).judges == 0


async def test_what_is_published_is_heard_once_by_each_and_told_until_somebody_did(bench: Bench) -> None:
    await report(bench, ONE)
    assert await publish(bench, "a", "item-a", "b", "item-b", items=2) == [1, 1, 1]
    assert await publish(bench, "a", "item-a", "c", "item-c", items=2) == [1, 0, 1]
    assert (await report(bench, OTHER)).words == ["item-a", "item-b", "item-c"]
    assert (await report(bench, OTHER, news=2)).words == ["item-c"]
    assert await report(bench, OTHER, news=3) == Heard(0, 0, 0, 0, 3, [], [])
    assert await publish(bench, "a", "c", told=2) == [1]
    bench.now += 4 * SECOND
    assert (await report(bench, OTHER, news=3)).words == ["-", "b", "item-b"]


async def test_tallies_come_in_parts_and_the_oldest_make_room(bench: Bench) -> None:
    for n in range(1, 9):
        await report(bench, OTHER, f"t{n}", room=5, most=0)
    bench.now += 4 * SECOND
    first = await report(bench, ONE, most=3)
    assert (first.tallies, first.read, first.waiting) == ([(4, "t4"), (5, "t5"), (6, "t6")], 6, 2)
    second = await report(bench, ONE, read=6, most=3)
    assert (second.tallies, second.read, second.waiting) == ([(7, "t7"), (8, "t8")], 8, 0)


async def test_a_store_that_lost_everything_begins_anew(bench: Bench) -> None:
    await report(bench, ONE, "t1", read=700, news=9)
    found = await report(bench, ONE, "t2", read=701, news=9)
    assert (found.judges, found.read, found.news) == (1, 2, 0)
