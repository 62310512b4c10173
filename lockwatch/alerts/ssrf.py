"""Where a webhook may go: which URLs, and which of the addresses their names lead to. Pure; nothing is resolved here.

A URL is checked when it is configured, the addresses at every delivery, and the connection goes to a checked address: a name may
lead somewhere else a moment later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from lockwatch.errors import ConfigurationError

Address = IPv4Address | IPv6Address
PORTS: Final = (443, 8443)
"""What a public receiver may listen on; others are a way to talk to other services."""
_GLOBAL_V6: Final = IPv6Network("2000::/3")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_NEVER: Final = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "100.100.100.200/32",  # metadata of Alibaba Cloud
        "168.63.129.16/32",  # the host of an Azure machine
        "169.254.0.0/16",  # link-local, and the metadata of most clouds
        "192.0.0.0/24",
        "192.88.99.0/24",
        "224.0.0.0/3",
        "::/128",
        "::/96",  # IPv4-compatible; the loopback address is let through below
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",  # Teredo and others of the IETF
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",
        "5f00::/16",
        "fd00:ec2::254/128",  # metadata of AWS
        "fd20:ce::254/128",  # metadata of Google Cloud
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)
_PRIVATE: Final = tuple(
    ip_network(text)
    for text in ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")
)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL leads.

    Attributes:
        scheme: ``https`` or ``http``.
        host: name or address, without brackets, in ASCII and lower case.
        port: always a number.
        path: with the query, as it is sent.
        private: whether it may be at a private address.
    """

    scheme: str
    host: str
    port: int
    path: str
    private: bool

    @property
    def authority(self) -> str:
        """What stands in the ``Host`` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == {"https": 443, "http": 80}[self.scheme] else f"{host}:{self.port}"


def read_target(option: str, url: object, private: bool = False) -> Target:
    """Where a configured URL leads.

    Args:
        option: what to call it in an error.
        private: whether private addresses are allowed, and with them http and any port.

    Raises: ConfigurationError, which never quotes the URL: it may hold a secret.
    """
    try:
        target = _parsed(url, private)
    except ValueError:
        raise _wrong(option, "is not a URL", private) from None
    if target.scheme == "http" and not private:
        raise _wrong(option, "is not https", private)
    if target.port not in PORTS and not private:
        raise _wrong(option, f"has the port {target.port}, where only 443 and 8443 are allowed", private)
    if (literal := _literal(target.host)) is not None and (reason := refusal(target, literal)):
        raise _wrong(option, f"leads to {literal}, {reason}", private)
    return target


def refusal(target: Target, address: Address) -> str:
    """Why `target` must not be reached at `address`; empty when it may."""
    inner = _inner(address)
    if getattr(address, "scope_id", None):
        return "an address of one link"
    if any(inner in network for network in _PRIVATE) and not _forbidden(inner):
        return "" if target.private else "a private address (allow_private_webhooks=True allows it)"
    if _forbidden(inner) or not inner.is_global or inner.is_multicast or inner.is_reserved:
        return "an address that no webhook is at"
    if isinstance(inner, IPv6Address) and inner not in _GLOBAL_V6:
        return "an address that no webhook is at"
    return "" if target.scheme == "https" else "a public address, where only https is allowed"


def checked(target: Target, addresses: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Why not, and the addresses to connect to: none of them if a single one is refused, because any may be chosen next time."""
    found: list[str] = []
    for text in addresses:
        try:
            address = ip_address(text)
        except ValueError:
            return "its name leads to something that is no address", ()
        if reason := refusal(target, address):
            return f"its name leads to {reason.partition(' (')[0]}", ()
        found.append(str(address))
    return ("", tuple(dict.fromkeys(found))) if found else ("its name leads nowhere", ())


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, mapped or behind NAT64; else itself."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else address


def _forbidden(address: Address) -> bool:
    return address != IPv6Address("::1") and any(address in network for network in _NEVER)


def _parsed(url: object, private: bool) -> Target:
    """Raises: ValueError."""
    if not isinstance(url, str) or not 0 < len(url) <= 2048 or any(c <= " " or c in "\\\x7f" for c in url):
        raise ValueError
    parts = urlsplit(url)
    port = parts.port
    if parts.scheme not in ("https", "http") or "@" in parts.netloc or not parts.hostname or port == 0:
        raise ValueError
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = parts.hostname if ":" in parts.hostname else parts.hostname.encode("idna").decode("ascii").lower()
    path.encode("ascii")
    return Target(parts.scheme, host, port or {"https": 443, "http": 80}[parts.scheme], path, private)


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _wrong(option: str, what: str, private: bool) -> ConfigurationError:
    hint = "" if private else "; receivers in your own network need allow_private_webhooks=True"
    return ConfigurationError(f"{option}: a URL {what}; a correct one is 'https://hooks.example.com/lockwatch'{hint}")
