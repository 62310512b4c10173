"""The strict front end: from the text of a token to claims that are believed, or to a `TokenError`, whatever the text is.

The compact form (RFC 7515, section 7.1) is taken apart by hand: bounds first, then one spelling of base64url, then a header with
nothing in it that could change how it is read, then the key that the header names, then the signature, and only then the claims.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from lockwatch.errors import TokenError
from lockwatch.tokens.claims import Claims, Rules, accept
from lockwatch.tokens.encoding import decode, read_object
from lockwatch.tokens.keys import Key

MAX_TOKEN: Final = 8192
MAX_HEADER: Final = 1366
"""Characters of a header of 1 KiB."""
MAX_KID: Final = 128
MAX_REMEMBERED: Final = 64
_KNOWN: Final = frozenset({"alg", "kid", "typ"})
_FORBIDDEN: Final = frozenset({"crit", "b64", "jwk", "jku", "x5u", "x5c", "zip", "enc", "cty", "epk", "apu", "apv", "p2c", "p2s"})
"""Header members that name a key, point somewhere, or ask for what is not done here (RFC 8725, sections 3.1, 3.10 and 3.11)."""


class Compact(NamedTuple):
    """A token in its parts, each still encoded."""

    header: bytes
    payload: bytes
    signature: bytes
    signing_input: bytes


def split(token: object) -> Compact:
    """The three parts of a token. Raises: TokenError."""
    if not isinstance(token, str) or not token.isascii():
        raise TokenError("malformed")
    if len(token) > MAX_TOKEN:
        raise TokenError("too_large")
    raw = token.encode()
    parts = raw.split(b".", 3)
    if len(parts) != 3 or b"" in parts:
        raise TokenError("malformed")
    header, payload, signature = parts
    if len(header) > MAX_HEADER:
        raise TokenError("too_large")
    return Compact(header, payload, signature, raw[: len(header) + 1 + len(payload)])


class Verifier:
    """Verifies tokens of one issuer and kind, with one set of keys. Other keys or rules are another verifier.

    The header of a token whose signature was right is remembered: the tokens of one key share it, and reading it is half the work.
    """

    __slots__ = ("_headers", "keys", "rules")

    def __init__(self, keys: Mapping[str, Key], rules: Rules) -> None:
        self.keys, self.rules = keys, rules
        self._headers: dict[bytes, tuple[Key, str]] = {}

    def verify(self, token: object, now: float) -> Claims:
        """What the token says, at epoch time `now`. Raises: TokenError, and nothing else, for whatever `token` is."""
        return self.verify_parts(split(token), now)

    def verify_parts(self, token: Compact, now: float) -> Claims:
        """The same for a token that was split already."""
        known = self._headers.get(token.header)
        key, kind = known or self._read_header(token.header)
        if not key.verify(token.signing_input, _bytes(token.signature)):
            raise TokenError("bad_signature")
        if known is None:
            self._remember(token.header, key, kind)
        return accept(_object(token.payload), kind, self.rules, now)

    def _read_header(self, segment: bytes) -> tuple[Key, str]:
        header, rules = _object(segment), self.rules
        if header.keys() & _FORBIDDEN or (rules.known_headers_only and header.keys() - _KNOWN):
            raise TokenError("malformed")
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in rules.algorithms:
            raise TokenError("wrong_algorithm")
        if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID or kid not in self.keys:
            raise TokenError("unknown_key")
        key = self.keys[kid]
        if key.algorithm != algorithm:
            raise TokenError("wrong_algorithm")
        return key, _media_type(header, rules)

    def _remember(self, segment: bytes, key: Key, kind: str) -> None:
        if len(self._headers) >= MAX_REMEMBERED:
            self._headers.clear()
        self._headers[segment] = (key, kind)


def issuer_of(token: Compact) -> str:
    """What the token says its issuer is, unchecked: to choose the verifier, never to believe. Raises: TokenError."""
    issuer = _object(token.payload).get("iss")
    if not isinstance(issuer, str):
        raise TokenError("wrong_issuer")
    return issuer


def _media_type(header: Mapping[str, Any], rules: Rules) -> str:
    """`typ`, compared as a media type (RFC 7515, section 4.1.9)."""
    kind = header.get("typ", "")
    if not isinstance(kind, str):
        raise TokenError("malformed")
    kind = kind.lower().removeprefix("application/")
    if kind not in rules.types:
        raise TokenError("wrong_type")
    return kind


def _bytes(segment: bytes) -> bytes:
    try:
        return decode(segment)
    except ValueError:
        pass
    raise TokenError("malformed")


def _object(segment: bytes) -> dict[str, Any]:
    try:
        return read_object(decode(segment))
    except ValueError:
        pass
    raise TokenError("malformed")  # not from within: the other error holds the text, and would travel along as context
