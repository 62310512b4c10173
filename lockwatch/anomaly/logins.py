"""`Logins`: what the application, or the status of its answer, says about attempts to log in; and which of them are challenged."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Protocol

from lockwatch.anomaly.campaign import EVERYONE
from lockwatch.anomaly.challenge import Challenge, Challenges, acquainted, known_key
from lockwatch.anomaly.config import AnomalyConfig
from lockwatch.anomaly.names import Names, network_of
from lockwatch.anomaly.packing import word_of
from lockwatch.capture import is_cross_site
from lockwatch.errors import StoreError
from lockwatch.event import AUTH, Event
from lockwatch.flow import Flow
from lockwatch.keys import Visit, folded
from lockwatch.limits.buckets import Buckets

FAILURES: Final = frozenset({401, 403, 422})
"""Statuses by which a route that logs in says no."""
_LONGEST: Final = 256


class Logging(Visit, Protocol):
    """A visit in which somebody may log in."""

    failed: bool | None
    attempt: str | None


class Logins:
    """The log-ins of one engine.

    Args:
        settings: None where attacks are not watched for: log-ins are then only reported.
        ipv6_prefix: how many bits of an IPv6 address are one client.
        clock: seconds; never steps back.

    Attributes:
        report: told of every login, as an `Event`.
        challenges: who is under attack.
        routes: scopes of the routes whose status speaks for the application, like ``POST:/login``.
    """

    def __init__(self, settings: AnomalyConfig | None, ipv6_prefix: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.report: Callable[[Event], None] = _unheard
        self.challenges = Challenges(EVERYONE)
        self.routes = frozenset(route.replace(" ", ":", 1) for route in (settings.login_routes if settings else ()))
        self.settings = settings
        self._prefix = ipv6_prefix
        self._clock = clock
        self._names: Names | None = None

    def names(self, buckets: Buckets) -> Names:
        """The keys of users and networks, the same in all processes of the namespace."""
        if self._names is None:
            self._names = Names(buckets.derived("anomaly"), ipv6_prefix=self._prefix)
        return self._names

    def fail(self, visit: Logging, username: str | None, reason: str = "") -> None:
        """A login failed; limits that count failures charge it, whatever the status."""
        visit.failed = True
        self._tell(visit, "failure", username, reason)

    def succeed(self, visit: Logging, username: str | None) -> None:
        """A login succeeded; limits that count failures give back what they held."""
        visit.failed = False
        self._tell(visit, "success", username, "")

    def infer(self, visit: Logging, status: int) -> None:
        """The answer to an attempt about which the application said nothing."""
        if status in FAILURES:
            self.fail(visit, visit.attempt)
        elif status < 400:
            self.succeed(visit, visit.attempt)

    def challenged(self, visit: Logging, username: str, buckets: Buckets) -> Flow[Challenge | None]:
        """The challenge of a login: while a campaign targets the user, and the user never came from this network.

        Known networks are never challenged. While the store does not answer nobody is.
        """
        name = _name(username)
        if not len(self.challenges) or name is None or visit.client.address is None:
            return None
        names = self.names(buckets)
        challenge = self.challenges.find(names.user(name), name, self._clock())
        if challenge is None:
            return None
        try:
            known = yield from acquainted(known_key(buckets, name), word_of(names.network(str(visit.client.address))))
        except StoreError:
            return None
        return None if known else challenge

    def pair(self, visit: Logging, username: str) -> str:
        """What failed attempts of a user from this network are counted under: who guesses elsewhere locks nobody out here."""
        client = visit.client
        return f"login:{_name(username) or ''} {client.subject if client.address is None else network_of(str(client.address))}"

    def refuse(self, visit: Logging, challenge: Challenge) -> None:
        """A login was not let through for want of more proof."""
        visit.failed = True
        event = self._event(visit, "refused", challenge.username, challenge.reason)
        event.decision, event.campaign = "challenged", challenge.campaign
        self.report(event)

    def _tell(self, visit: Logging, outcome: str, username: str | None, reason: str) -> None:
        self.report(self._event(visit, outcome, username, reason))

    def _event(self, visit: Logging, outcome: str, username: str | None, reason: str) -> Event:
        client = visit.client
        event = Event(time_us=time.time_ns() // 1000, kind=AUTH, action="login", outcome=outcome)
        event.ip = None if client.address is None else str(client.address)
        event.peer, event.subject, event.user = client.peer, client.subject, _name(username)
        event.user_agent, event.request_id = visit.header(b"user-agent"), visit.header(b"x-request-id")
        if reason:
            event.reasons = (reason,)
        if is_cross_site(visit.header(b"sec-fetch-site"), visit.header(b"origin"), visit.header(b"host")):
            event.details = {"cross_site": True}
        return event


def _name(username: str | None) -> str | None:
    """A user name as it is compared; an empty one is nobody's."""
    return folded(username[:_LONGEST]) or None if username else None


def _unheard(event: Event) -> None:
    """Where nobody listens."""
