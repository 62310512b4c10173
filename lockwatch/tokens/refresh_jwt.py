"""Refresh tokens as signed JWTs, for clients that expect one. They say the same as opaque ones, about the same sessions. Pure."""

from __future__ import annotations

import re
from typing import Final

from lockwatch.errors import TokenError
from lockwatch.tokens.access import sign
from lockwatch.tokens.claims import Claims, Rules
from lockwatch.tokens.config import JWTConfig
from lockwatch.tokens.names import TAG, tag_of
from lockwatch.tokens.refresh import PARENT, SECRET, RefreshToken, Successor, hash_of
from lockwatch.tokens.ring import KeyRing
from lockwatch.tokens.sealing import NONCE, Wraps, encoded
from lockwatch.tokens.verify import Verifier

REFRESH: Final = "rt+jwt"
_MOST: Final = 2**32
_PARENT: Final = re.compile(f"[A-Za-z0-9_-]{{{PARENT}}}").fullmatch


class Signed:
    """Refresh tokens of media type `rt+jwt`. Type and audience are not those of access tokens (RFC 8725, section 3.12).

    Args:
        config: how tokens are signed.
        ring: the keys to do it with.
        wraps: seals a successor with the token before it.
    """

    def __init__(self, config: JWTConfig, ring: KeyRing, wraps: Wraps) -> None:
        self._config, self._key, self._wraps = config, ring.current, wraps
        self._audience = f"{config.issuer}/refresh"
        rules = Rules(
            issuer=config.issuer,
            audiences=frozenset({self._audience}),
            types=frozenset({REFRESH}),
            algorithms=frozenset({key.algorithm for key in ring.keys.values()}),
            leeway=config.leeway_seconds,
            required=("iat", "jti", "sid", "gen", "par"),
        )
        self._verifier = Verifier(ring.keys, rules)

    def write(self, token: RefreshToken, now: float) -> str:
        """The token as the client gets it."""
        issued = int(now)
        values = {
            "iss": self._config.issuer,
            "aud": self._audience,
            "sub": token.session,
            "sid": token.session,
            "jti": token.secret,
            "iat": issued,
            "exp": issued + max(1, int(self._config.refresh_token_ttl_seconds)),
            "gen": token.generation,
            "par": token.parent,
        }
        return sign(self._key, REFRESH, values)

    def read(self, text: object, now: float) -> RefreshToken | None:
        """What a token says, or None when it is none of ours, or has expired."""
        try:
            return _token(self._verifier.verify(text, now))
        except TokenError:
            return None

    def follow(self, token: RefreshToken, text: str, own: str, random: bytes, now: float) -> Successor:
        """What comes after a token."""
        secret, nonce = encoded(random[:SECRET]), random[SECRET : SECRET + NONCE]
        made = self.write(RefreshToken(token.tag, token.family, token.generation + 1, own[:PARENT], secret), now)
        return Successor(made, hash_of(made), self._wraps.close(made, text, nonce))

    def again(self, token: RefreshToken, text: str, seal: str) -> str | None:
        """The successor of a token once more."""
        return self._wraps.open(seal, text)


def _token(claims: Claims) -> RefreshToken | None:
    session, generation, parent, secret = claims.family or "", claims["gen"], claims["par"], claims.jti or ""
    if tag_of(session) is None or type(generation) is not int or not 0 <= generation < _MOST:
        return None
    if not isinstance(parent, str) or not _PARENT(parent):
        return None
    return RefreshToken(session[:TAG], session[TAG:], generation, parent, secret)
