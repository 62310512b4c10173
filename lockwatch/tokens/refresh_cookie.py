"""The refresh token of a browser, in a cookie that no script reads and no other site sends. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from email.utils import formatdate
from typing import Final

from lockwatch.errors import ConfigurationError
from lockwatch.tokens.endpoints import Unreadable
from lockwatch.tokens.pair import TokenPair
from lockwatch.tokens.sender import Sender, canonical, read_origins

NAME: Final = "__Secure-lockwatch-refresh"
_SHOW: Final = "the cookie is taken from a page of this site only; send Sec-Fetch-Site: same-origin, or the Origin of this site"
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+").fullmatch
_PATH: Final = re.compile(r"/[A-Za-z0-9/._~-]*").fullmatch


class RefreshCookie:
    """Keeps refresh tokens in a cookie: Secure, HttpOnly, SameSite=Strict, sent to the endpoints of sessions alone.

    A request with the cookie has to show that a page of this site sent it, by `Sec-Fetch-Site` or `Origin`: headers that browsers
    set, and scripts cannot.

    Args:
        path: what the paths of these endpoints begin with, as browsers see them.
        name: of the cookie; it begins with ``__Secure-``, so that browsers take it over TLS only.
        trusted_origins: further origins whose pages may send it. They are on the same site, like ``https://app.example.com`` for
            ``https://api.example.com``: browsers send the cookie from no other.

    Raises: ConfigurationError.
    """

    __slots__ = ("_name", "_path", "_trusted")

    def __init__(self, path: str = "/auth", name: str = NAME, trusted_origins: Iterable[str] = ()) -> None:
        if not name.startswith("__Secure-") or not _TOKEN(name):
            raise ConfigurationError(
                f"name={name!r} is no name of a cookie that begins with '__Secure-'; a correct one is {NAME!r}"
            )
        if not _PATH(path):
            raise ConfigurationError(f"path={path!r} is not a path of letters, digits, '/', '.', '_', '~' and '-', like '/auth'")
        self._name, self._path = name, path
        self._trusted = read_origins((trusted_origins,) if isinstance(trusted_origins, str) else trusted_origins)

    def check(self, prefix: str) -> None:
        """Whether browsers would send it to paths that begin with `prefix`. Raises: ConfigurationError.

        A proxy, or a router that includes these endpoints, may have put something in front of it.
        """
        if not self._path.endswith(prefix) and not prefix.startswith(self._path):
            raise ConfigurationError(
                f"the cookie goes to {self._path!r}, but the endpoints are at {prefix!r}; a correct one: RefreshCookie({prefix!r})"
            )

    def read(self, headers: Mapping[str, str]) -> str | None:
        """The refresh token of a request, if there is one; of two cookies the first. `headers` have names in lower case.

        Raises: Unreadable, with status 403, when there is one and nothing shows that a page of this site sent it.
        """
        parts = [part.strip().partition("=") for part in headers.get("cookie", "").split(";")]
        found = next((value for name, _, value in parts if name == self._name), None)
        if found is not None and not self._is_own(headers):
            raise Unreadable(_SHOW, 403)
        return found

    def keep(self, pair: TokenPair) -> str:
        """The value of `Set-Cookie` after a login or a refresh."""
        return self._written(pair.refresh_token, pair.refresh_expires_at)

    def drop(self) -> str:
        """The value of `Set-Cookie` when the session is over."""
        return self._written("", 0)

    def _is_own(self, headers: Mapping[str, str]) -> bool:
        host, origin, site = [headers.get(name, "") for name in ("host", "origin", "sec-fetch-site")]
        if site in ("same-origin", "same-site"):
            return site == "same-origin" or canonical(origin) in self._trusted
        return not site and bool(origin) and Sender("POST", host, origin, site, "").is_own(self._trusted)

    def _written(self, value: str, expires_at: int) -> str:
        date = formatdate(expires_at, usegmt=True)
        return f"{self._name}={value}; Path={self._path}; Expires={date}; Secure; HttpOnly; SameSite=Strict"
