"""Third parties whose access tokens are believed: Auth0, Keycloak, Entra, Cognito, Okta and others."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from lockwatch.errors import ConfigurationError, IssuerError
from lockwatch.tokens.claims import Rules
from lockwatch.tokens.encoding import read_object
from lockwatch.tokens.habits import PLAIN, PRESETS, Habits
from lockwatch.tokens.keys import ASYMMETRIC

DISCOVERY: Final = "/.well-known/openid-configuration"


class Issuer:
    """A third party whose access tokens are accepted.

    Args:
        url: what its tokens say in `iss`, exactly, with or without a slash at the end as there.
        audience: what they have to say in `aud`: your API. For Cognito the id of the app client. Several are possible.
        jwks_url: where its keys are; by default where the preset has them, else where its discovery document says.
        algorithms: what it signs with; public-key algorithms only.
        preset: ``auth0``, ``keycloak``, ``entra``, ``cognito``, ``okta``; None for any party that follows RFC 9068, or whose tokens
            can be told from ID tokens by `scope` or `client_id`.

    Raises: ConfigurationError.
    """

    __slots__ = ("algorithms", "audiences", "habits", "jwks_url", "preset", "url")

    def __init__(
        self,
        url: str,
        *,
        audience: str | Iterable[str],
        jwks_url: str | None = None,
        algorithms: Iterable[str] = ("RS256",),
        preset: str | None = None,
    ) -> None:
        self.url, self.preset = check_url("issuer", url), preset
        self.audiences = _audiences(audience)
        self.algorithms = _algorithms(algorithms)
        self.habits = _habits(preset)
        where = self.habits.jwks_url
        self.jwks_url = check_url("jwks_url", jwks_url) if jwks_url is not None else where(url) if where is not None else None

    def __repr__(self) -> str:
        return f"Issuer({self.url!r}, preset={self.preset!r})"

    @property
    def discovery_url(self) -> str:
        """Where its discovery document is (OpenID Connect Discovery 1.0, section 4)."""
        return self.url.rstrip("/") + DISCOVERY

    def rules(self, leeway: float = 30) -> Rules:
        """What its access tokens have to say."""
        habits = self.habits
        return Rules(
            issuer=self.url,
            audiences=self.audiences,
            types=habits.types,
            algorithms=frozenset(self.algorithms),
            leeway=leeway,
            required=(),
            known_headers_only=False,
            audience_of=habits.audience_of,
            scopes_of=habits.scopes_of,
            roles_of=habits.roles_of,
            is_access=habits.is_access,
        )


def jwks_url_in(document: bytes, issuer: Issuer) -> str:
    """Where a discovery document says the keys are. Raises: IssuerError, also when the document is of another issuer."""
    try:
        values = read_object(document)
    except ValueError:
        raise IssuerError(f"the discovery document of {issuer.url} is no strict JSON object") from None
    if values.get("issuer") != issuer.url:
        raise IssuerError(f"the discovery document of {issuer.url} is of another issuer; check the slash at its end")
    try:
        return check_url("jwks_uri", values.get("jwks_uri"))
    except ConfigurationError as error:
        raise IssuerError(f"the discovery document of {issuer.url} has no usable jwks_uri") from error


def check_url(name: str, url: object) -> str:
    """A URL that keys may come from: https, or http to this machine. Raises: ConfigurationError."""
    try:
        parts = urlsplit(url) if isinstance(url, str) and url.isprintable() and " " not in url else None
        fits = parts is not None and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        parts, fits = None, False
    if parts is None or not fits or parts.query or parts.fragment or parts.username is not None:
        raise ConfigurationError(f"{name} is no URL like 'https://login.example.com/tenant', without user, query and fragment")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        raise ConfigurationError(f"{name}={url!r} is not https; keys fetched over {parts.scheme} could be anybody's")
    return str(url)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _audiences(audience: str | Iterable[str]) -> frozenset[str]:
    found = frozenset([audience] if isinstance(audience, str) else audience)
    if not found or not all(isinstance(one, str) and one for one in found):
        raise ConfigurationError(f"audience={audience!r} names no audience; a correct one is audience='https://api.example.com'")
    return found


def _algorithms(algorithms: Iterable[str]) -> tuple[str, ...]:
    found = (algorithms,) if isinstance(algorithms, str) else tuple(algorithms)
    if not found or any(name not in ASYMMETRIC for name in found):
        raise ConfigurationError(f"algorithms={found!r}: each has to be one of {', '.join(ASYMMETRIC)}")
    return found


def _habits(preset: str | None) -> Habits:
    if preset is None:
        return PLAIN
    if preset not in PRESETS:
        raise ConfigurationError(f"preset={preset!r} is not one of {', '.join(map(repr, PRESETS))}, or None")
    return PRESETS[preset]
