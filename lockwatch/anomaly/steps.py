"""What a rule proposes at each step of its case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from lockwatch.anomaly.campaign import EVERYONE, Action
from lockwatch.anomaly.case import Case, likeliest
from lockwatch.anomaly.rules import Rule

Kind = Literal["begun", "grown", "joined", "ended"]
RESPONSES: Final = ("alert", "challenge of users", "challenge of everyone", "ban")
"""What may be proposed, the least first."""


@dataclass(frozen=True, slots=True)
class Step:
    """Something new about a case.

    Attributes:
        kind: ``grown`` proposes the same for longer, ``joined`` for `sources` or `targets` only, which are new since.
    """

    case: Case
    kind: Kind
    sources: tuple[bytes, ...]
    targets: tuple[bytes, ...]
    actions: tuple[Action, ...]


def step_of(case: Case, rule: Rule, kind: Kind, now_us: int) -> Step:
    """The step, which is noted in the case."""
    sources, targets = tuple(case.new_sources), tuple(case.new_targets)
    case.new_sources, case.new_targets = [], []
    if kind != "joined":
        case.told_us, case.told_attempts, case.told_compromised = now_us, case.attempts, len(case.compromised)
    if rule.dry_run or kind == "ended":
        return Step(case, kind, sources, targets, ())
    reason = case.part(rule, None).reason
    if kind == "joined":
        return Step(case, kind, sources, targets, _proposed(rule, sources, targets, reason))
    return Step(case, kind, sources, targets, _proposed(rule, likeliest(case.sources), likeliest(case.targets), reason))


def response_of(rule: Rule) -> str:
    """How far its proposals go, one of `RESPONSES`."""
    if rule.dry_run:
        return RESPONSES[0]
    if rule.ban and rule.name.endswith(".address"):
        return RESPONSES[3]
    return RESPONSES[0] if not rule.challenge else RESPONSES[1] if rule.name.endswith(".account") else RESPONSES[2]


def _proposed(rule: Rule, sources: Sequence[bytes], targets: Sequence[bytes], reason: str) -> tuple[Action, ...]:
    return (*_challenges(rule, targets, reason), *_bans(rule, sources, reason))


def _challenges(rule: Rule, targets: Sequence[bytes], reason: str) -> list[Action]:
    if not rule.challenge:
        return []
    if rule.name.endswith(".account"):
        return [Action("challenge", "user", key, rule.challenge, reason, rule.name) for key in targets]
    return [Action("challenge", "everyone", EVERYONE, rule.challenge, reason, rule.name)]


def _bans(rule: Rule, sources: Sequence[bytes], reason: str) -> list[Action]:
    if not rule.ban or not rule.name.endswith(".address"):
        return []
    return [Action("ban", "address", key, rule.ban, reason, rule.name) for key in sources]
