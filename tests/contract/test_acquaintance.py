"""Networks that users logged in from: the same in every store."""

from __future__ import annotations

from lockwatch.flow import Call
from tests.contract.bench import SECOND, Bench

DAY = 86_400 * SECOND


async def acquaint(bench: Bench, network: str, user: str = "alice") -> None:
    await bench.call(Call("acquaint", (f"{{{user}}}:known",), (bench.now, 10 * DAY, 3), words=(network,)))


async def acquainted(bench: Bench, network: str, user: str = "alice") -> int:
    (found,) = await bench.call(Call("acquainted", (f"{{{user}}}:known",), (bench.now, 10 * DAY), words=(network,)))
    return found


async def test_who_logged_in_from_a_network_is_known_there(bench: Bench) -> None:
    assert await acquainted(bench, "home") == 0
    await acquaint(bench, "home")
    assert [await acquainted(bench, n) for n in ("home", "work")] == [1, 0]
    assert await acquainted(bench, "home", "bob") == 0


async def test_it_is_known_until_nobody_came_for_long(bench: Bench) -> None:
    await acquaint(bench, "home")
    bench.now += 9 * DAY
    await acquaint(bench, "work")
    assert [await acquainted(bench, n) for n in ("home", "work")] == [1, 1]
    bench.now += DAY
    assert [await acquainted(bench, n) for n in ("home", "work")] == [0, 1]


async def test_only_the_newest_networks_are_kept(bench: Bench) -> None:
    for network in ("a", "b", "c", "a", "d"):
        bench.now += SECOND
        await acquaint(bench, network)
    assert [await acquainted(bench, n) for n in "abcd"] == [1, 0, 1, 1]
