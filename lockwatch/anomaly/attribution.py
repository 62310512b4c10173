"""Which failures of an interval belong to the attack (Herley and Schechter 2019: ratios, not labels)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from math import log

from lockwatch.anomaly.packing import NO_KEY
from lockwatch.anomaly.pairs import Failing

_PLACE = 1.5
"""Nats against a network from which somebody else has logged in."""
_DEVICE = 2.0
"""Nats against a pair whose software the user is known by."""


def attribute(failures: Iterable[Failing], usual: float) -> list[Failing]:
    """The failures that more likely belong to the attack than not, when a share `usual` of them would be there without it.

    Known-good pairs are not among `failures`. Software that stands out in them counts for, a network with successes against.
    """
    found = list(failures)
    share = min(max(usual, 0.02), 0.9)
    prior = log((1 - share) / share)
    agents = Counter(each.agent for each in found if each.agent != NO_KEY)
    return [each for each in found if prior + _odds(each, agents, len(found)) > 0]


def _odds(failing: Failing, agents: Counter[bytes], total: int) -> float:
    odds = 0.7
    odds -= _PLACE * failing.place + _DEVICE * (failing.weight < 1)
    if failing.agent != NO_KEY and total >= 8 and agents[failing.agent] >= total / 2:
        odds += 1.0
    return odds
