"""Open campaigns: signs come in, changes go out, at most one per campaign and cool-down."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from hashlib import blake2s
from typing import Any, Final, Literal

from lockwatch.anomaly.campaign import EVERYONE, Action, Campaign, Change, Evidence
from lockwatch.anomaly.packing import NO_KEY
from lockwatch.anomaly.records import Login
from lockwatch.anomaly.rules import DAY, Rule, Settings

NAMED: Final = 1000
"""Sources, and targets, of one campaign that are named."""
EXAMPLES: Final = 10
SECOND: Final = 1_000_000
_GROWTH: Final = 2
"""A campaign is told again when it has grown by this factor, and the cool-down has passed."""


@dataclass(slots=True)
class Case:
    """A campaign while it is open. Sources and targets are kept by last sign, with their weight."""

    rule: str
    number: int
    started_us: int
    detected_us: int
    told_us: int = 0
    seen_us: int = 0
    attempts: int = 0
    told_attempts: int = 0
    source_count: int = 0
    target_count: int = 0
    sources: dict[bytes, float] = field(default_factory=dict)
    targets: dict[bytes, float] = field(default_factory=dict)
    compromised: list[bytes] = field(default_factory=list)
    told_compromised: int = 0
    evidence: dict[str, list[float]] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)
    over: bool = False
    new_sources: list[bytes] = field(default_factory=list)
    new_targets: list[bytes] = field(default_factory=list)

    def sign(self, at_us: int, source: bytes, target: bytes, attempts: int, example: str) -> None:
        """One more sign of it."""
        self.seen_us = max(self.seen_us, at_us)
        self.started_us = min(self.started_us, at_us)
        self.attempts += attempts
        if _count(self.sources, source, attempts):
            self.source_count += 1
            self.new_sources = [*self.new_sources[-NAMED:], source]
        if _count(self.targets, target, attempts):
            self.target_count += 1
            self.new_targets = [*self.new_targets[-NAMED:], target]
        if example and example not in self.examples and len(self.examples) < EXAMPLES:
            self.examples.append(example)


class Cases:
    """All open campaigns, one per rule, and what is to be told of them.

    Args:
        settings: rules by name.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open: dict[str, Case] = {}
        self._number = 0

    def is_open(self, rule: str) -> bool:
        """Whether the rule has a campaign."""
        return rule in self._open

    def get(self, rule: str) -> Case | None:
        """The open campaign of a rule."""
        return self._open.get(rule)

    def holder(self, source: bytes) -> str | None:
        """The rule about addresses whose open campaign has that source."""
        for rule, case in self._open.items():
            if rule.endswith(".address") and source in case.sources:
                return rule
        return None

    def sign(
        self,
        rule: str,
        at_us: int,
        *,
        source: bytes = NO_KEY,
        target: bytes = NO_KEY,
        attempts: int = 1,
        example: str = "",
        evidence: Iterable[Evidence] = (),
    ) -> Case | None:
        """A sign for `rule`: opens its campaign or adds to it. None when the rule is off."""
        if rule in self._settings.off:
            return None
        case = self._open.get(rule)
        if case is None:
            self._number += 1
            case = self._open[rule] = Case(rule, self._number, at_us, at_us)
        case.sign(at_us, source, target, attempts, example)
        for each in evidence:
            case.evidence[each.signal] = [each.observed, each.expected, each.contribution]
        return case

    def blame(self, rule: str, login: Login, found: Evidence) -> None:
        """A login that failed is a sign for `rule`."""
        attempts, example = login.failures + login.probes, login.example
        self.sign(rule, login.at_us, source=login.address, target=login.user, attempts=attempts, example=example, evidence=[found])

    def breached(self, source: bytes, user: bytes) -> None:
        """A source logged in as `user`: noted where it belongs to a campaign."""
        for case in self._open.values():
            if source in case.sources and user not in case.compromised and len(case.compromised) < NAMED:
                case.compromised.append(user)

    def changes(self, now_us: int) -> list[Change]:
        """What is new by now."""
        found = [change for case in [*self._open.values()] if (change := self._change(case, now_us))]
        for change in found:
            if change.kind == "resolved":
                del self._open[change.campaign.rule]
        return found

    def _change(self, case: Case, now_us: int) -> Change | None:
        rule = self._settings.rules[case.rule]
        if not case.told_us:
            return self._tell(case, rule, "opened", now_us)
        if case.over or now_us - case.seen_us >= rule.quiet * SECOND:
            return self._tell(case, rule, "resolved", now_us)
        past = now_us - case.told_us
        grown = case.attempts >= _GROWTH * case.told_attempts or len(case.compromised) > case.told_compromised
        if (grown and past >= rule.cooldown * SECOND) or (past >= DAY * SECOND and case.seen_us > case.told_us):
            return self._tell(case, rule, "updated", now_us)
        return self._enforce(case, rule, now_us)

    def _tell(self, case: Case, rule: Rule, kind: Literal["opened", "updated", "resolved"], now_us: int) -> Change:
        case.detected_us = case.detected_us if case.told_us else now_us
        case.told_us, case.told_attempts, case.told_compromised = now_us, case.attempts, len(case.compromised)
        campaign = _campaign(case, rule, now_us, resolved=kind == "resolved")
        case.new_sources, case.new_targets = [], []
        if rule.dry_run:
            return Change(campaign, kind)
        alert = Action("alert", "everyone", EVERYONE, 0, campaign.reason)
        return Change(campaign, kind, (alert, *([] if kind == "resolved" else _proposed(campaign, rule))))

    def _enforce(self, case: Case, rule: Rule, now_us: int) -> Change | None:
        """What is proposed for sources and targets that are new since: nothing to tell, but to do."""
        sources, targets = tuple(case.new_sources), tuple(case.new_targets)
        case.new_sources, case.new_targets = [], []
        if rule.dry_run or not ((rule.ban and sources) or (rule.challenge and targets and rule.name.endswith(".account"))):
            return None
        whole = _campaign(case, rule, now_us, resolved=False)
        new = replace(whole, sources=sources, targets=targets)
        told = replace(whole, sources=_before(sources, whole.sources), targets=_before(targets, whole.targets))
        return Change(told, "updated", tuple(_proposed(new, rule)))

    def campaigns(self, now_us: int) -> list[Campaign]:
        """The open campaigns that were told, as they are known now."""
        cases = [case for case in self._open.values() if case.told_us]
        return [_campaign(case, self._settings.rules[case.rule], now_us, resolved=False) for case in cases]

    def dump(self) -> list[object]:
        """Its state."""
        return [self._number, [_fields(case) for case in self._open.values()]]

    def load(self, state: list[Any]) -> None:
        """Take the state that `dump` gave."""
        self._number, cases = state
        self._open = {}
        for fields in cases:
            case = Case(*fields)
            case.sources, case.targets = dict(case.sources), dict(case.targets)
            case.evidence = dict(case.evidence)
            self._open[case.rule] = case


