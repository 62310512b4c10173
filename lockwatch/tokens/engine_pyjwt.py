"""PyJWT, reduced to its algorithms. Its parsers are not used."""

from __future__ import annotations

from typing import Any, Final

from jwt.algorithms import get_default_algorithms

_ALGORITHMS: Final = get_default_algorithms()


class PyJWTEngine:
    """Signs and verifies with PyJWT."""

    def load(self, algorithm: str, key: Any) -> Any:
        """PyJWT's algorithm, and the key in the form it wants."""
        method = _ALGORITHMS[algorithm]
        return method, method.prepare_key(key)

    def sign(self, key: Any, signing_input: bytes) -> bytes:
        """The signature."""
        method, prepared = key
        signature: bytes = method.sign(signing_input, prepared)
        return signature

    def verify(self, key: Any, signing_input: bytes, signature: bytes) -> bool:
        """Whether the signature is right."""
        method, prepared = key
        return method.verify(signing_input, prepared, signature) is True
