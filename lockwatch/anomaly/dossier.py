"""One campaign: which rules see it, what they saw before, and what people were told of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any, Final, TypeVar

from lockwatch.anomaly.campaign import Campaign, Evidence, Part
from lockwatch.anomaly.case import EXAMPLES, NAMED, Case, likeliest
from lockwatch.anomaly.rules import SEVERITIES, Rule
from lockwatch.anomaly.steps import RESPONSES, Step, response_of

T = TypeVar("T")
_MAGNITUDE: Final = 10
"""Times the sources, or targets, of which people were told before."""
_TAKEN: Final = 2
"""Times the users who were logged in as, likewise."""
_SECOND: Final = 1_000_000


@dataclass(slots=True)
class Told:
    """What people know: ranks of severity and response, numbers of sources, targets and users who were logged in as."""

    severity: int = 0
    response: int = 0
    sources: int = 0
    targets: int = 0
    compromised: int = 0


@dataclass(slots=True)
class Dossier:
    """A campaign while it is open.

    Attributes:
        rules: whose cases are open.
        past: what rules had to say whose cases are closed, by rule.
        told_us: when people were told last; 0 for never.
    """

    id: str
    rule: str
    started_us: int
    detected_us: int
    dry_run: bool
    told_us: int = 0
    told: Told = field(default_factory=Told)
    rules: list[str] = field(default_factory=list)
    past: dict[str, Part] = field(default_factory=dict)
    sources: dict[bytes, float] = field(default_factory=dict)
    targets: dict[bytes, float] = field(default_factory=dict)
    compromised: list[bytes] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)

    def close(self, case: Case, rule: Rule, now_us: int) -> None:
        """The case of a rule is over. What it said stays part of the story."""
        self.rules.remove(case.rule)
        self._remember(case.part(rule, now_us))
        self.started_us = min(self.started_us, case.started_us)
        self._keep(case.sources, case.targets, case.compromised, case.examples)

    def absorb(self, other: Dossier) -> None:
        """The other one turned out to be about the same attack."""
        self.rules += other.rules
        self.started_us = min(self.started_us, other.started_us)
        for part in other.past.values():
            self._remember(part)
        self._keep(other.sources, other.targets, other.compromised, other.examples)

    def _remember(self, part: Part) -> None:
        before = self.past.get(part.rule)
        self.past[part.rule] = part if before is None else _continued(before, part)

    def _keep(
        self, sources: Mapping[bytes, float], targets: Mapping[bytes, float], compromised: Iterable[bytes], examples: Iterable[str]
    ) -> None:
        self.sources = _heaviest([self.sources, sources])
        self.targets = _heaviest([self.targets, targets])
        self.compromised = _different([*self.compromised, *compromised], NAMED)
        self.examples = _different([*self.examples, *examples], EXAMPLES)

    def news(self, rules: Mapping[str, Rule], cases: Mapping[str, Case], now_us: int) -> tuple[str, ...]:
        """What people should be told by now that they were not, in words: it became worse, and the cool-down has passed."""
        if now_us - self.told_us < max([rules[name].cooldown for name in self.rules]) * _SECOND:
            return ()
        now, told, found = self._state(rules, cases), self.told, []
        if now.severity > told.severity:
            found.append(f"severity rises from {SEVERITIES[told.severity]} to {SEVERITIES[now.severity]}")
        if now.response > told.response:
            found.append(f"a {RESPONSES[now.response]} is proposed")
        if now.sources >= _MAGNITUDE * max(told.sources, 1):
            found.append(f"{now.sources} sources, {told.sources} before")
        if now.targets >= _MAGNITUDE * max(told.targets, 1):
            found.append(f"{now.targets} targets, {told.targets} before")
        if now.compromised >= max(_TAKEN * told.compromised, 1):
            found.append(f"{now.compromised} users were logged in as, {told.compromised} before")
        return tuple(found)

    def tell(self, rules: Mapping[str, Rule], cases: Mapping[str, Case], now_us: int) -> None:
        """People are told of it as it is now."""
        self.told_us, self.told = now_us, self._state(rules, cases)

    def _state(self, rules: Mapping[str, Rule], cases: Mapping[str, Case]) -> Told:
        mine, past = [cases[name] for name in self.rules], self.past.values()
        return Told(
            severity=SEVERITIES.index(self._severity(rules, cases)),
            response=max([RESPONSES.index(response_of(rules[name])) for name in (*self.rules, *self.past)]),
            sources=max([*[case.source_count for case in mine], *[part.source_count for part in past]]),
            targets=max([*[case.target_count for case in mine], *[part.target_count for part in past]]),
            compromised=len(self._compromised(mine)),
        )

    def _severity(self, rules: Mapping[str, Rule], cases: Mapping[str, Case]) -> str:
        if self._compromised([cases[name] for name in self.rules]):
            return SEVERITIES[-1]
        return max([rules[name].severity for name in (*self.rules, *self.past)], key=SEVERITIES.index)

    def _compromised(self, cases: Iterable[Case]) -> list[bytes]:
        return _different([*self.compromised, *[user for case in cases for user in case.compromised]], NAMED)

    def _parts(self, rules: Mapping[str, Rule], cases: Sequence[Case]) -> tuple[Part, ...]:
        found = dict(self.past)
        for case in cases:
            part = case.part(rules[case.rule], None)
            before = found.get(case.rule)
            found[case.rule] = part if before is None else _continued(before, part)
        return tuple(sorted(found.values(), key=lambda part: (part.rule != self.rule, part.detected_us)))

    def campaign(
        self,
        rules: Mapping[str, Rule],
        cases: Mapping[str, Case],
        now_us: int,
        *,
        resolved: bool,
        front: Sequence[Step] = (),
        into: str = "",
    ) -> Campaign:
        """The whole story. `front`: whose new sources and targets go ahead of all others."""
        mine = [cases[name] for name in self.rules]
        parts = self._parts(rules, mine)
        sources = _heaviest([self.sources, *[case.sources for case in mine]])
        targets = _heaviest([self.targets, *[case.targets for case in mine]])
        joined = [step for step in front if step.kind == "joined"]
        return Campaign(
            id=self.id,
            rule=self.rule,
            started_us=min([self.started_us, *[case.started_us for case in mine]]),
            detected_us=self.detected_us,
            updated_us=now_us,
            resolved_us=now_us if resolved else None,
            sources=_ahead([key for step in joined for key in step.sources], likeliest(sources)),
            targets=_ahead([key for step in joined for key in step.targets], likeliest(targets)),
            source_count=max([len(sources), *[part.source_count for part in parts]]),
            target_count=max([len(targets), *[part.target_count for part in parts]]),
            attempts=max([round(sum(sources.values())), *[part.attempts for part in parts]]),
            compromised=tuple(self._compromised(mine)),
            evidence=tuple([each for part in parts for each in part.evidence]),
            examples=tuple(_different([*self.examples, *[each for case in mine for each in case.examples]], EXAMPLES)),
            reason=_reason(parts),
            dry_run=self.dry_run,
            severity=self._severity(rules, cases),
            parts=parts,
            merged_into=into,
        )

    def dump(self) -> list[object]:
        """Its state."""
        past = [astuple(part) for part in self.past.values()]
        plain = [self.id, self.rule, self.started_us, self.detected_us, self.dry_run, self.told_us, astuple(self.told), self.rules]
        return [*plain, past, [*self.sources.items()], [*self.targets.items()], self.compromised, self.examples]


def dossier_of(state: list[Any]) -> Dossier:
    """The dossier that `Dossier.dump` gave."""
    *plain, told, rules, past, sources, targets, compromised, examples = state
    dossier = Dossier(*plain)
    dossier.told, dossier.rules, dossier.past = Told(*told), rules, {part.rule: part for part in map(_part_of, past)}
    dossier.sources, dossier.targets = dict(sources), dict(targets)
    dossier.compromised, dossier.examples = compromised, examples
    return dossier


def _part_of(state: list[Any]) -> Part:
    rule, detected_us, resolved_us, sources, targets, source_count, target_count, attempts, evidence, reason = state
    seen = tuple([Evidence(*each) for each in evidence])
    return Part(rule, detected_us, resolved_us, tuple(sources), tuple(targets), source_count, target_count, attempts, seen, reason)


def _continued(before: Part, part: Part) -> Part:
    """A rule sees again what it saw before."""
    return Part(
        rule=part.rule,
        detected_us=before.detected_us,
        resolved_us=part.resolved_us,
        sources=tuple(_different([*part.sources, *before.sources], NAMED)),
        targets=tuple(_different([*part.targets, *before.targets], NAMED)),
        source_count=max(before.source_count, part.source_count),
        target_count=max(before.target_count, part.target_count),
        attempts=before.attempts + part.attempts,
        evidence=part.evidence,
        reason=part.reason,
    )


def _heaviest(tables: Iterable[Mapping[bytes, float]]) -> dict[bytes, float]:
    """Keys of all tables with the largest weight in any: the same attempts, seen by several rules. At most `NAMED` of them."""
    found: dict[bytes, float] = {}
    for table in tables:
        for key, weight in table.items():
            found[key] = max(found.get(key, 0.0), weight)
    return found if len(found) <= NAMED else {key: found[key] for key in likeliest(found)[:NAMED]}


def _different(items: Iterable[T], most: int) -> list[T]:
    return list(dict.fromkeys(items))[:most]


def _ahead(first: Sequence[bytes], known: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return tuple(_different([*reversed(first), *known], NAMED))


def _reason(parts: Sequence[Part]) -> str:
    first, *others = parts
    return f"{first.reason}; {', '.join([part.rule for part in others])} see it, too" if others else first.reason
