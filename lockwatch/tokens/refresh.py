"""Refresh tokens: what one says, and how it is written so that nobody else can write one. Pure.

An opaque token is 100 characters behind `lwr1_`, the last 24 a keyed hash over the rest as it is written. It is checked before the
store is asked: a forged token costs microseconds, and can neither look for a session nor end one.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from hashlib import blake2s
from typing import Final, NamedTuple, Protocol

from lockwatch.limits.buckets import derive_key
from lockwatch.tokens.sealing import encoded

PREFIX: Final = "lwr1_"
NO_PARENT: Final = "A" * 12
SECRET: Final = 18
PARENT: Final = 12
FOLLOWING: Final = 30
"""Random bytes that a successor takes."""
_MAC: Final = 18
_SALT: Final = 24
_SIGNED: Final = len(PREFIX) + 76
_LENGTH: Final = _SIGNED + 24


class RefreshToken(NamedTuple):
    """What a refresh token says.

    Attributes:
        tag: what its subject is called in the store, 16 characters.
        family: its session among those of the subject, 16 characters.
        generation: how many tokens of the session came before.
        parent: how the hash of the token before it begins, 12 characters.
        secret: what makes it unguessable: 18 random bytes as 24 characters.
    """

    tag: str
    family: str
    generation: int
    parent: str
    secret: str

    @property
    def session(self) -> str:
        """Names its session everywhere: the `sid` of access tokens."""
        return self.tag + self.family


class Format(Protocol):
    """How refresh tokens are written."""

    def write(self, token: RefreshToken, now: float) -> str:
        """The token as the client gets it."""

    def read(self, text: object, now: float) -> RefreshToken | None:
        """What a token says, or None when it is not one of ours, in exactly the way we write it."""

    def follow(self, token: RefreshToken, text: str, own: str, random: bytes, now: float) -> Successor:
        """What comes after the token that says `token`, is written `text` and hashed `own`. Takes `FOLLOWING` random bytes."""

    def again(self, token: RefreshToken, text: str, seal: str) -> str | None:
        """The successor that `follow` made of it, or None when the seal is not of that one, or its secret is gone."""


class Successor(NamedTuple):
    """The token that takes the place of another.

    Attributes:
        text: as the client gets it.
        hash: what the store keeps of it.
        seal: brings it back, with the token before it and nothing less.
    """

    text: str
    hash: str
    seal: str


class Opaque:
    """Refresh tokens nobody can read anything out of: `lwr1_` and 100 characters.

    The secret of a successor is a keyed hash over the token before it and a random number. The seal is that number, and the hash
    of the successor: without the token before it, it leads nowhere, and once it is gone, the token before it does not either.

    Args:
        secrets: newest first. The newest signs, each verifies.
        namespace: tokens of one are none in another.
    """

    __slots__ = ("_keys",)

    def __init__(self, secrets: Sequence[bytes], namespace: str) -> None:
        self._keys = [(derive_key(s, f"refresh:{namespace}"), derive_key(s, f"successor-secret:{namespace}")) for s in secrets]

    def write(self, token: RefreshToken, now: float = 0.0) -> str:
        """The token as the client gets it."""
        return _signed(self._keys[0][0], f"{PREFIX}{token.tag}{token.family}{token.parent}{token.generation:08x}{token.secret}")

    def read(self, text: object, now: float = 0.0) -> RefreshToken | None:
        """What a token says, or None when it is none of ours. When it ends, its session knows."""
        if not isinstance(text, str) or len(text) != _LENGTH or not text.isascii():
            return None
        signed = text[:_SIGNED]
        for key, _ in self._keys:
            if hmac.compare_digest(_signed(key, signed), text):
                return RefreshToken(text[5:21], text[21:37], int(text[49:57], 16), text[37:49], text[57:81])
        return None

    def follow(self, token: RefreshToken, text: str, own: str, random: bytes, now: float = 0.0) -> Successor:
        """What comes after a token."""
        salt = encoded(random[:SECRET])
        made = _successor(self._keys[0], token, text, own, salt)
        hashed = hash_of(made)
        return Successor(made, hashed, salt + hashed)

    def again(self, token: RefreshToken, text: str, seal: str) -> str | None:
        """The successor of a token once more."""
        for keys in self._keys:
            made = _successor(keys, token, text, hash_of(text), seal[:_SALT])
            if hmac.compare_digest(hash_of(made).encode(), seal[_SALT:].encode()):
                return made
        return None


def hash_of(text: str) -> str:
    """What the store keeps of a refresh token: 22 characters from which nobody gets back to it."""
    return encoded(blake2s(text.encode("utf-8", "surrogatepass"), digest_size=16, person=b"lwtoken1").digest())


def _signed(key: bytes, text: str) -> str:
    return text + encoded(blake2s(text.encode(), key=key, digest_size=_MAC).digest())


def _successor(keys: tuple[bytes, bytes], token: RefreshToken, text: str, own: str, salt: str) -> str:
    secret = encoded(blake2s((text + salt).encode(), key=keys[1], digest_size=SECRET).digest())
    return _signed(keys[0], f"{PREFIX}{token.tag}{token.family}{own[:PARENT]}{token.generation + 1:08x}{secret}")
