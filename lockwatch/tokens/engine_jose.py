"""python-jose, reduced to its key objects. Its parsers (`jose.jwt`, `jose.jws`, `jose.jwe`) are not used."""

from __future__ import annotations

from typing import Any

from jose import jwk
from jose.backends import RSAKey

from lockwatch.errors import ConfigurationError

if RSAKey is None or not RSAKey.__module__.endswith("cryptography_backend"):
    raise ConfigurationError("python-jose runs without the cryptography package: pip install 'python-jose[cryptography]'")


class JoseEngine:
    """Signs and verifies with python-jose."""

    def load(self, algorithm: str, key: Any) -> Any:
        """A `jose.backends.base.Key`."""
        return jwk.construct(key, algorithm)

    def sign(self, key: Any, signing_input: bytes) -> bytes:
        """The signature."""
        signature: bytes = key.sign(signing_input)
        return signature

    def verify(self, key: Any, signing_input: bytes, signature: bytes) -> bool:
        """Whether the signature is right."""
        return key.verify(signing_input, signature) is True
