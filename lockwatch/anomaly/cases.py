"""Open cases, one per rule: signs come in; what is to be told and done about them goes out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from lockwatch.anomaly.campaign import Campaign, Change, Evidence
from lockwatch.anomaly.case import NAMED, Case, case_of
from lockwatch.anomaly.dossiers import Dossiers
from lockwatch.anomaly.packing import NO_KEY
from lockwatch.anomaly.records import Login
from lockwatch.anomaly.rules import DAY, Settings
from lockwatch.anomaly.steps import Step, step_of

SECOND: Final = 1_000_000
_GROWTH: Final = 2
"""A rule proposes its response again when its case has grown by this factor, and the cool-down has passed."""


class Cases:
    """All open cases, one per rule, and the campaigns they make.

    Args:
        settings: rules by name.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open: dict[str, Case] = {}
        self._dossiers = Dossiers(settings.rules)
        self._number = 0

    def is_open(self, rule: str) -> bool:
        """Whether the rule has a case."""
        return rule in self._open

    def get(self, rule: str) -> Case | None:
        """The open case of a rule."""
        return self._open.get(rule)

    def holder(self, source: bytes) -> str | None:
        """The rule about addresses whose open case has that source."""
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
        """A sign for `rule`: opens its case or adds to it. None when the rule is off."""
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
        """A source logged in as `user`: noted where it belongs to a case."""
        for case in self._open.values():
            if source in case.sources and user not in case.compromised and len(case.compromised) < NAMED:
                case.compromised.append(user)

    def changes(self, now_us: int) -> list[Change]:
        """What is new by now."""
        steps = [step for case in self._open.values() if (step := self._step(case, now_us))]
        changes = self._dossiers.take(steps, self._open, now_us)
        for step in steps:
            if step.kind == "ended":
                del self._open[step.case.rule]
        return changes

    def _step(self, case: Case, now_us: int) -> Step | None:
        rule = self._settings.rules[case.rule]
        if not case.told_us:
            case.detected_us = now_us
            return step_of(case, rule, "begun", now_us)
        if case.over or now_us - case.seen_us >= rule.quiet * SECOND:
            return step_of(case, rule, "ended", now_us)
        past = now_us - case.told_us
        grown = case.attempts >= _GROWTH * case.told_attempts or len(case.compromised) > case.told_compromised
        if (grown and past >= rule.cooldown * SECOND) or (past >= DAY * SECOND and case.seen_us > case.told_us):
            return step_of(case, rule, "grown", now_us)
        if (rule.ban and case.new_sources) or (rule.challenge and case.new_targets and rule.name.endswith(".account")):
            return step_of(case, rule, "joined", now_us)
        case.new_sources, case.new_targets = [], []
        return None

    def campaigns(self, now_us: int) -> list[Campaign]:
        """The open campaigns, as they are known now."""
        return self._dossiers.campaigns(self._open, now_us)

    def dump(self) -> list[object]:
        """Its state."""
        return [self._number, [case.dump() for case in self._open.values()], self._dossiers.dump()]

    def load(self, state: list[Any]) -> None:
        """Take the state that `dump` gave."""
        self._number, cases, dossiers = state
        self._open = {case.rule: case for case in map(case_of, cases)}
        self._dossiers.load(dossiers)
