"""Bans: whom they are about, and the table in which a process looks them up without asking anybody. Pure.

A subject is ``ip:203.0.113.7``, a network like ``ip:2001:db8::/64``, or ``user:alice``. Times are seconds of a monotonic clock that
come in as arguments, so a ban ends when it says, whatever happens to the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv6Address, ip_network
from typing import Final, TypeAlias

from lockwatch.client import Address, Network, read_address
from lockwatch.keys import folded

ROLL_UP: Final = 48
"""Whoever has several networks of one prefix of this length is likely to have them all."""
_WIDEST: Final = {4: 8, 6: 32}
_Place: TypeAlias = tuple[int, int, int]
"""A network: version, prefix length, and the bits of the prefix."""


@dataclass(frozen=True, slots=True)
class Ban:
    """A ban.

    Attributes:
        subject: whom it is about.
        seconds: how long it holds from when it was looked up.
        times: which ban of the subject it is; each by a rule is longer than the one before.
        reason: why, for operators.
        by: who decided: a name, or a rule.
        age: seconds since it was made.
        id: what a refused client is told, and operators see.
    """

    subject: str
    seconds: float
    times: int = 1
    reason: str = ""
    by: str = ""
    age: float = 0.0
    id: str = ""


class Table:
    """The bans a process knows of, at most `most`; one too many takes the place of that which ends first.

    What a client is counted under is found by that name at once; other networks are walked by length. One thread writes, any thread
    may look: what a look walks is never changed, but replaced.

    Args:
        most: bans at most.
        ipv6_prefix: how many bits of an IPv6 address are one client.
    """

    def __init__(self, most: int = 10_000, ipv6_prefix: int = 64) -> None:
        self._most = most
        self._own = (4, 32), (6, ipv6_prefix)
        self._until: dict[str, float] = {}
        self._bans: dict[str, Ban] = {}
        self._nets: tuple[tuple[int, int, dict[int, str]], ...] = ()
        self.has_users = False
        """Whether any ban is about a user."""

    def __len__(self) -> int:
        return len(self._bans)

    def put(self, ban: Ban, now: float) -> None:
        """Keep a ban until it ends; one of no seconds is no longer kept."""
        self._drop(ban.subject)
        if ban.seconds <= 0:
            return
        if len(self._bans) >= self._most:
            self._drop(min(self._until, key=self._until.__getitem__))
        self._bans[ban.subject], self._until[ban.subject] = ban, now + ban.seconds
        self.has_users = self.has_users or ban.subject.startswith("user:")
        if (place := self._wide(ban.subject)) is not None:
            self._networks(place)[place[2]] = ban.subject

    def banned(self, subject: str, address: Address | None, clock: Callable[[], float]) -> Ban | None:
        """The ban of a client, by what it is counted under, or of a network it is in."""
        if subject in self._until and (ban := self.get(subject, clock())) is not None:
            return ban
        return None if address is None or not self._nets else self._within(address, clock())

    def _within(self, address: Address, now: float) -> Ban | None:
        whole, size, version = int(address), address.max_prefixlen, address.version
        for kind, length, known in self._nets:
            if kind == version:
                found = known.get(whole >> (size - length))
                if found is not None and (ban := self.get(found, now)) is not None:
                    return ban
        return None

    def get(self, subject: str, now: float) -> Ban | None:
        """The ban of this very subject, with what is left of it."""
        until, ban = self._until.get(subject, 0.0), self._bans.get(subject)
        return None if ban is None or now >= until else replace(ban, seconds=until - now)

    def within(self, network: Network, length: int, now: float) -> list[str]:
        """The banned networks of that length within a wider one."""
        places = [(subject, place_of(subject)) for subject, until in self._until.items() if now < until]
        return [
            subject
            for subject, place in places
            if place is not None and place[:2] == (network.version, length) and _holds(network, place)
        ]

    def sweep(self, now: float) -> list[Ban]:
        """Drop what is over, and return it."""
        over = [self._bans[subject] for subject, until in self._until.items() if until <= now]
        for ban in over:
            self._drop(ban.subject)
        return over

    def _networks(self, place: _Place) -> dict[int, str]:
        """The banned networks of one length. Narrow ones come first."""
        for version, length, known in self._nets:
            if (version, length) == place[:2]:
                return known
        fresh: dict[int, str] = {}
        self._nets = tuple(sorted([*self._nets, (*place[:2], fresh)], key=lambda net: -net[1]))
        return fresh

    def _drop(self, subject: str) -> None:
        if self._bans.pop(subject, None) is None:
            return
        del self._until[subject]
        if subject.startswith("user:"):
            self.has_users = any(name.startswith("user:") for name in self._bans)
        elif (place := self._wide(subject)) is not None:
            self._networks(place).pop(place[2], None)
            self._nets = tuple([net for net in self._nets if net[2]])

    def _wide(self, subject: str) -> _Place | None:
        """Where a network is looked up that is nobody's whole name."""
        place = place_of(subject)
        return None if place is None or place[:2] in self._own else place


def _holds(network: Network, place: _Place) -> bool:
    """Whether a place is within a network of the same version."""
    bits = int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
    return place[2] >> (place[1] - network.prefixlen) == bits


def subject_of(text: str, ipv6_prefix: int = 64) -> str:
    """The subject a text names: an address, a network, or ``user:`` and a name. Without a kind it has to be an address.

    Raises: ValueError.
    """
    kind, colon, value = text.strip().partition(":")
    if colon and kind == "user":
        if not folded(value):
            raise ValueError("the user has no name; a correct one is 'user:alice'")
        return f"user:{value.strip()}"
    network = network_of(text.strip().removeprefix("ip:"), ipv6_prefix)
    if network is None:
        raise ValueError(f"{text[:60]!r} is no subject of a ban; correct ones are '203.0.113.7', '2001:db8::/64' and 'user:alice'")
    if network.prefixlen < _WIDEST[network.version]:
        raise ValueError(f"{text[:60]!r} is most of the internet; a network has at least /{_WIDEST[network.version]}")
    return f"ip:{network.network_address}" if network.prefixlen == 32 and network.version == 4 else f"ip:{network}"


def network_of(text: str, ipv6_prefix: int = 64) -> Network | None:
    """The network a text names; of an IPv6 address the one it is counted under. None when it names none."""
    address = read_address(text) if "/" not in text else None
    try:
        if isinstance(address, IPv6Address):
            return ip_network(f"{address}/{ipv6_prefix}", strict=False)
        return ip_network(str(address) if address is not None else text, strict=False)
    except ValueError:
        return None


def place_of(subject: str) -> _Place | None:
    """Where a subject is looked up, None for a user."""
    network = network_of(subject.removeprefix("ip:")) if subject.startswith("ip:") else None
    if network is None:
        return None
    length = network.prefixlen
    return network.version, length, int(network.network_address) >> (network.max_prefixlen - length)


def spared(subject: str, never: Iterable[Network]) -> Network | None:
    """The network that must not be banned and that a ban of `subject` would hit; None when it hits none."""
    network = network_of(subject.removeprefix("ip:")) if subject.startswith("ip:") else None
    if network is None:
        return None
    return next((net for net in never if net.version == network.version and net.overlaps(network)), None)


def wider(subject: str) -> Network | None:
    """The /48 around a narrower IPv6 network."""
    network = network_of(subject.removeprefix("ip:")) if subject.startswith("ip:") else None
    if network is None or network.version == 4 or network.prefixlen <= ROLL_UP:
        return None
    return network.supernet(new_prefix=ROLL_UP)
