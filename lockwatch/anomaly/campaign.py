"""Campaigns: one story per attack, from the first sign to the last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

EVERYONE: Final = bytes(8)
"""`Action.subject_hash` of a challenge for the novel pairs of all users."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What spoke for it: a signal, how much was seen, how much is usual, and its share of the case in nats."""

    signal: str
    observed: float
    expected: float
    contribution: float


@dataclass(frozen=True, slots=True)
class Action:
    """What a rule proposes; whoever enforces decides whether to.

    Attributes:
        kind: ``challenge`` is for novel (user, network) pairs only.
        about: what `subject_hash` is the key of: ``address``, ``user``, or ``everyone``.
        seconds: how long.
        rule: whose proposal it is; empty for an alert.
    """

    kind: Literal["alert", "challenge", "ban"]
    about: Literal["address", "user", "everyone"]
    subject_hash: bytes
    seconds: int
    reason: str
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """What one rule has to say about a campaign.

    Attributes:
        detected_us: when it joined.
        resolved_us: when it saw no more of it; None while it does.
        sources, targets: keys, the likeliest first.
    """

    rule: str
    detected_us: int
    resolved_us: int | None
    sources: tuple[bytes, ...]
    targets: tuple[bytes, ...]
    source_count: int
    target_count: int
    attempts: int
    evidence: tuple[Evidence, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Campaign:
    """An attack as it is known now. Sources, targets are keys, the likeliest first, at most 1,000 of each are named.

    Attributes:
        id: 16 hex digits; the key by which alerts are told apart.
        rule: the rule that opened it.
        started_us: the first sign, by the change point or the first attempt counted.
        detected_us, updated_us: when it was opened, when it last changed.
        resolved_us: when it ended; None while it goes on.
        sources, targets: addresses, user names.
        source_count, target_count: how many there are at least, also beyond those named.
        attempts: how many attempts count as its own; each once, whatever number of rules saw it.
        compromised: users of whom a source of it logged in successfully.
        evidence: of all parts.
        examples: request ids.
        reason: why, for people.
        dry_run: the rule is on trial: say it, do nothing.
        severity: ``low``, ``medium``, ``high`` or ``critical``.
        parts: the rules that see it, in the order in which they joined.
        merged_into: id of the campaign that it turned out to be part of.
    """

    id: str
    rule: str
    started_us: int
    detected_us: int
    updated_us: int
    resolved_us: int | None
    sources: tuple[bytes, ...]
    targets: tuple[bytes, ...]
    source_count: int
    target_count: int
    attempts: int
    compromised: tuple[bytes, ...]
    evidence: tuple[Evidence, ...]
    examples: tuple[str, ...]
    reason: str
    dry_run: bool = False
    severity: str = "medium"
    parts: tuple[Part, ...] = ()
    merged_into: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """Something new about a campaign.

    It is one alert's worth where `actions` holds an ``alert``. An update without one only says what is to be done about sources
    or targets that came in since, or that a rule proposes its response for longer, or no more.

    Attributes:
        news: what is new, for people.
        ended: rules whose proposals end with this.
        joined: it is about sources or targets that joined since, and nothing else.
    """

    campaign: Campaign
    kind: Literal["opened", "updated", "resolved"]
    actions: tuple[Action, ...] = ()
    news: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()
    joined: bool = False
