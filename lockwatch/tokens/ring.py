"""The key ring: the keys of this application. One signs, all verify."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from lockwatch.errors import ConfigurationError
from lockwatch.tokens.config import JWTConfig
from lockwatch.tokens.engine import Engine
from lockwatch.tokens.jwks import Document, publish
from lockwatch.tokens.keys import Key, key_of_pem, key_of_secret
from lockwatch.tokens.rotation import KeyFile


class KeyRing:
    """Keys by kid, the current one first. A changed set of keys is a new ring.

    Attributes:
        current: the key that signs.
        keys: all that verify, by kid.
        jwks: what the world may know of them.
    """

    __slots__ = ("current", "jwks", "keys")

    def __init__(self, keys: Sequence[Key]) -> None:
        if not keys:
            raise ConfigurationError("a key ring without a key; make one with: lockwatch keys generate keys.json")
        self.current = keys[0]
        self.keys = MappingProxyType({key.kid: key for key in keys})
        self.jwks: Document = publish(keys)

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(self.keys)})"


def ring_of_pem(pem: str | bytes, config: JWTConfig, engine: Engine) -> KeyRing:
    """A ring of one private key. Raises: ConfigurationError."""
    return KeyRing([key_of_pem(pem, engine, config.algorithm)])


def ring_of_secrets(secrets: Sequence[str | bytes], engine: Engine) -> KeyRing:
    """A ring of HMAC secrets, newest first. Raises: ConfigurationError."""
    return KeyRing([key_of_secret(secret, engine) for secret in secrets])


def ring_of_file(file: KeyFile, config: JWTConfig, engine: Engine) -> KeyRing:
    """The ring in a key file.

    Raises: ConfigurationError, also when tokens would live longer than the file says: its keys could then be retired too early.
    """
    if (longest := longest_life(config)) > file.token_seconds:
        raise ConfigurationError(
            f"tokens live {longest:g} seconds, but the key file reckons with {file.token_seconds:g}; "
            f"tell it with: lockwatch keys generate FILE --token-ttl {longest:g}"
        )
    ring = KeyRing([key_of_pem(entry.pem, engine, entry.algorithm) for entry in file.entries])
    if [*ring.keys] != [entry.kid for entry in file.entries]:
        raise ConfigurationError(
            "a kid in the key file is not the thumbprint of its key; make the file with: lockwatch keys generate"
        )
    if config.algorithm not in (None, ring.current.algorithm):
        raise ConfigurationError(f"algorithm={config.algorithm!r}, but the current key of the file is for {ring.current.algorithm}")
    return ring


def longest_life(config: JWTConfig) -> float:
    """Seconds that a token signed with a key of the ring lives at most."""
    if config.refresh_format == "jwt":
        return max(config.access_token_ttl_seconds, config.refresh_token_ttl_seconds)
    return config.access_token_ttl_seconds
