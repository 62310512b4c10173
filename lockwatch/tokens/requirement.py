"""What a route asks of whoever comes: a token, where to look for it, and what it has to say. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final, NamedTuple, TypedDict

from lockwatch.errors import ConfigurationError, TokenError
from lockwatch.tokens.claims import Claims
from lockwatch.tokens.demands import Demands, demands

LOCATIONS: Final = ("header", "cookie", "subprotocol")


class Options(TypedDict, total=False):
    """What a `Requirement` takes: for editors and type checkers, which see it behind ``**options``."""

    scopes: str | Iterable[str]
    roles: str | Iterable[str]
    optional: bool
    fresh: bool | None
    max_age: float | str | None
    locations: str | Iterable[str]
    refresh: bool
    issuer: str | Iterable[str] | None
    audience: str | Iterable[str] | None
    on_store_error: str


class Requirement:
    """A token that a route asks for. Compared by identity.

    Args:
        scopes: all of them are needed; a list, or a text with spaces.
        roles: one of them is needed.
        optional: a request without a token is let in. A bad token never is.
        fresh: the token has to come from a login, not from a refresh after it.
        max_age: seconds since the login at most, or a text like ``5m`` (RFC 9470).
        locations: where tokens are looked for, in this order: ``header``; ``cookie``, which needs a CSRF token too where
            something is changed; ``subprotocol``, where a browser's WebSocket offers
            ``["bearer", token]``.
        refresh: a refresh token is asked for instead, whose session lives. It is not used up, and its claims name the session only.
        issuer: only tokens of this issuer, or of these.
        audience: only tokens that have this audience, or one of these, too.
        on_store_error: ``deny``, or ``allow`` to believe a token while nobody knows whether it was revoked.

    Raises: ConfigurationError.
    """

    def __init__(
        self,
        *,
        scopes: str | Iterable[str] = (),
        roles: str | Iterable[str] = (),
        optional: bool = False,
        fresh: bool | None = None,
        max_age: float | str | None = None,
        locations: str | Iterable[str] = ("header",),
        refresh: bool = False,
        issuer: str | Iterable[str] | None = None,
        audience: str | Iterable[str] | None = None,
        on_store_error: str = "deny",
    ) -> None:
        self.demands = demands(scopes, roles, max_age, fresh)
        self.optional, self.refresh, self.on_store_error = optional, refresh, on_store_error
        self.locations = _locations(locations)
        self.issuers, self.audiences = _texts("issuer", issuer), _texts("audience", audience)
        if refresh and (self.demands != Demands() or self.audiences is not None):
            raise ConfigurationError("refresh=True asks for a refresh token, which has no scopes, roles, login time or audience")
        if on_store_error not in ("deny", "allow"):
            raise ConfigurationError(f"on_store_error={on_store_error!r} is not one of 'deny', 'allow'")
        self._complete()

    def _complete(self) -> None:
        """Add what an edge needs."""

    def demanded(self, scopes: Iterable[str]) -> Demands:
        """What is demanded of its claims where the route names more scopes."""
        listed = tuple(dict.fromkeys([*self.demands.scopes, *scopes]))
        return self.demands if listed == self.demands.scopes else replace(self.demands, scopes=listed)

    def check(self, claims: Claims) -> None:
        """Whether the token may be used here at all. Raises: TokenError."""
        if self.issuers is not None and claims.issuer not in self.issuers:
            raise TokenError("wrong_issuer")
        if self.audiences is not None:
            said = claims.get("aud")
            if self.audiences.isdisjoint([said] if isinstance(said, str) else said or ()):
                raise TokenError("wrong_audience")


class Access(NamedTuple):
    """A requirement as one route has it, with the scopes that the route adds."""

    requirement: Requirement
    demands: Demands


def _locations(locations: str | Iterable[str]) -> tuple[str, ...]:
    found = (locations,) if isinstance(locations, str) else tuple(dict.fromkeys(locations))
    if not found or any(location not in LOCATIONS for location in found):
        raise ConfigurationError(f"locations={found!r}: each has to be one of {', '.join(map(repr, LOCATIONS))}")
    return found


def _texts(option: str, listed: str | Iterable[str] | None) -> frozenset[str] | None:
    found = None if listed is None else frozenset([listed] if isinstance(listed, str) else listed)
    if found is not None and (not found or not all(isinstance(one, str) and one for one in found)):
        raise ConfigurationError(
            f"{option}={listed!r} is no text and no list of texts; a correct one is {option}='https://a.example'"
        )
    return found
