"""Judges the second opinion: `python -m tests.simulation.second`. Without a false alert in two weeks, which attacks does it see?"""

from __future__ import annotations

import sys
from heapq import merge
from random import Random

from lockwatch.anomaly.score import Score, Scorer
from tests.simulation.attacks import ATTACKS
from tests.simulation.world import DAY, HOUR, MONDAY, World, ordinary

NAMES = ("A1", "A2", "A3", "A4-60", "A4-1000", "A5-tool", "A6", "A7", "A13", "A14")


def judge(seed: int, users: int = 5000, warm: int = 14, days: int = 14) -> dict[str, tuple[bool, float, float]]:
    """By attack: seen at the threshold that the ordinary days do not pass; its best score; that threshold."""
    world, start = World(seed, users), MONDAY + warm * DAY
    calm = [score for score in _scores(world, None, start, start + days * DAY) if score.hour_us >= start]
    threshold = max(score.value for score in calm)
    found = {}
    for name in NAMES:
        scores = _scores(world, name, start, start + DAY)
        guilty = {
            event.ip for event in ATTACKS[name](world, Random(f"{name} {seed}"), start, start + DAY) if "attack" in event.details
        }
        best = max((score.value for score in scores if score.ip in guilty and score.hour_us >= start - HOUR), default=0.0)
        found[name] = (best > threshold, best, threshold)
    return found


def _scores(world: World, attack: str | None, start: int, end: int) -> list[Score]:
    streams = [ordinary(world, Random(f"warm {world.seed}"), MONDAY, end)]
    if attack:
        streams.append(ATTACKS[attack](world, Random(f"{attack} {world.seed}"), start, end))
    scorer = Scorer()
    scores = [score for event in merge(*streams, key=lambda event: event.time_us) for score in scorer.add(event)]
    return scores + scorer.close()


if __name__ == "__main__":
    for seed in range(int(sys.argv[1]) if len(sys.argv) > 1 else 3):
        for name, (seen, best, threshold) in judge(seed).items():
            print(f"seed {seed} {name:8} {'seen' if seen else '-':5} {best:6.1f} nats, threshold {threshold:.1f}", flush=True)
