"""A key: checked once when it is loaded, bound to one algorithm, called by its RFC 7638 thumbprint."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from lockwatch.errors import ConfigurationError
from lockwatch.tokens.config import secret_bytes
from lockwatch.tokens.encoding import encode, write_object
from lockwatch.tokens.engine import Engine

PrivateKey: TypeAlias = "rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey"
PublicKey: TypeAlias = "rsa.RSAPublicKey | ec.EllipticCurvePublicKey"
CURVES: Final[Mapping[str, tuple[str, ec.EllipticCurve]]] = {
    "ES256": ("P-256", ec.SECP256R1()),
    "ES384": ("P-384", ec.SECP384R1()),
    "ES512": ("P-521", ec.SECP521R1()),
}
RSA_ALGORITHMS: Final = ("RS256", "RS384", "RS512")
ASYMMETRIC: Final = (*RSA_ALGORITHMS, *CURVES)
"""What third parties may sign with."""
MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 8192


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Key:
    """One key of one algorithm, ready to use.

    Attributes:
        kid: its RFC 7638 thumbprint, or the name a third party gave it.
        algorithm: the one algorithm it is for, whatever a token says (RFC 8725, section 3.1).
        jwk: its public members; None for a secret.
    """

    kid: str
    algorithm: str
    jwk: Mapping[str, str] | None
    signature_size: int
    engine: Engine
    verifying: Any
    signing: Any = None

    def __repr__(self) -> str:
        return f"Key(kid={self.kid!r}, algorithm={self.algorithm!r})"

    def sign(self, signing_input: bytes) -> bytes:
        """The signature, in the form of RFC 7518."""
        return self.engine.sign(self.signing, signing_input)

    def verify(self, signing_input: bytes, signature: bytes) -> bool:
        """Whether the signature is right."""
        return len(signature) == self.signature_size and self.engine.verify(self.verifying, signing_input, signature)


def key_of_pem(pem: str | bytes, engine: Engine, algorithm: str | None = None) -> Key:
    """A private key in PEM, for ES256 on P-256, else for RS256. Raises: ConfigurationError, which never quotes it."""
    private = _private(pem)
    fitting = "RS256" if isinstance(private, rsa.RSAPrivateKey) else "ES256"
    if algorithm not in (None, fitting):
        raise ConfigurationError(f"algorithm={algorithm!r} cannot use this private key, which is for {fitting}")
    return private_key(private, fitting, engine)


def private_bytes(pem: str | bytes) -> bytes:
    """A private key in PEM as bytes, the same however the PEM is written. Raises: ConfigurationError, which never quotes it."""
    return _private(pem).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def private_key(private: PrivateKey, algorithm: str, engine: Engine) -> Key:
    """A key that signs. Raises: ConfigurationError for one that is too weak or on another curve."""
    public = private.public_key()
    jwk = public_members(public, algorithm)
    return Key(
        thumbprint(jwk),
        algorithm,
        jwk,
        signature_size(public),
        engine,
        engine.load(algorithm, public),
        engine.load(algorithm, private),
    )


def public_key(public: PublicKey, algorithm: str, kid: str, engine: Engine) -> Key:
    """A key that only verifies. Raises: ConfigurationError for one that is too weak or on another curve."""
    return Key(kid, algorithm, public_members(public, algorithm), signature_size(public), engine, engine.load(algorithm, public))


def key_of_secret(secret: str | bytes, engine: Engine) -> Key:
    """A secret for HS256. Raises: ConfigurationError when it is shorter than 32 bytes (RFC 7518, section 3.2)."""
    material = secret_bytes(secret)
    loaded = engine.load("HS256", material)
    kid = thumbprint({"k": encode(material).decode(), "kty": "oct"})
    return Key(kid, "HS256", None, 32, engine, loaded, loaded)


def thumbprint(jwk: Mapping[str, str]) -> str:
    """The RFC 7638 thumbprint: SHA-256 over the required members in order, without white space."""
    required = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y"), "oct": ("k", "kty")}[jwk["kty"]]
    return encode(hashlib.sha256(write_object({name: jwk[name] for name in required})).digest()).decode()


def public_members(public: PublicKey, algorithm: str) -> dict[str, str]:
    """The public members of a key that fits `algorithm` (RFC 7518, section 6). Raises: ConfigurationError."""
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        if not MIN_RSA_BITS <= public.key_size <= MAX_RSA_BITS or numbers.e.bit_length() > 32:
            raise ConfigurationError(
                f"an RSA key of {public.key_size} bits; it has to have {MIN_RSA_BITS} to {MAX_RSA_BITS}, and a small exponent"
            )
        return {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
    name, curve = CURVES[algorithm]
    if public.curve.name != curve.name:
        raise ConfigurationError(f"an EC key on {public.curve.name}; {algorithm} needs {name}")
    point, size = public.public_numbers(), (public.key_size + 7) // 8
    return {"kty": "EC", "crv": name, "x": _number(point.x, size), "y": _number(point.y, size)}


def signature_size(public: PublicKey) -> int:
    """How many bytes a signature has."""
    size = (public.key_size + 7) // 8
    return size if isinstance(public, rsa.RSAPublicKey) else 2 * size


def _private(pem: str | bytes) -> PrivateKey:
    data = pem.encode("utf-8", "surrogatepass") if isinstance(pem, str) else pem
    if b" ENCRYPTED PRIVATE" in data or b"4,ENCRYPTED" in data:
        raise ConfigurationError("the private key is encrypted; store it without a password, in a file only you can read")
    if b"PRIVATE KEY-----" not in data:
        raise ConfigurationError("not a private key in PEM; a correct one begins with -----BEGIN PRIVATE KEY-----")
    try:
        private = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigurationError("the private key cannot be read; make one with: lockwatch keys generate keys.json") from None
    if not isinstance(private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise ConfigurationError("the private key is neither RSA nor EC; make one with: lockwatch keys generate keys.json")
    return private


def _number(value: int, size: int | None = None) -> str:
    return encode(value.to_bytes(size or (value.bit_length() + 7) // 8)).decode()
