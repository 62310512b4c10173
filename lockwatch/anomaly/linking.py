"""Whether two cases are plainly the same attack."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from lockwatch.anomaly.case import Case

SITE: Final = frozenset({"spray", "stuffing.distributed", "stuffing.tool"})
"""Rules about the whole site: what they see has many sources."""
_PART: Final = 0.5
_MANY: Final = 3
_TYPICAL: Final = 2.0


def kind_of(rule: str) -> str:
    """What a rule is about: ``requests``, ``credentials`` or ``logins``. Only what is of one kind is one attack."""
    subject = rule.partition(".")[0]
    return "requests" if subject in ("burst", "scan") else "credentials" if subject in ("token", "key") else "logins"


def linked(one: Case, other: Case) -> bool:
    """Whether they share sources or targets, so many that it is no accident.

    Half of the longer list is enough. Half of the shorter one is, if those are three, or if the longer list is of a rule about the
    whole site and they are nothing unusual there: an address that does far more than all others of a slow campaign is another.
    """
    if kind_of(one.rule) != kind_of(other.rule):
        return False
    return _alike(one.targets, other.targets) or _alike(one.sources, other.sources) or _within(one, other)


def _alike(one: Collection[bytes], other: Collection[bytes]) -> bool:
    shared = len(set(one) & set(other))
    return shared > 0 and shared >= _PART * max(len(one), len(other))


def _within(one: Case, other: Case) -> bool:
    few, many = sorted((one, other), key=lambda case: len(case.sources))
    shared = few.sources.keys() & many.sources.keys()
    if not shared or len(shared) < _PART * len(few.sources):
        return False
    return len(shared) >= _MANY or {few.rule, many.rule} <= SITE or (many.rule in SITE and _typical(shared, many.sources))


def _typical(keys: Collection[bytes], weights: Mapping[bytes, float]) -> bool:
    mean = sum(weights.values()) / len(weights)
    return sum([weights[key] for key in keys]) / len(keys) <= _TYPICAL * mean
