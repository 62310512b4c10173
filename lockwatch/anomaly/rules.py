"""The table of rules, and the settings of a detector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from lockwatch.errors import ConfigurationError

HOUR: Final = 3600
DAY: Final = 24 * HOUR
SEVERITIES: Final = ("low", "medium", "high", "critical")
"""How bad it is: requests only, somebody is tried, many are, somebody is in."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One row.

    Attributes:
        name: what its campaigns are called.
        signal: what it looks at.
        threshold: how much of it opens a campaign.
        window: seconds: half-life of the counter, or the span of a distinct count.
        cooldown: seconds between two updates of one campaign, at least.
        quiet: seconds without a sign after which a campaign is over.
        false_alarms: campaigns in 30 benign days, as the simulator measured them (docs/detection.md).
        challenge: proposes step-up for novel pairs, for this many seconds; 0 proposes nothing.
        ban: proposes a ban of each source of a rule about addresses, for this many seconds. No rule does until told to.
        dry_run: campaigns are told, nothing is proposed.
        severity: one of `SEVERITIES`. A campaign has that of its worst rule, and the last one when somebody was logged in as.
        reason: for people; ``{observed}``, ``{expected}``, ``{sources}``, ``{targets}`` are filled in.
    """

    name: str
    signal: str
    threshold: float
    window: float
    reason: str
    cooldown: float = HOUR
    quiet: float = 6 * HOUR
    false_alarms: float = 0.0
    challenge: int = 0
    ban: int = 0
    dry_run: bool = False
    severity: str = "medium"

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise ConfigurationError(f"severity={self.severity!r} of rule {self.name!r} is not one of {', '.join(SEVERITIES)}")


RULES: Final[tuple[Rule, ...]] = (
    Rule(
        "burst.address",
        "requests of one address, times the users that logged in from it",
        50,
        10,
        "an address sends {observed:.0f} requests in ten seconds; {expected:.0f} are allowed",
        quiet=60,
        severity="low",
    ),
    Rule(
        "burst.user",
        "requests of one user",
        100,
        10,
        "a user sends {observed:.0f} requests in ten seconds",
        quiet=60,
        severity="low",
    ),
    Rule(
        "burst.route",
        "requests of one route, against its day",
        500,
        10,
        "a route gets {observed:.0f} requests in ten seconds; {expected:.1f} are usual",
        quiet=600,
        dry_run=True,
        severity="low",
    ),
    Rule(
        "failures.address",
        "sequential test of failures against successes of one address",
        20,
        6 * HOUR,
        "{sources} address(es) fail to log in where people succeed ({observed:.0f} failures)",
    ),
    Rule(
        "failures.account",
        "failures of one user from networks new for them",
        20,
        HOUR,
        "somebody guesses the password of {targets} user(s) from a network new for them ({observed:.0f} failures)",
        challenge=HOUR,
    ),
    Rule(
        "stuffing.address",
        "different users failing from one address, against those who succeed",
        12,
        DAY,
        "{sources} address(es) try the passwords of many users ({observed:.0f} users failed, {expected:.0f} succeeded)",
        challenge=HOUR,
    ),
    Rule(
        "stuffing.network",
        "different users failing from several addresses of one network, against those who ever succeeded",
        20,
        DAY,
        "{sources} addresses of one network try the passwords of many users ({observed:.0f} failed, {expected:.0f} ever succeeded)",
        challenge=HOUR,
        severity="high",
    ),
    Rule(
        "spread.account",
        "networks, new for a user, from which they fail",
        8,
        DAY,
        "{targets} user(s) are tried from many networks ({observed:.0f} of them new)",
        challenge=HOUR,
    ),
    Rule(
        "spray",
        "change of the number of addresses with several failing users and no success",
        10,
        DAY,
        "more addresses than usual try several users each ({observed:.0f}, where {expected:.1f} are usual)",
        quiet=7 * DAY,
        challenge=HOUR,
        severity="high",
    ),
    Rule(
        "stuffing.distributed",
        "change of the number of novel (user, network) pairs that fail, by hour of the week",
        8,
        DAY,
        "more users than usual fail from networks they never used ({observed:.0f}, where {expected:.1f} are usual)",
        quiet=7 * DAY,
        false_alarms=0.25,
        challenge=DAY,
        severity="high",
    ),
    Rule(
        "stuffing.tool",
        "sequential test of one client software: novel pairs that fail against successes",
        16,
        7 * DAY,
        "one client software is behind failures from {sources} addresses",
        quiet=DAY,
        false_alarms=0.03,
        challenge=DAY,
        severity="high",
    ),
    Rule(
        "scan.address",
        "different paths of one address that match no route",
        15,
        DAY,
        "{sources} address(es) look for paths that do not exist ({observed:.0f} different ones)",
        severity="low",
    ),
    Rule(
        "enumeration.address",
        "different users of one address that never logged in",
        20,
        DAY,
        "{sources} address(es) ask for users that do not exist ({observed:.0f} different ones)",
    ),
    Rule(
        "token.reuse",
        "refresh tokens presented again after their grace",
        1,
        DAY,
        "a refresh token was used again after it had been replaced: somebody holds a copy ({observed:.0f} times)",
        severity="critical",
    ),
    Rule(
        "key.travel",
        "parts of the network from which one credential is used",
        5,
        600,
        "{targets} session(s) or key(s) are used from {observed:.0f} parts of the network within ten minutes",
        quiet=HOUR,
        severity="critical",
    ),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a `Detector` is made with.

    Attributes:
        rules: by name; `ruled` makes a changed set.
        off: names of rules that are not run; also of a channel of the site (``fresh``, ``settled``, ``cold``, ``fanout``), or
            ``activity``: what is usual then takes no account of how busy the site is.
        sources, accounts, networks: most entries of each table; the least recently used make room and are counted.
        known_bytes: of one generation of the memory of known pairs.
        known_days: how long at least a pair stays known.
        utc_offset: seconds that local time is ahead, for the hour of the week.
    """

    rules: Mapping[str, Rule] = field(default_factory=lambda: MappingProxyType({rule.name: rule for rule in RULES}))
    off: frozenset[str] = frozenset()
    sources: int = 20_000
    accounts: int = 20_000
    networks: int = 20_000
    known_bytes: int = 512 * 1024
    known_days: int = 45
    utc_offset: int = 0


def ruled(changes: Mapping[str, Mapping[str, object]]) -> Mapping[str, Rule]:
    """The rules with some fields changed: ``{"scan.address": {"threshold": 30, "dry_run": True}}``. Raises: ConfigurationError."""
    rules = {rule.name: rule for rule in RULES}
    for name, fields in changes.items():
        if name not in rules:
            raise ConfigurationError(f"there is no rule {name[:60]!r}; a correct one is {next(iter(rules))!r}")
        try:
            rules[name] = replace(rules[name], **fields)  # type: ignore[arg-type]
        except TypeError as error:
            raise ConfigurationError(f"rule {name!r}: {error}; a correct change is {{'threshold': 20}}") from None
    return MappingProxyType(rules)
