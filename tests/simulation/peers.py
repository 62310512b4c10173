"""The parameter sets of others, as policies over the same events, and an oracle that knows both rates."""

from __future__ import annotations

from collections import defaultdict, deque
from itertools import pairwise
from math import exp, log

from lockwatch.event import Event
from tests.simulation.world import HOUR, SECOND


class Peer:
    """A policy. Attributes: `first_us`, when it first acted on the attack; `false`, how often on people."""

    name = ""

    def __init__(self) -> None:
        self.first_us: int | None = None
        self.false = 0
        self._acted: dict[str, int] = {}

    def see(self, event: Event, *, attack: bool) -> None:
        """Take an event."""
        if event.action != "login":
            return
        key = self.act(event)
        if key is not None and event.time_us - self._acted.get(key, -HOUR) >= HOUR:
            self._acted[key] = event.time_us
            if attack:
                self.first_us = self.first_us or event.time_us
            else:
                self.false += 1

    def act(self, event: Event) -> str | None:
        """Whom to act against now."""
        raise NotImplementedError


class Window(Peer):
    """So many events of a key in so many seconds."""

    def __init__(self, name: str, most: int, seconds: float, *, by: str = "ip", failures: bool = True) -> None:
        super().__init__()
        self.name = name
        self._most, self._span, self._by, self._failures = most, int(seconds * SECOND), by, failures
        self._seen: defaultdict[str, deque[int]] = defaultdict(deque)

    def act(self, event: Event) -> str | None:
        if self._failures and event.outcome == "success":
            return None
        key = {"ip": event.ip, "user": event.user}.get(self._by) or f"{event.user} {event.ip}"
        seen = self._seen[key or ""]
        seen.append(event.time_us)
        while seen[0] <= event.time_us - self._span:
            seen.popleft()
        return key if len(seen) >= self._most else None


class Bucket(Peer):
    """A bucket of failures per address that leaks one each so many seconds."""

    def __init__(self, name: str, capacity: int, leak: float) -> None:
        super().__init__()
        self.name, self._capacity, self._leak = name, capacity, leak * SECOND
        self._levels: dict[str, tuple[float, int]] = {}

    def act(self, event: Event) -> str | None:
        if event.outcome == "success" or event.ip is None:
            return None
        level, at_us = self._levels.get(event.ip, (0.0, event.time_us))
        level = max(0.0, level - (event.time_us - at_us) / self._leak) + 1
        self._levels[event.ip] = (level, event.time_us)
        return event.ip if level > self._capacity else None


class Axes(Peer):
    """Three failures of an address without a success in between, for ever."""

    name = "django-axes, 3 failures of an address in a row"

    def __init__(self) -> None:
        super().__init__()
        self._failed: defaultdict[str, int] = defaultdict(int)

    def act(self, event: Event) -> str | None:
        ip = event.ip or ""
        if event.outcome == "success":
            self._failed[ip] = 0
            return None
        self._failed[ip] += 1
        return ip if self._failed[ip] >= 3 else None


class SiteRatio(Peer):
    """The share of failures of the whole site, faded over a day, three points over its slow mean."""

    name = "failure ratio of the site"

    def __init__(self) -> None:
        super().__init__()
        self._fast = self._slow = 0.14
        self._at = 0

    def act(self, event: Event) -> str | None:
        failed = event.outcome != "success"
        past = (event.time_us - self._at) / (24 * HOUR) if self._at else 0.0
        self._at = event.time_us
        keep, slow = exp(-min(past, 1.0)), exp(-min(past, 1.0) / 14)
        self._fast = self._fast * keep + failed * (1 - keep)
        self._slow = self._slow * slow + failed * (1 - slow)
        return "site" if self._fast > self._slow + 0.05 else None


class Slow(Peer):
    """Four failures of an address whose gaps are ten minutes in the middle or longer; a success starts anew."""

    name = "CrowdSec time-based, 4 with 10 min between"

    def __init__(self) -> None:
        super().__init__()
        self._failed: defaultdict[str, deque[int]] = defaultdict(lambda: deque(maxlen=12))

    def act(self, event: Event) -> str | None:
        ip = event.ip or ""
        if event.outcome == "success":
            self._failed.pop(ip, None)
            return None
        failed = self._failed[ip]
        failed.append(event.time_us)
        gaps = sorted([after - before for before, after in pairwise(failed)])
        return ip if len(failed) >= 4 and gaps[len(gaps) // 2] > 600 * SECOND else None


class Oracle(Peer):
    """A CUSUM that is told which failures are the attack's or a bot's, both rates and the dispersion, and is spared everybody else.

    It knows what no detector can. What it does not see in time cannot be seen on these counts.
    """

    name = "oracle"

    def __init__(self, usual: float, rate: float, phi: float) -> None:
        super().__init__()
        self._gain = log((usual + rate) / usual) / phi if rate else 0.0
        self._drift = rate / (24 * HOUR) / phi
        self._sum, self._at = 0.0, 0

    def act(self, event: Event) -> str | None:
        if event.outcome == "success" or not ("attack" in event.details or "noise" in event.details):
            return None
        past = event.time_us - self._at if self._at else 0
        self._at = event.time_us
        self._sum = max(0.0, self._sum - self._drift * past) + self._gain
        return "site" if self._sum > log(10_000) else None


def peers(usual: float = 20.0, rate: float = 0.0, phi: float = 2.0) -> list[Peer]:
    """All of them, new.

    Args:
        usual, phi: novel failures a day without an attack, and their dispersion: told to the oracle only.
        rate: attempts a day of the attack, likewise.
    """
    return [
        Window("fail2ban, 5 failures of an address in 10 min", 5, 600),
        Axes(),
        Bucket("CrowdSec, 5, leak 10 s", 5, 10),
        Bucket("CrowdSec slow, 10, leak 60 s", 10, 60),
        Slow(),
        Window("rack-attack, 5 requests of an address in 20 s", 5, 20, failures=False),
        Window("rack-attack, 5 requests for a name in 20 s", 5, 20, by="user", failures=False),
        Window("AWS WAF, 10 requests of an address in 60 s", 10, 60, failures=False),
        Window("fastapi-guard, 10 refused of an address in 1 h", 10, 3600),
        Window("lock-out, 3 failures of an account in a day", 3, 86_400, by="user"),
        Window("lock-out, 10 failures of an account in a day", 10, 86_400, by="user"),
        Window("Auth0, 10 failures of an account from an address in a day", 10, 86_400, by="pair"),
        Window("Auth0, 100 failures of an address in a day", 100, 86_400),
        Window("lockwatch 0.1, 50 requests in 10 s", 50, 10, failures=False),
        SiteRatio(),
        *([Oracle(usual, rate, phi)] if rate else []),
    ]
