"""Whether two cases are plainly the same attack."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from lockwatch.anomaly.case import Case

BROAD: Final = frozenset({"spray", "stuffing.distributed", "stuffing.tool", "stuffing.network"})
"""Rules about many sources at once, each of which may do little."""
_PART: Final = 0.5
_MANY: Final = 3
_TYPICAL: Final = 2.0


def kind_of(rule: str) -> str:
    """What a rule is about: ``requests``, ``credentials`` or ``logins``. Only what is of one kind is one attack."""
    subject = rule.partition(".")[0]
    return "requests" if subject in ("burst", "scan") else "credentials" if subject in ("token", "key") else "logins"


def linked(one: Case, other: Case) -> bool:
    """Whether they share sources or targets, so many that it is no accident.

    Half of the longer list is enough. Half of the shorter one is, if those are three sources, or if the longer list is of a rule
    about many sources and they are nothing unusual there: who does far more than all others of a slow campaign, or is tried far
    more often, is another attack.
    """
    if kind_of(one.rule) != kind_of(other.rule):
        return False
    few, many = sorted((one, other), key=lambda case: (case.rule in BROAD, len(case.sources)))
    broad, both = many.rule in BROAD, few.rule in BROAD
    if _alike(one.targets, other.targets) or _alike(one.sources, other.sources):
        return True
    sources = few.sources.keys() & many.sources.keys()
    enough = len(sources) >= _MANY or both or (broad and _typical(sources, many.sources))
    if sources and enough and len(sources) >= _PART * min(len(one.sources), len(other.sources)):
        return True
    targets = few.targets.keys() & many.targets.keys()
    return broad and not both and len(targets) >= _PART * len(few.targets) and _typical(targets, many.targets)


def _alike(one: Collection[bytes], other: Collection[bytes]) -> bool:
    shared = len(set(one) & set(other))
    return shared > 0 and shared >= _PART * max(len(one), len(other))


def _typical(keys: Collection[bytes], weights: Mapping[bytes, float]) -> bool:
    if not keys:
        return False
    mean = sum(weights.values()) / len(weights)
    return sum([weights[key] for key in keys]) / len(keys) <= _TYPICAL * mean