def _count(seen: dict[bytes, float], key: bytes, weight: float) -> bool:
    """Note `key`; whether it is new."""
    if key == NO_KEY:
        return False
    before = seen.pop(key, None)
    if before is None and len(seen) >= NAMED:
        del seen[next(iter(seen))]
    seen[key] = (before or 0) + weight
    return before is None


def _fields(case: Case) -> list[object]:
    values = [getattr(case, name) for name in Case.__slots__]
    return [list(value.items()) if isinstance(value, dict) else value for value in values]


def _campaign(case: Case, rule: Rule, now_us: int, *, resolved: bool) -> Campaign:
    evidence = tuple([Evidence(signal, *values) for signal, values in case.evidence.items()])
    first = evidence[0] if evidence else Evidence(rule.signal, case.attempts, 0, 0)
    words = {"observed": first.observed, "expected": first.expected, "sources": case.source_count, "targets": case.target_count}
    return Campaign(
        id=blake2s(f"{case.rule}:{case.number}:{case.detected_us}".encode(), digest_size=8).hexdigest(),
        rule=case.rule,
        started_us=case.started_us,
        detected_us=case.detected_us,
        updated_us=now_us,
        resolved_us=now_us if resolved else None,
        sources=_first(case.sources),
        targets=_first(case.targets),
        source_count=case.source_count,
        target_count=case.target_count,
        attempts=case.attempts,
        compromised=tuple(case.compromised),
        evidence=evidence or (first,),
        examples=tuple(case.examples),
        reason=rule.reason.format(**words),
        dry_run=rule.dry_run,
    )


def _first(weights: dict[bytes, float]) -> tuple[bytes, ...]:
    return tuple(sorted(weights, key=weights.__getitem__, reverse=True))


def _before(new: tuple[bytes, ...], known: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """`known` with what is new in front."""
    return tuple(dict.fromkeys([*reversed(new), *known]))[:NAMED]


def _proposed(campaign: Campaign, rule: Rule) -> list[Action]:
    return [*_challenges(campaign, rule), *_bans(campaign, rule)]


def _challenges(campaign: Campaign, rule: Rule) -> list[Action]:
    if not rule.challenge:
        return []
    if rule.name.endswith(".account"):
        return [Action("challenge", "user", key, rule.challenge, campaign.reason) for key in campaign.targets]
    return [Action("challenge", "everyone", EVERYONE, rule.challenge, campaign.reason)]


def _bans(campaign: Campaign, rule: Rule) -> list[Action]:
    if not rule.ban or not rule.name.endswith(".address"):
        return []
    return [Action("ban", "address", key, rule.ban, campaign.reason) for key in campaign.sources]
