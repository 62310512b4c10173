"""What a route demands of a token that is good: scopes, roles, and how long ago its user logged in."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from lockwatch.errors import ConfigurationError, InsufficientScope, StaleLogin
from lockwatch.tokens.claims import Claims

_AGE: Final = re.compile(r"([0-9]{1,9}) ?(s|m|h|d)")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class Demands:
    """All of the scopes, one of the roles, a login at most `max_age` seconds ago.

    `fresh` asks for a token from the login itself, not from a refresh after it.
    """

    scopes: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    max_age: float | None = None
    fresh: bool = False

    def check(self, claims: Claims, now: float, leeway: float = 30) -> None:
        """Raises: InsufficientScope, StaleLogin."""
        missing = not claims.scopes.issuperset(self.scopes)
        if missing or (self.roles and claims.roles.isdisjoint(self.roles)):
            raise InsufficientScope(self.scopes)
        if self.max_age is None and not self.fresh:
            return
        login = claims.auth_time
        if login is None or (self.max_age is not None and now - login > self.max_age + leeway):
            raise StaleLogin(self.max_age or 0)
        if self.fresh and (claims.issued_at is None or claims.issued_at > login or claims.get("fresh") is False):
            raise StaleLogin(self.max_age or 0)


def demands(
    scopes: str | Iterable[str] = (), roles: str | Iterable[str] = (), max_age: float | str | None = None, fresh: bool | None = None
) -> Demands:
    """Demands as a developer writes them: a text is scopes with spaces between them, or one role. Raises: ConfigurationError."""
    return Demands(
        _listed("scopes", scopes.split() if isinstance(scopes, str) else scopes, r"\S+"),
        _listed("roles", [roles] if isinstance(roles, str) else roles, r".+"),
        None if max_age is None else seconds(max_age),
        bool(fresh),
    )


def seconds(age: float | str) -> float:
    """An age in seconds, or a text like ``5m``. Raises: ConfigurationError."""
    if isinstance(age, str) and (found := _AGE.fullmatch(age.strip())):
        return int(found[1]) * _SECONDS[found[2]]
    if isinstance(age, bool) or not isinstance(age, int | float) or not 0 <= age < 10**10:
        raise ConfigurationError(f"max_age={age!r} is not a number of seconds of at least 0, or a text like '5m'")
    return age


def _listed(option: str, listed: Iterable[str], form: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(listed))
    if not all(isinstance(one, str) and one.isprintable() and re.fullmatch(form, one) for one in found):
        raise ConfigurationError(f"{option}={found!r} is no list of texts; a correct one is {option}=['profile', 'reports']")
    return found
