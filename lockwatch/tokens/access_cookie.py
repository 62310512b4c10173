"""The access token of a browser in a cookie, and the proof that a page of this site sent it. Pure.

Browsers send cookies with requests that another site made. So a request that changes something has to show a second value, which
only pages of this site can read: an HMAC of its session (signed double submit, as OWASP's cheat sheet on cross-site request forgery
has it). Where a browser says which origin a request comes from, that has to be this one.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Sequence
from email.utils import formatdate
from typing import Final

from lockwatch.errors import CrossSite, InvalidRequest
from lockwatch.limits.buckets import derive_key
from lockwatch.tokens.claims import Claims
from lockwatch.tokens.encoding import encode
from lockwatch.tokens.sender import Sender

ACCESS: Final = "__Host-lockwatch-access"
"""The cookie with the token. Browsers take a name that begins so over TLS only, from this very host, for all of its paths."""
CSRF: Final = "__Host-lockwatch-csrf"
"""The cookie that scripts read."""
HEADER: Final = "X-CSRF-Token"
"""Where they send what they read."""
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods that change nothing (RFC 9110, section 9.2.1)."""


class AccessCookie:
    """Writes the two cookies of a session, and checks who sends them.

    Args:
        secrets: newest first. The newest signs, each is accepted.
        namespace: what is signed in one is not accepted in another.
    """

    __slots__ = ("_keys",)

    def __init__(self, secrets: Sequence[bytes], namespace: str) -> None:
        self._keys = [derive_key(secret, f"csrf:{namespace}") for secret in secrets]

    def keep(self, token: str, session: str, expires_at: float) -> tuple[str, str]:
        """The values of `Set-Cookie` for an access token of a session."""
        date = formatdate(expires_at, usegmt=True)
        return (
            f"{ACCESS}={token}; Path=/; Expires={date}; Secure; HttpOnly; SameSite=Lax",
            f"{CSRF}={_signed(self._keys[0], session)}; Path=/; Expires={date}; Secure; SameSite=Strict",
        )

    def check(self, session: str, sender: Sender, trusted: Collection[str] = ()) -> None:
        """Whether a page of this site, or of a trusted origin, sent the cookie of a session. Raises: CrossSite.

        A WebSocket cannot show a header, so the browser has to have said its origin.
        """
        if sender.method in _SAFE:
            return
        if sender.told and not sender.is_own(trusted):
            raise CrossSite("csrf_origin")
        if sender.method == "WEBSOCKET":
            if not sender.told:
                raise CrossSite("csrf_origin")
            return
        shown = sender.shown.encode("utf-8", "surrogatepass")
        if not any(hmac.compare_digest(_signed(key, session).encode(), shown) for key in self._keys):
            raise CrossSite("csrf_token")


def drop() -> tuple[str, str]:
    """The values of `Set-Cookie` when the session is over."""
    date = formatdate(0, usegmt=True)
    return tuple([f"{name}=; Path=/; Expires={date}; Secure; SameSite=Lax" for name in (ACCESS, CSRF)])  # type: ignore[return-value]


def session_of(claims: Claims) -> str:
    """What the CSRF token of an access token is made of: its session, else the token itself."""
    return claims.family or claims.jti or claims.subject


def token_in(cookies: Sequence[str]) -> str | None:
    """The access token in the `Cookie` headers of a request. Raises: InvalidRequest, when there are two."""
    parts = [part.strip(" \t").partition("=") for line in cookies for part in line.split(";")]
    found = list(dict.fromkeys([value for name, _, value in parts if name == ACCESS and value]))
    if len(found) > 1:
        raise InvalidRequest
    return found[0] if found else None


def _signed(key: bytes, session: str) -> str:
    return encode(hmac.digest(key, session.encode("utf-8", "surrogatepass"), "sha256")).decode()
