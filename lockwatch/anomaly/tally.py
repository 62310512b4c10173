"""A tally: what happened in an interval, as one process saw it. Bounded, mergeable, small enough to be sent each half second."""

from __future__ import annotations

from typing import Final

from lockwatch.anomaly.names import Names
from lockwatch.anomaly.packing import NO_KEY
from lockwatch.anomaly.records import Login, Reuse, Source
from lockwatch.event import AUTH, HTTP, Event

LOGINS: Final = 4096
"""Distinct (user, address, software) triples of one tally; what comes after is counted in `Tally.lost`."""
SOURCES: Final = 4096
OTHERS: Final = 2048
"""Distinct users, routes and credentials of one tally, each."""
PATHS: Final = 16
"""Distinct unmatched paths remembered for one address in one tally."""
PROBES: Final = frozenset({"reset", "register", "lookup", "password.reset", "password.forgot"})
"""Actions of auth events that tell whether an account exists."""
_EXAMPLE: Final = 64


class Tally:
    """The aggregate of an interval.

    Attributes:
        start_us, end_us: of the first and the last event; 0 for none.
        events: how many there were.
        lost: how many of them found a full table and are in no record.
        logins: by (user, address, software).
        sources: by address.
        users, routes: requests of each.
        uses: by credential (session or API key), the ranges it came from.
        reuses: of refresh tokens.
    """

    __slots__ = ("end_us", "events", "logins", "lost", "reuses", "routes", "sources", "start_us", "users", "uses")

    def __init__(self) -> None:
        self.start_us = self.end_us = self.events = self.lost = 0
        self.logins: dict[tuple[bytes, bytes, bytes], Login] = {}
        self.sources: dict[bytes, Source] = {}
        self.users: dict[bytes, int] = {}
        self.routes: dict[bytes, int] = {}
        self.uses: dict[bytes, set[bytes]] = {}
        self.reuses: list[Reuse] = []

    def add(self, event: Event, names: Names) -> None:
        """Count one event. Kinds that say nothing about an attack are ignored."""
        if event.kind == AUTH:
            self._auth(event, names)
        elif event.kind == HTTP:
            self._request(event, names)
        else:
            return
        self._span(event.time_us, event.time_us, event.count)

    def _span(self, start_us: int, end_us: int, events: int) -> None:
        self.start_us = min(self.start_us or start_us, start_us)
        self.end_us = max(self.end_us, end_us)
        self.events += events

    def _auth(self, event: Event, names: Names) -> None:
        if event.action == "token.reused":
            self._reuse(event, names)
            return
        probe = event.action in PROBES
        if not probe and (event.action != "login" or event.outcome not in ("success", "failure")):
            return
        address = names.source(event)
        login = self._login(names.user(event.user), address, names.network(event.ip), _agent(event, names))
        if login is None:
            self.lost += event.count
            return
        login.at_us = max(login.at_us, event.time_us)
        if probe:
            login.probes += event.count
        elif event.outcome == "success":
            login.successes += event.count
        else:
            login.failures += event.count
        if event.outcome != "success" or probe:
            login.example = (event.request_id or "")[:_EXAMPLE]

    def _login(self, user: bytes, address: bytes, network: bytes, agent: bytes) -> Login | None:
        found = self.logins.get((user, address, agent))
        if found is None and len(self.logins) < LOGINS:
            found = self.logins[user, address, agent] = Login(user, address, network, agent)
        return found

    def _reuse(self, event: Event, names: Names) -> None:
        if len(self.reuses) >= OTHERS:
            self.lost += event.count
            return
        session = names.key("session", event.session or "")
        example = (event.request_id or "")[:_EXAMPLE]
        self.reuses.append(Reuse(names.user(event.user), session, names.source(event), event.time_us, example))

    def _request(self, event: Event, names: Names) -> None:
        source = self._source(names.source(event))
        if source is None:
            self.lost += event.count
        else:
            source.requests += event.count
            if event.status == 404 and event.route == "<unmatched>":
                source.misses += event.count
                source.example = (event.request_id or "")[:_EXAMPLE]
                _put(source.paths, names.key("path", event.path or "")[:4], PATHS)
        if event.user:
            self._more(self.users, names.user(event.user), event.count)
        if event.route and event.route != "<unmatched>":
            self._more(self.routes, names.key("route", f"{event.method} {event.route}"), event.count)
        credential = event.session or event.details.get("key")
        if credential and event.status is not None and event.status < 400:
            self._use(names.key("credential", str(credential)), names.range(event.ip))

    def _source(self, address: bytes) -> Source | None:
        found = self.sources.get(address)
        if found is None and len(self.sources) < SOURCES:
            found = self.sources[address] = Source()
        return found

    def _more(self, counts: dict[bytes, int], key: bytes, count: int) -> None:
        if key in counts or len(counts) < OTHERS:
            counts[key] = counts.get(key, 0) + count
        else:
            self.lost += count

    def _use(self, credential: bytes, range_: bytes) -> None:
        if credential in self.uses or len(self.uses) < OTHERS:
            _put(self.uses.setdefault(credential, set()), range_, PATHS)
        else:
            self.lost += 1

    def merge(self, other: Tally) -> None:
        """Add what `other` counted. The bounds hold."""
        if other.start_us:
            self._span(other.start_us, other.end_us, other.events)
        self.lost += other.lost
        for login in other.logins.values():
            self._merge_login(login)
        for address, source in other.sources.items():
            self._merge_source(address, source)
        for counts, more in ((self.users, other.users), (self.routes, other.routes)):
            for key, count in more.items():
                self._more(counts, key, count)
        for credential, ranges in other.uses.items():
            for range_ in ranges:
                self._use(credential, range_)
        room = OTHERS - len(self.reuses)
        self.reuses += other.reuses[:room]
        self.lost += len(other.reuses[room:])

    def _merge_login(self, other: Login) -> None:
        mine = self._login(other.user, other.address, other.network, other.agent)
        if mine is None:
            self.lost += other.failures + other.successes + other.probes
            return
        mine.failures += other.failures
        mine.successes += other.successes
        mine.probes += other.probes
        mine.at_us = max(mine.at_us, other.at_us)
        mine.example = other.example or mine.example

    def _merge_source(self, address: bytes, other: Source) -> None:
        mine = self._source(address)
        if mine is None:
            self.lost += other.requests
            return
        mine.requests += other.requests
        mine.misses += other.misses
        mine.example = other.example or mine.example
        for path in other.paths:
            _put(mine.paths, path, PATHS)


def _agent(event: Event, names: Names) -> bytes:
    return names.key("agent", event.user_agent) if event.user_agent else NO_KEY


def _put(found: set[bytes], key: bytes, most: int) -> None:
    if len(found) < most:
        found.add(key)
