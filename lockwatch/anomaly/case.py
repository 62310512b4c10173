"""A case: what one rule knows of an attack while it sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2s
from typing import Any, Final

from lockwatch.anomaly.campaign import Evidence, Part
from lockwatch.anomaly.packing import NO_KEY
from lockwatch.anomaly.rules import Rule

NAMED: Final = 1000
"""Sources, and targets, of one campaign that are named."""
EXAMPLES: Final = 10


@dataclass(slots=True)
class Case:
    """Sources and targets are kept by last sign, with their weight."""

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

    @property
    def id(self) -> str:
        """16 hex digits."""
        return blake2s(f"{self.rule}:{self.number}:{self.detected_us}".encode(), digest_size=8).hexdigest()

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

    def part(self, rule: Rule, resolved_us: int | None) -> Part:
        """What it says in the story of a campaign."""
        evidence = tuple([Evidence(signal, *values) for signal, values in self.evidence.items()])
        first = evidence[0] if evidence else Evidence(rule.signal, self.attempts, 0, 0)
        words = {"observed": first.observed, "expected": first.expected, "sources": self.source_count, "targets": self.target_count}
        return Part(
            rule=self.rule,
            detected_us=self.detected_us,
            resolved_us=resolved_us,
            sources=likeliest(self.sources),
            targets=likeliest(self.targets),
            source_count=self.source_count,
            target_count=self.target_count,
            attempts=self.attempts,
            evidence=evidence or (first,),
            reason=rule.reason.format(**words),
        )

    def dump(self) -> list[object]:
        """Its state."""
        values = [getattr(self, name) for name in Case.__slots__]
        return [list(value.items()) if isinstance(value, dict) else value for value in values]


def case_of(state: list[Any]) -> Case:
    """The case that `Case.dump` gave."""
    case = Case(*state)
    case.sources, case.targets, case.evidence = dict(case.sources), dict(case.targets), dict(case.evidence)
    return case


def likeliest(weights: dict[bytes, float]) -> tuple[bytes, ...]:
    """Keys, the heaviest first."""
    return tuple(sorted(weights, key=weights.__getitem__, reverse=True))


def _count(seen: dict[bytes, float], key: bytes, weight: float) -> bool:
    """Note `key`; whether it is new."""
    if key == NO_KEY:
        return False
    before = seen.pop(key, None)
    if before is None and len(seen) >= NAMED:
        del seen[next(iter(seen))]
    seen[key] = (before or 0) + weight
    return before is None
