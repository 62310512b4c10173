"""A second opinion: how unusual was what an address did in an hour, among all addresses of all hours before.

A histogram for each of a few counts (HBOS, Goldstein and Dengel 2012), learned as the log is read and faded by the day. It knows no
attack and no user: it finds what is rare. docs/detection.md says what the simulator thinks of it.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from math import log
from typing import Final

from lockwatch.anomaly.replay import when
from lockwatch.anomaly.tally import PROBES
from lockwatch.event import AUTH, HTTP, Event

HOUR_US: Final = 3_600_000_000
FEATURES: Final = (
    "requests",
    "logins",
    "failed logins",
    "share of failures",
    "different users",
    "different routes",
    "paths not found",
)
_BINS: Final = 12
_DISTINCT: Final = 64
_SUBJECTS: Final = 50_000
_KEEP: Final = 0.97
"""What an hour leaves of what was learned: half after a day."""
LEARNED: Final = 200.0
"""Windows that have to be learned before one is scored."""


@dataclass(frozen=True, slots=True, order=True)
class Score:
    """An unusual hour of an address: nats, the more the rarer, and which count says most of it."""

    value: float
    ip: str
    hour_us: int
    why: str

    @property
    def time(self) -> str:
        """When the hour began, ISO 8601."""
        return when(self.hour_us)


class _Window:
    __slots__ = ("failures", "logins", "misses", "requests", "routes", "users")

    def __init__(self) -> None:
        self.requests = self.logins = self.failures = self.misses = 0
        self.users: set[str] = set()
        self.routes: set[str] = set()

    def counts(self) -> tuple[int, ...]:
        share = round(10 * self.failures / self.logins) if self.logins else 0
        return self.requests, self.logins, self.failures, share, len(self.users), len(self.routes), self.misses


class Scorer:
    """Scores addresses by the hour, as events come in order of time.

    Args:
        most: how many of the highest scores are kept.

    Attributes:
        crowded: events of addresses that were not scored, because an hour had too many of them.
    """

    def __init__(self, most: int = 20) -> None:
        self._most = most
        self._hour = 0
        self._windows: dict[str, _Window] = {}
        self._bins = [[0.0] * _BINS for _ in FEATURES]
        self._learned = 0.0
        self._best: list[Score] = []
        self.crowded = 0

    def add(self, event: Event) -> list[Score]:
        """Take an event. Returns the scores of the hour before, when it begins another one."""
        hour = event.time_us // HOUR_US * HOUR_US
        found = self.close() if hour > self._hour else []
        self._hour = max(self._hour, hour)
        if event.ip is not None and event.kind in (AUTH, HTTP):
            self._count(event, event.ip)
        return found

    def _count(self, event: Event, ip: str) -> None:
        window = self._windows.get(ip)
        if window is None:
            if len(self._windows) >= _SUBJECTS:
                self.crowded += event.count
                return
            window = self._windows[ip] = _Window()
        if event.kind == HTTP:
            window.requests += event.count
            window.misses += event.count * (event.status == 404)
            if len(window.routes) < _DISTINCT:
                window.routes.add(event.route or "")
        elif event.action == "login" or event.action in PROBES:
            window.logins += event.count
            window.failures += event.count * (event.outcome != "success")
            if len(window.users) < _DISTINCT:
                window.users.add(event.user or "")

    def close(self) -> list[Score]:
        """End the hour: score its addresses, then learn from them."""
        windows, self._windows = self._windows, {}
        binned = {ip: [_bin(count) for count in window.counts()] for ip, window in windows.items()}
        found = [self._score(ip, bins) for ip, bins in binned.items()] if self._learned >= LEARNED else []
        self._best = heapq.nlargest(self._most, [*self._best, *found])
        self._learn(list(binned.values()))
        return found

    def _score(self, ip: str, bins: list[int]) -> Score:
        rarity = [-log((self._bins[i][at] + 0.5) / (self._learned + 0.5 * _BINS)) for i, at in enumerate(bins)]
        most = max(range(len(rarity)), key=rarity.__getitem__)
        least = 2 ** bins[most] - 1
        return Score(round(sum(rarity), 2), ip, self._hour, f"{FEATURES[most]}: {least} or more")

    def _learn(self, rows: list[list[int]]) -> None:
        self._learned = self._learned * _KEEP + len(rows)
        self._bins = [[count * _KEEP for count in feature] for feature in self._bins]
        for bins in rows:
            for i, at in enumerate(bins):
                self._bins[i][at] += 1

    def best(self) -> list[Score]:
        """The highest scores of all complete hours, highest first."""
        return list(self._best)


def _bin(count: int) -> int:
    return min((count + 1).bit_length() - 1, _BINS - 1)
