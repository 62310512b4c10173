"""Step-up: which log-ins have to prove more than a password, and which networks a user is known in. Pure.

Only a pair of user and network that nobody has seen is asked, and only while a campaign targets it. A user who does not exist looks
exactly like one who never logged in: the same question is asked about both, under a hash of the name.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from lockwatch.flow import Call, Flow
from lockwatch.limits.buckets import Buckets

KNOWN_US: Final = 180 * 86_400 * 1_000_000
"""For how long a network is known after the last login from it."""
NETWORKS: Final = 8
"""Networks of one user that are remembered."""
_MOST: Final = 10_000


@dataclass(frozen=True, slots=True)
class Challenge:
    """A login that should prove more than a password.

    Attributes:
        campaign: id of the attack that targets it.
        reason: why, for programs: ``novel_network``.
        username: as it is compared.
        seconds: how long such log-ins are challenged yet.
    """

    campaign: str
    reason: str
    username: str
    seconds: float


class Challenges:
    """Which users are under attack, at most 10,000; all of them when there would be more.

    Args:
        everyone: the key that stands for all users.
    """

    def __init__(self, everyone: bytes) -> None:
        self._everyone = everyone
        self._until: dict[bytes, dict[tuple[str, str], float]] = {}

    def __len__(self) -> int:
        return len(self._until)

    def put(self, key: bytes, until: float, campaign: str, now: float, rule: str = "") -> None:
        """Challenge a user, or everyone, until then, as a rule proposes."""
        if key not in self._until and len(self._until) >= _MOST:
            self._until = {each: held for each, held in self._until.items() if max(held.values()) > now}
            key = key if len(self._until) < _MOST else self._everyone
        held = {each: end for each, end in self._until.get(key, {}).items() if end > now}
        held[campaign, rule] = max(until, held.get((campaign, rule), 0.0))
        self._until[key] = held

    def end(self, campaign: str, rules: Collection[str] | None = None) -> None:
        """A campaign is over, or some of its rules see it no more."""
        for key, held in [*self._until.items()]:
            left = {each: end for each, end in held.items() if each[0] != campaign or (rules is not None and each[1] not in rules)}
            if left:
                self._until[key] = left
            else:
                del self._until[key]

    def rename(self, campaign: str, into: str) -> None:
        """A campaign turned out to be part of another: what its rules proposed goes on."""
        self._until = {
            key: {(into if each[0] == campaign else each[0], each[1]): end for each, end in held.items()}
            for key, held in self._until.items()
        }

    def find(self, key: bytes, username: str, now: float) -> Challenge | None:
        """The challenge of a user; what is over goes."""
        for each in (key, self._everyone):
            held = self._until.get(each, {})
            (campaign, _), until = max(held.items(), key=lambda item: item[1], default=(("", ""), 0.0))
            if until > now:
                return Challenge(campaign, "novel_network", username, until - now)
            self._until.pop(each, None)
        return None


def known_key(buckets: Buckets, username: str) -> str:
    """Where the networks of a user are kept."""
    return buckets.name("networks", f"user:{username}", "known")


def acquaint(key: str, network: str) -> Call:
    """A user logged in from a network, which is a word."""
    return Call("acquaint", (key,), (0, KNOWN_US, NETWORKS), words=(network,))


def acquainted(key: str, network: str) -> Flow[bool]:
    """Whether a user has logged in from a network."""
    reply = yield Call("acquainted", (key,), (0, KNOWN_US), words=(network,))
    return reply[0] == 1
