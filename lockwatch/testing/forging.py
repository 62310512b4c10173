"""Writes tokens by hand: whatever header, payload and signature, from the key of an application or without it."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lockwatch.tokens.encoding import decode, encode
from lockwatch.tokens.keys import CURVES, Key

Sign = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Forge:
    """What an attacker, or an application gone wrong, could write.

    Args:
        key: the key that signs the application's tokens.
        claims: of a token that is believed at `now`.
        now: seconds since 1970.
        leeway: seconds that clocks may differ.
        lifetime: seconds from `iat` to `exp` at most.
        private: the RSA key of `key`, where it is at hand: for what only it can sign.
    """

    key: Key
    claims: Mapping[str, Any]
    now: float
    leeway: float = 30
    lifetime: float = 86_400
    private: Any = None

    @property
    def family(self) -> str:
        """``RS``, ``ES`` or ``HS``."""
        return self.key.algorithm[:2]

    def said(self, **changes: Any) -> dict[str, Any]:
        """The claims, changed; ... takes one away."""
        return {name: value for name, value in {**self.claims, **changes}.items() if value is not ...}

    def header(self, **changes: Any) -> dict[str, Any]:
        """The header of a token that is believed, changed; ... takes a member away."""
        members = {"alg": self.key.algorithm, "kid": self.key.kid, "typ": "at+jwt", **changes}
        return {name: value for name, value in members.items() if value is not ...}

    def token(self, head: Any = None, body: Any = None, sign: Sign | None = None) -> str:
        """A token of a header and a payload: an object, or bytes as they are. Signed with the key unless `sign` does."""
        head = self.header() if head is None else head
        body = self.said() if body is None else body
        signing_input = encode(_text(head)) + b"." + encode(_text(body))
        return (signing_input + b"." + encode((sign or self.key.sign)(signing_input))).decode()

    def mac(self, secret: bytes) -> Sign:
        """Signs as HS256 would with that secret."""
        return lambda data: hmac.digest(secret, data, "sha256")

    def public(self, encoding: Encoding = Encoding.PEM) -> bytes:
        """The public half of the key, as anybody can have it."""
        data: bytes = _public(tuple(sorted((self.key.jwk or {}).items()))).public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
        return data

    def sign_with(self, digest: hashes.HashAlgorithm, pss: bool = False) -> Sign:
        """Signs with the key, in a way it is not meant for."""
        scheme = padding.PSS(padding.MGF1(digest), digest.digest_size) if pss else padding.PKCS1v15()
        return lambda data: bytes(self.private.sign(data, scheme, digest))

    def numbers(self, data: bytes) -> tuple[int, int]:
        """r and s of the right ECDSA signature."""
        signature = self.key.sign(data)
        half = len(signature) // 2
        return int.from_bytes(signature[:half]), int.from_bytes(signature[half:])

    def der(self, data: bytes) -> bytes:
        """The right ECDSA signature in another form."""
        return utils.encode_dss_signature(*self.numbers(data))


def stranger(algorithm: str) -> Sign:
    """Signs with a key that nobody has seen, in the right way."""
    if algorithm.startswith("HS"):
        return lambda data: hmac.digest(b"another secret of at least 32 bytes", data, "sha256")
    private = unknown_key(algorithm)
    if isinstance(private, rsa.RSAPrivateKey):
        return lambda data: private.sign(data, padding.PKCS1v15(), hashes.SHA256())
    size = (private.key_size + 7) // 8

    def sign(data: bytes) -> bytes:
        r, s = utils.decode_dss_signature(private.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(size) + s.to_bytes(size)

    return sign


@cache
def unknown_key(algorithm: str) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    """A new private key for an algorithm, the same for the whole run."""
    if algorithm in CURVES:
        return ec.generate_private_key(CURVES[algorithm][1])
    return rsa.generate_private_key(65_537, 2048)


def _text(value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


@cache
def _public(jwk: tuple[tuple[str, str], ...]) -> Any:
    """The public key in the members of a JWK."""
    said = dict(jwk)

    def number(name: str) -> int:
        return int.from_bytes(decode(said[name].encode()))

    if said["kty"] == "RSA":
        return rsa.RSAPublicNumbers(number("e"), number("n")).public_key()
    curve = next(curve for name, curve in CURVES.values() if name == said["crv"])
    return ec.EllipticCurvePublicNumbers(number("x"), number("y"), curve).public_key()
