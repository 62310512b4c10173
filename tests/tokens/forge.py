"""Keys for the tests, and tokens written by hand: whatever bytes, whatever signature."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat, load_pem_private_key

from lockwatch.testing.forging import Forge
from lockwatch.tokens.access import access_verifier
from lockwatch.tokens.config import JWTConfig
from lockwatch.tokens.engine import engine_named
from lockwatch.tokens.keyfile import new_pem
from lockwatch.tokens.keys import Key, key_of_pem
from lockwatch.tokens.ring import KeyRing, ring_of_pem, ring_of_secrets
from lockwatch.tokens.verify import Verifier

ENGINES = ("python-jose", "pyjwt")
ALGORITHMS = ("RS256", "ES256", "HS256")
SECRET = "0123456789abcdef0123456789abcdef"
NOW = 1_750_000_000


@cache
def pem(name: str = "a", algorithm: str = "RS256", bits: int = 2048) -> str:
    """A private key of that name, the same for the whole run."""
    if bits < 2048:
        return rsa.generate_private_key(65_537, bits).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return new_pem(algorithm, bits)


@cache
def ec_pem(curve: str) -> str:
    """A private key on a named curve."""
    key = ec.generate_private_key({"P-384": ec.SECP384R1, "P-521": ec.SECP521R1, "secp256k1": ec.SECP256K1}[curve]())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@cache
def private(text: str) -> Any:
    """The key of the `cryptography` package in a PEM."""
    return load_pem_private_key(text.encode(), None)


def public_bytes(text: str, encoding: Encoding = Encoding.PEM) -> bytes:
    """The public half of a PEM."""
    key = private(text).public_key()
    data: bytes = key.public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
    return data


@cache
def ring(algorithm: str = "RS256", engine: str = "python-jose") -> KeyRing:
    """A ring of one key."""
    config = JWTConfig()
    if algorithm == "HS256":
        return ring_of_secrets([SECRET], engine_named(engine))
    return ring_of_pem(pem("a", algorithm), config, engine_named(engine))


def verifier(algorithm: str = "RS256", engine: str = "python-jose") -> Verifier:
    """Verifies our access tokens."""
    return access_verifier(JWTConfig(), ring(algorithm, engine))


CLAIMS: Mapping[str, Any] = {
    "iss": "lockwatch",
    "sub": "user:42",
    "aud": "lockwatch-api",
    "exp": NOW + 900,
    "iat": NOW,
    "jti": "t-1",
}


def forge_of(algorithm: str = "RS256", engine: str = "python-jose") -> Forge:
    """Writes tokens like those that `verifier` believes."""
    own = private(pem("a", algorithm)) if algorithm == "RS256" else None
    return Forge(ring(algorithm, engine).current, CLAIMS, NOW, private=own)


def claims(**changes: Any) -> dict[str, Any]:
    """Claims that are accepted, changed; ... takes one away."""
    return {name: value for name, value in {**CLAIMS, **changes}.items() if value is not ...}


def header(key: Key, **changes: Any) -> dict[str, Any]:
    """The header of our tokens, changed; ... takes a member away."""
    return Forge(key, CLAIMS, NOW).header(**changes)


def token(
    key: Key,
    head: Any = None,
    body: Any = None,
    *,
    sign: Callable[[bytes], bytes] | None = None,
) -> str:
    """A signed token of whatever header and payload."""
    return Forge(key, CLAIMS, NOW).token(head, body, sign)


@cache
def key_of(text: str, engine: str = "python-jose") -> Key:
    """The key in a PEM."""
    return key_of_pem(text, engine_named(engine))
