"""Interleaved rounds: every contender runs in every round, so that all of them meet the same machine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Final, TypeAlias, TypeVar

from tests.benchmarks.table import Table, middle, spread

T = TypeVar("T")
Check: TypeAlias = Callable[[str], object]
AsyncCheck: TypeAlias = Callable[[str], Awaitable[object]]
Costs: TypeAlias = Mapping[str, Sequence[float]]
COLUMNS: Final = ("us per check", "ratio", "middle half of ratios", "best")


@dataclass(frozen=True, slots=True)
class Scenario:
    """The subjects of one round: `subjects(turn)` names them, in order, one per check."""

    name: str
    subjects: Callable[[int], Sequence[str]]


def spread_out(checks: int) -> Scenario:
    """Each of 2,000 subjects in turn, the same in every round."""
    return Scenario("2,000 subjects in turn", lambda _: [f"ip:10.{n % 2000 // 250}.0.{n % 250}" for n in range(checks)])


def in_a_row(checks: int) -> Scenario:
    """Each subject 200 times in a row, new ones in every round."""
    return Scenario("each subject 200 times in a row", lambda turn: [f"ip:{turn}.{n // 200}.0.1" for n in range(checks)])


def timed(check: Check, subjects: Iterable[str]) -> float:
    """Microseconds per check."""
    began, count = perf_counter(), 0
    for subject in subjects:
        check(subject)
        count += 1
    return (perf_counter() - began) / count * 1e6


def interleaved(contenders: Mapping[str, Check], scenario: Scenario, rounds: int) -> dict[str, list[float]]:
    """Microseconds per check of each contender in each round; the first round warms up and is left out."""
    costs: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        subjects = scenario.subjects(turn)
        for name, check in alternating(contenders, turn):
            cost = timed(check, subjects)
            if turn:
                costs[name].append(cost)
    return costs


def alternating(contenders: Mapping[str, T], turn: int) -> list[tuple[str, T]]:
    """Forwards in odd rounds, backwards in even ones: nobody always follows the same neighbour."""
    listed = list(contenders.items())
    return listed if turn % 2 else listed[::-1]


def compared(title: str, costs: Costs, reference: str) -> Table:
    """Medians, and ratios to the reference of the same round."""
    return Table(title, ("", *COLUMNS), tuple([(name, *_cells(own, costs[reference])) for name, own in costs.items()]))


def _cells(own: Sequence[float], base: Sequence[float]) -> tuple[str, ...]:
    ratios = [mine / theirs for mine, theirs in zip(own, base, strict=True)]
    return middle(own), middle(ratios), spread(ratios), f"{min(own):.2f}"
