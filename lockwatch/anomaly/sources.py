"""Rules about one address: guessing, stuffing, enumeration, scans, bursts."""

from __future__ import annotations

from typing import Any, Final

from lockwatch.anomaly.campaign import Evidence
from lockwatch.anomaly.cases import Cases
from lockwatch.anomaly.packing import NO_KEY
from lockwatch.anomaly.pairs import Sight
from lockwatch.anomaly.records import Login
from lockwatch.anomaly.records import Source as Seen
from lockwatch.anomaly.rules import Settings
from lockwatch.anomaly.signals import SECOND, Fading, Table
from lockwatch.anomaly.sketch import Registers

# Nats for "an attacker" (of whose attempts 95 % fail) against "people" (of whose 12 % do), by what is known of the pair.
NOVEL: Final = 2.1
AGAIN: Final = 1.0
TRAVELLER: Final = 0.5
TRAVELLER_AGAIN: Final = 0.04
FAMILIAR: Final = 0.5
GOOD: Final = -2.9
GOOD_AGAIN: Final = -0.3
CROWD: Final = 24
"""Users who succeeded from one address, from which on it is an office: the registers no longer tell a new one from a known."""
FANOUT: Final = 3
"""Users that failed from one address without one success, which make it a fan-out."""


_SLIGHT: Final = 3.0
"""Nats that a state is not worth keeping for."""


class Source:
    """What is known of one address, in about 300 bytes."""

    __slots__ = ("attempts", "evidence", "failing", "good", "last", "load", "misses", "paths", "requests", "since_us", "unknown")

    def __init__(self) -> None:
        self.evidence = Fading()
        self.load = Fading()
        self.failing: Registers | None = None
        self.good: Registers | None = None
        self.unknown: Registers | None = None
        self.paths: Registers | None = None
        self.last = NO_KEY
        self.since_us = self.attempts = self.requests = self.misses = 0

    def renew(self, now_us: int, window: float) -> None:
        """Forget the different things of the window before."""
        if now_us - self.since_us >= window * SECOND:
            self.failing = self.good = self.unknown = self.paths = None
            self.since_us, self.attempts, self.requests, self.misses = now_us, 0, 0, 0

    def matters(self) -> bool:
        """Whether more is known than that somebody was here: most addresses are one person's, seen once."""
        different = [len(each) for each in (self.failing, self.good, self.paths) if each is not None]
        return self.evidence.value >= _SLIGHT or any(count >= FANOUT for count in different)

    def dump(self) -> list[Any]:
        """Its state."""
        sketches = [each and each.dump() for each in (self.failing, self.good, self.unknown, self.paths)]
        plain = [self.last, self.since_us, self.attempts, self.requests, self.misses]
        return [self.evidence.value, self.evidence.at_us, *sketches, *plain]


def source_of(state: list[Any]) -> Source:
    """The source that `Source.dump` gave."""
    source = Source()
    source.evidence = Fading(*state[:2])
    source.failing, source.good, source.unknown, source.paths = [raw and Registers(raw=raw) for raw in state[2:6]]
    source.last, source.since_us, source.attempts, source.requests, source.misses = state[6:]
    return source


