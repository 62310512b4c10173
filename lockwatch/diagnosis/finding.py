"""Findings: what is wrong, where, and the line that mends it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from lockwatch.diagnosis.catalogue import CATALOGUE

Severity: TypeAlias = Literal["error", "warning"]
_ORDER: Final = ("error", "warning")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong.

    Attributes:
        code: what kind of thing, ``area.word``; it stays the same from release to release.
        what: what is wrong.
        where: the option, variable, file, server or route.
        change: the line that mends it.
    """

    code: str
    what: str
    where: str
    change: str

    def __post_init__(self) -> None:
        if self.code not in CATALOGUE:
            raise ValueError(f"{self.code!r} is in no catalogue")

    @property
    def severity(self) -> Severity:
        """``error``: somebody is let in, locked out or lost; ``warning``: that may come."""
        return CATALOGUE[self.code].severity


@dataclass(frozen=True, slots=True)
class Area:
    """A part of a set-up that was looked at.

    Attributes:
        name: ``store``, ``keys`` and so on.
        summary: what was seen.
        findings: what is wrong with it.
    """

    name: str
    summary: str
    findings: tuple[Finding, ...] = ()

    @property
    def state(self) -> str:
        """``ok``, ``warning`` or ``error``: the worst of its findings."""
        return next((s for s in _ORDER if any(f.severity == s for f in self.findings)), "ok")

    def without(self, codes: Collection[str]) -> Area:
        """The same without findings of some kinds."""
        return replace(self, findings=tuple([finding for finding in self.findings if finding.code not in codes]))


def counted(number: int, what: str) -> str:
    """``1 route``, ``2 routes``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def worst_first(areas: Iterable[Area]) -> list[Finding]:
    """All findings, errors first."""
    found = [finding for area in areas for finding in area.findings]
    return sorted(found, key=lambda finding: _ORDER.index(finding.severity))
