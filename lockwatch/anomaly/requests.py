"""Rules about requests of users, routes and credentials."""

from __future__ import annotations

from typing import Any, Final

from lockwatch.anomaly.campaign import Evidence
from lockwatch.anomaly.cases import Cases
from lockwatch.anomaly.packing import NO_KEY
from lockwatch.anomaly.rules import DAY, Settings
from lockwatch.anomaly.signals import SECOND, Fading, Table
from lockwatch.anomaly.tally import Tally

_MANY: Final = 10.0
"""A route's burst is so many times its usual rate."""
_REMEMBERED: Final = 16


class Route:
    """Requests of a route now and over the day."""

    __slots__ = ("day", "now")

    def __init__(self) -> None:
        self.now, self.day = Fading(), Fading()


class Use:
    """Where a credential was used, and since when."""

    __slots__ = ("ranges", "since_us")

    def __init__(self) -> None:
        self.ranges: set[bytes] = set()
        self.since_us = 0


class Requests:
    """Tables of users, routes, credentials. Their state is of seconds and minutes: it is not part of a dump.

    Args:
        settings: rules and bounds.
        cases: where signs go.
    """

    def __init__(self, settings: Settings, cases: Cases) -> None:
        self._rules = settings.rules
        self._cases = cases
        self._users: Table[Fading] = Table(settings.accounts, Fading)
        self._routes: Table[Route] = Table(2048, Route)
        self._uses: Table[Use] = Table(settings.accounts, Use)

    def take(self, tally: Tally) -> None:
        """Take what an interval brought."""
        for user, count in tally.users.items():
            self._user(user, count, tally.end_us)
        for route, count in tally.routes.items():
            self._route(route, count, tally.end_us)
        for credential, ranges in tally.uses.items():
            self._use(credential, ranges, tally.end_us)

    def _user(self, user: bytes, count: int, now_us: int) -> None:
        rule = self._rules["burst.user"]
        load = self._users.touch(user).add(count, now_us, rule.window)
        if user != NO_KEY and load >= rule.threshold:
            found = Evidence(f"requests in {rule.window:.0f} s", load, rule.threshold, load / rule.threshold)
            self._cases.sign(rule.name, now_us, target=user, attempts=count, evidence=[found])

    def _route(self, key: bytes, count: int, now_us: int) -> None:
        rule = self._rules["burst.route"]
        route = self._routes.touch(key)
        usual = route.day.read(now_us, DAY) * rule.window / DAY
        load = route.now.add(count, now_us, rule.window)
        if load >= max(rule.threshold, _MANY * usual):
            found = Evidence(f"requests in {rule.window:.0f} s", load, usual, load / rule.threshold)
            self._cases.sign(rule.name, now_us, target=key, attempts=count, evidence=[found])
        elif not self._cases.is_open(rule.name):
            route.day.add(count, now_us, DAY)

    def _use(self, credential: bytes, ranges: set[bytes], now_us: int) -> None:
        rule = self._rules["key.travel"]
        use = self._uses.touch(credential)
        if now_us - use.since_us >= rule.window * SECOND:
            use.ranges, use.since_us = set(), now_us
        for range_ in ranges:
            if len(use.ranges) < _REMEMBERED:
                use.ranges.add(range_)
        if len(use.ranges) >= rule.threshold:
            found = Evidence("parts of the network one credential came from", len(use.ranges), 1, len(use.ranges))
            self._cases.sign(rule.name, now_us, target=credential, evidence=[found])

    @property
    def evicted(self) -> int:
        """Entries that had to make room."""
        return self._users.evicted + self._routes.evicted + self._uses.evicted

    def sizes(self) -> dict[str, Any]:
        """Entries of each table."""
        return {"users": len(self._users), "routes": len(self._routes), "credentials": len(self._uses)}