class Sources:
    """The table of addresses, and its rules.

    Args:
        settings: rules and bounds.
        cases: where signs go.
    """

    def __init__(self, settings: Settings, cases: Cases) -> None:
        self._rules = settings.rules
        self._cases = cases
        self.table: Table[Source] = Table(settings.sources, Source)

    def login(self, login: Login, sight: Sight, *, outage: bool, ready: bool) -> bool:
        """Take a login; True when the address has just become a fan-out. Nothing is counted against anybody in an outage."""
        if login.address == NO_KEY:
            return False
        source = self.table.touch(login.address)
        source.renew(login.at_us, self._rules["stuffing.address"].window)
        before = len(source.failing or ())
        if login.successes:
            self._succeed(source, login)
        if (login.failures or login.probes) and not outage:
            self._fail(source, login, sight, ready=ready)
            self._judge(source, login)
        after = len(source.failing or ())
        return before < FANOUT <= after and not source.good

    def _succeed(self, source: Source, login: Login) -> None:
        source.good = good = source.good or Registers(32)
        known = len(good)
        good.add(login.user)
        weight = GOOD if len(good) > known or known >= CROWD else GOOD_AGAIN
        span = self._rules["failures.address"].window
        source.evidence.value = max(0.0, source.evidence.add(weight, login.at_us, span))

    def _fail(self, source: Source, login: Login, sight: Sight, *, ready: bool) -> None:
        count = login.failures + login.probes
        source.attempts += count
        first, more = _weights(sight)
        repeated = login.user == source.last
        source.last = login.user
        weight = more * count if repeated else first + more * (count - 1)
        source.evidence.add(weight, login.at_us, self._rules["failures.address"].window)
        if not sight.familiar and not sight.device:
            source.failing = source.failing or Registers(64)
            source.failing.add(login.user)
            if (not sight.user and ready) or login.probes:
                source.unknown = source.unknown or Registers(64)
                source.unknown.add(login.user)

    def _judge(self, source: Source, login: Login) -> None:
        failing, good, unknown = len(source.failing or ()), len(source.good or ()), len(source.unknown or ())
        evidence = source.evidence.value
        holder = self._cases.holder(login.address)
        if unknown >= self._rules["enumeration.address"].threshold and unknown >= 0.8 * failing and unknown > 3 * good:
            self._cases.blame(holder or "enumeration.address", login, Evidence("different unknown users", unknown, good, evidence))
        elif failing >= self._rules["stuffing.address"].threshold and failing > 3 * good:
            self._cases.blame(holder or "stuffing.address", login, Evidence("different failing users", failing, good, evidence))
        elif evidence >= self._rules["failures.address"].threshold:
            self._cases.blame(holder or "failures.address", login, Evidence("failed logins", source.attempts, good, evidence))

    def requests(self, address: bytes, seen: Seen, now_us: int) -> None:
        """Take the requests of an address."""
        if address == NO_KEY:
            return
        source = self.table.touch(address)
        scan, burst = self._rules["scan.address"], self._rules["burst.address"]
        source.renew(now_us, scan.window)
        source.requests += seen.requests
        users = max(1, len(source.good or ()))
        load = source.load.add(seen.requests, now_us, burst.window)
        if load >= burst.threshold * users:
            found = Evidence(f"requests in {burst.window:.0f} s", load, burst.threshold * users, load / burst.threshold)
            self._cases.sign(burst.name, now_us, source=address, attempts=seen.requests, example=seen.example, evidence=[found])
        if seen.misses:
            self._miss(source, address, seen, now_us)

    def _miss(self, source: Source, address: bytes, seen: Seen, now_us: int) -> None:
        rule = self._rules["scan.address"]
        source.misses += seen.misses
        source.paths = source.paths or Registers(64)
        for path in seen.paths:
            source.paths.add(path + path)
        paths = len(source.paths)
        if paths >= rule.threshold and source.misses >= 0.2 * source.requests:
            found = Evidence("different paths that match no route", paths, 0, paths / rule.threshold)
            self._cases.sign(rule.name, now_us, source=address, attempts=seen.misses, example=seen.example, evidence=[found])

    def dump(self) -> list[Any]:
        """Its state."""
        return self.table.dump(Source.dump, Source.matters)

    def load(self, state: list[Any]) -> None:
        """Take the state that `dump` gave."""
        self.table.load(state, source_of)


def _weights(sight: Sight) -> tuple[float, float]:
    if sight.familiar:
        return FAMILIAR, 0.0
    return (TRAVELLER, TRAVELLER_AGAIN) if sight.device else (NOVEL, AGAIN)
