"""Who sent a request: the client address behind proxies one trusts, and the subject it is counted under.

Forwarded headers are written by whoever sends them. Only a hop that a trusted proxy appended counts, so they are read from the
right: first the peer itself, then each address a trusted hop vouches for, until one is not trusted. Nothing here does I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from itertools import islice
from typing import Final, TypeAlias

from lockwatch.errors import ConfigurationError

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network
Headers: TypeAlias = Sequence[tuple[bytes, bytes]]

UNKNOWN: Final = "unknown"
"""The subject of clients without an address (a unix socket, a broken proxy): one bucket for all of them."""
MAX_HOPS: Final = 40
MAX_ELEMENT: Final = 2048
_REMEMBERED: Final = 8192
_MAX_PEER: Final = 64
"""Characters of a peer that is remembered; an address with a zone has fewer, but a server may pass on what a header says."""
_WATCHED: Final = 100
"""How many requests of a private peer are looked at; a proxy shows itself at the first."""
_FORWARDED: Final = (b"x-forwarded-for", b"forwarded", b"x-real-ip")
_PRIVATE: Final = (
    "127.0.0.0/8",
    "::1/128",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "fc00::/7",
    "fe80::/10",
)
_NAT64: Final = 0x64FF9B << 64
"""The upper 96 bits of 64:ff9b::/96 (RFC 6052): an IPv4 client that came through a translator."""
_PORT = re.compile(r":\d{1,5}\Z")
# Possessive throughout: with backtracking, blanks that two quantifiers can share take time exponential in the pairs.
_VALUE = r'(?:"(?:[^"\\]|\\.)*+"|[^\s",;\\]*+)'
_NAMED = r"\s*+[A-Za-z][A-Za-z0-9_-]*+\s*+=\s*+"
_PAIR = re.compile(rf"\s*+([A-Za-z][A-Za-z0-9_-]*+)\s*+=\s*+({_VALUE})\s*+(?:;|\Z)")
_ELEMENT = re.compile(rf"(?:{_NAMED}{_VALUE}\s*+(?:;\s*+|\Z))++\Z")


@dataclass(frozen=True, slots=True)
class Client:
    """Where a request came from.

    Attributes:
        address: the client's address, None when there is none.
        subject: what it is counted under: an IPv4 address, an IPv6 network, or ``unknown``.
        peer: what the server says connected, as it says it.
        warning: what is wrong with the set-up, said once; None when nothing is.
    """

    address: Address | None
    subject: str
    peer: str | None
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class Trust:
    """Which peers may say whom they forward for: networks, or the nearest `hops` whoever they are."""

    networks: tuple[Network, ...] = ()
    hops: int = 0

    def __bool__(self) -> bool:
        return bool(self.networks or self.hops)

    def holds(self, address: Address, hop: int) -> bool:
        """Whether the hop at distance `hop` (the peer is 0) is a proxy one trusts."""
        return hop < self.hops or any(address in network for network in self.networks)


def trust(value: str | int | Iterable[str]) -> Trust:
    """Read `trusted_proxies`: ``"none"``, ``"private"``, a number of hops, or networks.

    Raises: ConfigurationError.
    """
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_HOPS:
        return Trust(hops=value)
    if isinstance(value, str) and value.isascii() and value.strip().isdigit():
        return trust(int(value))
    if not isinstance(value, (str, Iterable)):
        raise ConfigurationError(
            f"trusted_proxies={value!r} is not 'none', 'private', a number of hops or networks like ['10.0.0.0/8']"
        )
    words = [w for w in re.split(r"[,\s]+", value) if w] if isinstance(value, str) else list(value)
    if words in (["none"], []):
        return Trust()
    return Trust(read_networks(words, "trusted_proxies", "'10.0.0.0/8', or 'private', or 1 hop"))


def read_networks(value: str | Iterable[str], option: str, example: str = "'10.0.0.0/8'") -> tuple[Network, ...]:
    """The networks in a text or a sequence; ``private`` stands for loopback, private and link-local ones.

    Raises: ConfigurationError, naming `option`.
    """
    words = [w for w in re.split(r"[,\s]+", value) if w] if isinstance(value, str) else list(value)
    expanded = [network for word in words for network in (_PRIVATE if word == "private" else (word,))]
    return tuple([_network(word, option, example) for word in expanded])


def _network(word: object, option: str, example: str) -> Network:
    try:
        return ip_network(str(word))
    except ValueError as error:
        raise ConfigurationError(f"{option}: {str(word)[:60]!r} is not a network ({error}); a correct one is {example}") from None


def read_address(text: str) -> Address | None:
    """Read one address as proxies write it: with a port, brackets or a zone, IPv4-mapped or behind NAT64. None when it is not."""
    text = text.strip().strip('"').strip()
    if text.startswith("["):
        text, _, rest = text[1:].partition("]")
        if rest and not _PORT.fullmatch(rest):
            return None
    elif text.count(":") == 1:
        text = _PORT.sub("", text)
    try:
        address = ip_address(text.partition("%")[0] if ":" in text else text)
    except ValueError:
        return None
    return address if isinstance(address, IPv4Address) else address.ipv4_mapped or _translated(address) or address


def _translated(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 client behind NAT64, where all are in one /64. Never a private address: RFC 6052 forbids to translate those."""
    if int(address) >> 32 != _NAT64:
        return None
    inside = IPv4Address(int(address) & 0xFFFF_FFFF)
    return inside if inside.is_global else None


