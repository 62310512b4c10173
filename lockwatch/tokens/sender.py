"""Where a request with a cookie comes from, as browsers say it (RFC 6454; Fetch Metadata). Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from ipaddress import ip_address
from typing import Final, NamedTuple

from lockwatch.errors import ConfigurationError

_ORIGIN: Final = re.compile(r"(https?)://([a-z0-9.-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?").fullmatch
_PORTS: Final = {"http": "80", "https": "443"}


class Sender(NamedTuple):
    """What a request says of where it comes from. Headers that are missing are empty.

    Attributes:
        method: of HTTP, or ``WEBSOCKET``.
        host: the header `Host`.
        origin: the header `Origin`.
        site: the header `Sec-Fetch-Site`.
        shown: the header `X-CSRF-Token`.
    """

    method: str
    host: str
    origin: str
    site: str
    shown: str

    @property
    def told(self) -> bool:
        """Whether a browser said anything."""
        return bool(self.origin or self.site)

    def is_own(self, trusted: Collection[str] = ()) -> bool:
        """Whether a page of this site sent it, or of one of the `trusted` origins.

        Cookies that are `Secure` belong to pages that came over TLS. So an origin with ``http`` is another one, but for a
        machine that talks to itself.
        """
        if not self.origin:
            return self.site in ("same-origin", "none")
        origin = canonical(self.origin)
        if origin in trusted:
            return origin is not None
        return origin is not None and bool(self.host) and origin in _own(self.host)


def canonical(origin: str) -> str | None:
    """An origin in lower case and without the port that goes without saying; None for what is no origin of the web."""
    found = _ORIGIN(origin.lower())
    if found is None:
        return None
    scheme, host, port = found.groups()
    return f"{scheme}://{host}" if port in (None, _PORTS[scheme]) else f"{scheme}://{host}:{port}"


def read_origins(origins: Iterable[str], option: str = "trusted_origins") -> frozenset[str]:
    """Origins as somebody wrote them. Raises: ConfigurationError."""
    found = {origin: canonical(origin) if isinstance(origin, str) else None for origin in origins}
    for origin, read in found.items():
        if read is None:
            raise ConfigurationError(f"{option}: {origin!r} is no origin; a correct one is 'https://app.example.com'")
    return frozenset(read for read in found.values() if read is not None)


def _own(host: str) -> set[str | None]:
    """The origins of a host that may send its cookies."""
    own = {canonical(f"https://{host}")}
    if _is_this_machine(host):
        own.add(canonical(f"http://{host}"))
    return own


def _is_this_machine(host: str) -> bool:
    name = host.lower().rsplit(":", 1)[0] if not host.endswith("]") else host
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
