"""Pairs of a user and a network: which are known, and which failed without being followed by a success."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any, Final, NamedTuple

from lockwatch.anomaly.crowds import is_busy, is_crowded
from lockwatch.anomaly.packing import NO_KEY
from lockwatch.anomaly.records import Login
from lockwatch.anomaly.rules import DAY, Settings
from lockwatch.anomaly.signals import SECOND
from lockwatch.anomaly.sketch import Known, pair

PATIENCE_US: Final = 1800 * SECOND
"""How long after a failure the person may still get it right."""
MOST: Final = 20_000
PER_DAY: Final = 3
"""Novel pairs of one address, and of one user, that count in a day: one household, one broken client is not a campaign."""
PER_NETWORK: Final = 24
"""Novel pairs of one network that count in a day."""
DEVICE_WEIGHT: Final = 0.3
"""Of a pair whose network is new but whose software is not: people travel with their browser."""


class Sight(NamedTuple):
    """What is known of a login: has this user logged in from this network, with this software, at all; has anybody from there.

    `close`: from this address, where the network is so crowded that it tells nobody apart.
    """

    network: bool
    device: bool
    user: bool
    place: bool
    close: bool = True

    @property
    def familiar(self) -> bool:
        """Whether it is most likely the user: from a network of theirs, where that says something."""
        return self.network and (self.close or self.device)


@dataclass(slots=True)
class Failing:
    """A novel pair that failed."""

    user: bytes
    address: bytes
    network: bytes
    agent: bytes
    at_us: int
    weight: float
    place: bool
    example: str


class Pairs:
    """The memory of pairs, and the failures that wait for a success.

    Args:
        settings: its bounds.
    """

    def __init__(self, settings: Settings) -> None:
        self._known = Known(settings.known_bytes, settings.known_days * DAY * SECOND)
        self._waiting: dict[int, Failing] = {}
        self._of_user: dict[bytes, list[int]] = {}
        self._counted: dict[int, int] = {}
        self._today: dict[bytes, int] = {}
        self._day = 0

    def look(self, login: Login, people: int = 0) -> Sight:
        """What is known of its user, network, software. `people`: how many users logged in from that network."""
        known, user = self._known, login.user
        if user == NO_KEY or int.from_bytes(user, "big") not in known:
            return Sight(False, False, False, int.from_bytes(login.network, "big") in known)
        device = login.agent != NO_KEY and pair(user, login.agent) in known
        close = not is_crowded(people) or pair(user, login.address) in known
        return Sight(pair(user, login.network) in known, device, True, int.from_bytes(login.network, "big") in known, close)

    def learn(self, login: Login, now_us: int, people: int = 0) -> None:
        """Somebody logged in: the pair is known from now on, and what they got wrong before is forgiven."""
        if login.user == NO_KEY:
            return
        keys = [int.from_bytes(login.user, "big"), pair(login.user, login.network), int.from_bytes(login.network, "big")]
        if login.agent != NO_KEY:
            keys.append(pair(login.user, login.agent))
        if is_busy(people):
            keys.append(pair(login.user, login.address))
        for key in keys:
            self._known.add(key, now_us)
        self.forgive(login)

    def forgive(self, login: Login) -> None:
        """Drop the failures of the user that came from the same network or the same software."""
        left = []
        for key in self._of_user.pop(login.user, ()):
            failing = self._waiting[key]
            if failing.network == login.network or (login.agent != NO_KEY and failing.agent == login.agent):
                del self._waiting[key]
            else:
                left.append(key)
        if left:
            self._of_user[login.user] = left

    def fail(self, login: Login, sight: Sight) -> Failing | None:
        """A novel pair failed. None when it counts no more: it did already today, or its address, user or network often enough."""
        key = pair(login.user, login.network)
        if key in self._counted or login.user == NO_KEY:
            return None
        self._turn(login.at_us)
        today = self._today
        if max(today.get(login.address, 0), today.get(login.user, 0)) >= PER_DAY or len(self._counted) >= MOST:
            return None
        if today.get(login.network, 0) >= PER_NETWORK:
            return None
        for name in (login.address, login.network, login.user):
            today[name] = today.get(name, 0) + 1
        self._counted[key] = login.at_us
        weight = DEVICE_WEIGHT if sight.device else 1.0
        failing = Failing(login.user, login.address, login.network, login.agent, login.at_us, weight, sight.place, login.example)
        self._waiting[key] = failing
        self._of_user.setdefault(login.user, []).append(key)
        return failing

    def _turn(self, now_us: int) -> None:
        day = now_us // (DAY * SECOND)
        if day != self._day:
            self._day, self._today = day, {}
            self._counted = {key: at_us for key, at_us in self._counted.items() if now_us - at_us < DAY * SECOND}

    def waiting(self) -> list[Failing]:
        """The failures that may still be put right."""
        return [*self._waiting.values()]

    def settle(self, before_us: int) -> list[Failing]:
        """The failures from before that time that nobody put right. Each is given once."""
        found = []
        for key in [*self._waiting]:
            failing = self._waiting[key]
            if failing.at_us >= before_us:
                break
            del self._waiting[key]
            self._forget(failing.user, key)
            found.append(failing)
        return found

    def _forget(self, user: bytes, key: int) -> None:
        keys = self._of_user[user]
        keys.remove(key)
        if not keys:
            del self._of_user[user]

    def dump(self) -> list[Any]:
        """Its state."""
        waiting = [[key, *astuple(failing)] for key, failing in self._waiting.items()]
        return [self._known.dump(), waiting, [*self._counted.items()], [*self._today.items()], self._day]

    def load(self, state: list[Any]) -> None:
        """Take the state that `dump` gave."""
        known, waiting, counted, today, self._day = state
        self._known.load(known)
        self._waiting = {key: Failing(*fields) for key, *fields in waiting}
        self._of_user = {}
        for key, failing in self._waiting.items():
            self._of_user.setdefault(failing.user, []).append(key)
        self._counted, self._today = dict(counted), dict(today)