def subject_of(address: Address, ipv6_prefix: int) -> str:
    """What an address is counted under: itself, or its IPv6 network (whoever has one address of it has them all)."""
    if isinstance(address, IPv4Address):
        return str(address)
    shift = 128 - ipv6_prefix
    return f"{IPv6Address(int(address) >> shift << shift)}/{ipv6_prefix}"


class Clients:
    """Resolves clients under one set of trusted proxies. Remembers at most 8,192 peers.

    Args:
        trusted: the proxies that may speak for others.
        header: ``x-forwarded-for`` or ``forwarded``; never both, because a proxy passes on the one it does not write.
        ipv6_prefix: how many bits of an IPv6 address count, 32 to 128.
    """

    def __init__(self, trusted: Trust, header: str = "x-forwarded-for", ipv6_prefix: int = 64) -> None:
        self._trusted = trusted
        self._trusts = bool(trusted)
        self._header = header.encode()
        self._prefix = ipv6_prefix
        self._peers: dict[str, Client] = {}
        self._watched: dict[str, int] = {}
        self._warned = self._unknown = False
        self._private = trust("private")

    def resolve(self, peer: str | None, headers: Headers, rewritten: bool = False) -> Client:
        """The client of a request that `peer` sent with `headers` (names in lower case).

        `rewritten`: the server has put a forwarded address in the place of the peer already (uvicorn: port 0).
        """
        known = self._peers.get(peer or "")
        if known is None:
            known = self._remember(peer)
        if known.address is None:
            return known if known.peer or not self._trusted.hops else self._behind(None, headers)
        if self._trusts and self._trusted.holds(known.address, 0):
            return self._behind(known.address, headers)
        return self._watch(known, headers) if peer in self._watched and not rewritten else known

    def _remember(self, peer: str | None) -> Client:
        if len(self._peers) >= _REMEMBERED:
            self._peers.clear()
            self._watched.clear()
        address = read_address(peer) if peer else None
        client = self._client(address, peer)
        if len(peer or "") <= _MAX_PEER:
            self._peers[peer or ""] = client
            if address is not None and not self._warned and self._private.holds(address, 1):
                self._watched[peer or ""] = _WATCHED
        return client if address is not None or self._unknown or self._trusted.hops else self._warn_unknown(client)

    def _warn_unknown(self, client: Client) -> Client:
        self._unknown = True
        message = (
            f"a request has no client address (peer {(client.peer or '')[:60]!r}): all such requests share one bucket; "
            "behind a unix socket set trusted_proxies to the number of proxies, e.g. trusted_proxies=1"
        )
        return Client(client.address, client.subject, client.peer, message)

    def _watch(self, client: Client, headers: Headers) -> Client:
        """Look at the first requests of a private peer: is it a proxy nobody told us about?"""
        peer = client.peer or ""
        if any(name in _FORWARDED for name, _ in headers):
            self._warned = True
            self._watched.clear()
            return self._warn(client)
        self._watched[peer] -= 1
        if not self._watched[peer]:
            del self._watched[peer]
        return client

    def _warn(self, client: Client) -> Client:
        network = f"{client.address}/{client.address.max_prefixlen}" if client.address else ""
        message = (
            f"the private peer {client.address} sends a forwarded header but is not a trusted proxy: "
            "all clients behind it share one bucket. "
            f"If it is your proxy, set trusted_proxies=[{network!r}] (or 'private', or a number of hops)"
        )
        return Client(client.address, client.subject, client.peer, message)

    def _behind(self, peer: Address | None, headers: Headers) -> Client:
        """Walk from the right through what trusted hops vouch for."""
        nearest, distance, hops = peer, 0, self._forwarded(headers)
        while nearest is None or self._trusted.holds(nearest, distance):
            address = read_address(next(hops, ""))
            if address is None:
                break  # what a trusted hop could not name, nobody to the left of it can vouch for
            nearest, distance = address, distance + 1
        return self._client(nearest, str(peer) if peer else None)

    def _forwarded(self, headers: Headers) -> Iterator[str]:
        """The hops in the header, nearest first, from all its lines, at most 40."""
        read = _elements if self._header == b"forwarded" else _hops
        lines = [value.decode("latin-1") for name, value in headers if name == self._header]
        return islice((hop for line in reversed(lines) for hop in read(line)), MAX_HOPS)

    def _client(self, address: Address | None, peer: str | None) -> Client:
        return Client(address, f"ip:{subject_of(address, self._prefix)}" if address else f"ip:{UNKNOWN}", peer)


def _hops(line: str) -> Iterator[str]:
    """The hops of one X-Forwarded-For line, from the right. A quote means nothing there."""
    return iter(line.rsplit(",", MAX_HOPS)[:0:-1]) if line.count(",") > MAX_HOPS else reversed(line.split(","))


def _elements(line: str) -> Iterator[str]:
    """Who is named by each element of one Forwarded line, from the right (RFC 7239 section 4).

    From the right, because whoever wrote the left end may have left a quote open. An element begins at the nearest comma from
    which it is well-formed; where there is none, nobody to the left can be believed. ``unknown`` and obfuscated names name nobody.
    """
    end, tail = len(line), ""
    for _ in range(2 * MAX_HOPS):
        comma = line.rfind(",", 0, end)
        tail = line[comma + 1 : end] + ("," + tail if tail else "")
        if not tail.strip():
            yield ""  # a proxy that says nothing vouches for nobody
            tail = ""
        elif len(tail) > MAX_ELEMENT:
            break
        elif _ELEMENT.match(tail):
            found = [value for name, value in _PAIR.findall(tail) if name.lower() == "for"]
            yield found[0].strip('"') if len(found) == 1 else ""
            tail = ""
        if comma < 0:
            break
        end = comma
    if tail:
        yield ""
