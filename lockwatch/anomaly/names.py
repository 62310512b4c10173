"""Keys of addresses, networks, users, routes: keyed hashes, with the names behind them as far as this process has seen them."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2s
from ipaddress import IPv4Address
from typing import Final

from lockwatch.anomaly.packing import KEY, NO_KEY
from lockwatch.client import read_address, subject_of
from lockwatch.event import Event
from lockwatch.keys import folded

_LONGEST: Final = 512
ELSEWHERE: Final = " (pages of other sites)"
"""What follows the address in the name of a source whose requests come from such pages."""


class Names:
    """Hashes names with a key of the installation, so that nobody can craft two that collide, and no name is a store key.

    Args:
        secret: key of the hash, at most 32 bytes; the same in all processes.
        remembered: how many names are kept to tell a campaign in clear text; the oldest are forgotten.
        ipv6_prefix: how many bits of an IPv6 address are one source.
    """

    __slots__ = ("_fresh", "_half", "_keys", "_old", "_prefix", "_secret")

    def __init__(self, secret: bytes, remembered: int = 65_536, ipv6_prefix: int = 64) -> None:
        self._secret = secret[:32]
        self._prefix = ipv6_prefix
        self._half = max(remembered // 2, 1)
        self._fresh: dict[bytes, str] = {}
        self._old: dict[bytes, str] = {}
        self._keys: dict[tuple[str, str], bytes] = {}

    def key(self, kind: str, text: str) -> bytes:
        """The key of `text` as one of `kind`: ``address``, ``network``, ``range``, ``user``, ``route``, ``agent`` and so on."""
        text = text[:_LONGEST]
        found = self._keys.get((kind, text))
        if found is None:
            found = self._remember(kind, text)
        return found

    def address(self, ip: str | None) -> bytes:
        """The key of a source: an IPv4 address, the /64 of an IPv6 one."""
        return self.key("address", source_of(ip, self._prefix)) if ip else NO_KEY

    def source(self, event: Event) -> bytes:
        """The key of where an event comes from. What pages of other sites make a browser send is a source of its own, which nobody
        bans: the browser's owner did not choose it. It is counted all the same, because whoever sends a request writes its headers.
        """
        if event.ip and event.details.get("cross_site"):
            return self.key("address", source_of(event.ip, self._prefix) + ELSEWHERE)
        return self.address(event.ip)

    def network(self, ip: str | None) -> bytes:
        """The key of the network a user is known by: /24, or /48."""
        return self.key("network", network_of(ip)) if ip else NO_KEY

    def range(self, ip: str | None) -> bytes:
        """The key of the neighbourhood: /16, or /32."""
        return self.key("range", range_of(ip)) if ip else NO_KEY

    def user(self, name: str | None) -> bytes:
        """The key of a user; names that differ in width, case or surrounding space only are one. An empty name is nobody."""
        text = folded(name[:_LONGEST]) if name else ""
        return self.key("user", text) if text else NO_KEY

    def name(self, key: bytes) -> str | None:
        """The name behind a key, if this process has seen it and still knows it."""
        return self._fresh.get(key) or self._old.get(key)

    def _remember(self, kind: str, text: str) -> bytes:
        if len(self._fresh) >= self._half:
            self._old, self._fresh = self._fresh, {}
            self._keys = {}
        key = blake2s(f"{kind}\0{text}".encode("utf-8", "replace"), digest_size=KEY, key=self._secret).digest()
        self._fresh[key] = text
        self._keys[kind, text] = key
        return key


@lru_cache(4096)
def source_of(ip: str, ipv6_prefix: int = 64) -> str:
    """What an address is counted under; a text that is no address as it is."""
    address = read_address(ip)
    return ip if address is None else subject_of(address, ipv6_prefix)


@lru_cache(4096)
def network_of(ip: str) -> str:
    """The /24 or /48 of an address."""
    return _prefix(ip, 24, 48)


@lru_cache(4096)
def range_of(ip: str) -> str:
    """The /16 or /32 of an address."""
    return _prefix(ip, 16, 32)


def _prefix(ip: str, of_ipv4: int, of_ipv6: int) -> str:
    address = read_address(ip)
    if address is None:
        return ip
    if isinstance(address, IPv4Address):
        shift = 32 - of_ipv4
        return f"{IPv4Address(int(address) >> shift << shift)}/{of_ipv4}"
    return subject_of(address, of_ipv6)
