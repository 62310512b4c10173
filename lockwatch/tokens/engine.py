"""What lockwatch asks of a JOSE library: to sign bytes, and to say whether a signature of bytes is right.

Everything else about a token (its form, its header, which key, every claim) is decided in `verify` and `claims`. So a flaw in a
library's own parser is none of ours, and the library is changed with one setting.
"""

from __future__ import annotations

from typing import Any, Protocol

from lockwatch.errors import ConfigurationError


class Engine(Protocol):
    """A JOSE library."""

    def load(self, algorithm: str, key: Any) -> Any:
        """The library's own object for a key of the `cryptography` package, or for the bytes of a secret. Made once per key."""

    def sign(self, key: Any, signing_input: bytes) -> bytes:
        """The signature in the form of RFC 7518: for ES256 two numbers of 32 bytes, not DER."""

    def verify(self, key: Any, signing_input: bytes, signature: bytes) -> bool:
        """Whether the signature is right. Never raises for any `signature`."""


def engine_named(name: str) -> Engine:
    """``python-jose`` or ``pyjwt``, imported now. Raises: ConfigurationError when it is not installed."""
    if name == "python-jose":
        from lockwatch.tokens.engine_jose import JoseEngine

        return JoseEngine()
    try:
        from lockwatch.tokens.engine_pyjwt import PyJWTEngine
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "jwt":
            raise
        raise ConfigurationError("engine='pyjwt' needs PyJWT: pip install 'lockwatch[pyjwt]'") from None
    return PyJWTEngine()
