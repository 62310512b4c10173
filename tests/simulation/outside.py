"""Scenarios of another author, as `--also tests.simulation.outside` takes them up."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from lockwatch.event import Event
from tests.simulation.world import HOUR, MINUTE, World, anywhere, login


def lunch(world: World, rng: Random, start_us: int, end_us: int) -> Iterator[Event]:
    """From noon to one, a try each two minutes, each from another address, against people whose names begin alike."""
    for at_us in range(start_us + 12 * HOUR, min(start_us + 13 * HOUR, end_us), 2 * MINUTE):
        yield login(at_us, f"user1{rng.randrange(10)}@example.com", anywhere(rng), "lunch/1", "failure", "lunch")


SCENARIOS = {"lunch": lunch}
