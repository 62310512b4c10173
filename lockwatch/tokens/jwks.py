"""JSON Web Key Sets (RFC 7517): the one we publish, and those of others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from lockwatch.errors import ConfigurationError, IssuerError
from lockwatch.tokens.encoding import decode, encode, read_object
from lockwatch.tokens.engine import Engine
from lockwatch.tokens.keys import CURVES, RSA_ALGORITHMS, Key, PublicKey, public_key

MAX_AGE: Final = 300
"""Seconds that others may keep our key set."""
MAX_SET_BYTES: Final = 262_144
MAX_KEYS: Final = 100
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


@dataclass(frozen=True, slots=True)
class Document:
    """A key set as it is served: the same bytes and tag in every process with the same keys."""

    body: bytes
    etag: str

    def answer(self, if_none_match: str | None = None) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Status, headers and body: 304 for who has it already (RFC 9110, section 13.1.2)."""
        headers = [(b"etag", self.etag.encode()), (b"cache-control", b"public, max-age=%d" % MAX_AGE)]
        if _matches(if_none_match, self.etag):
            return 304, headers, b""
        described = [(b"content-type", b"application/jwk-set+json"), (b"content-length", b"%d" % len(self.body))]
        return 200, [*described, *headers], self.body


def publish(keys: Iterable[Key]) -> Document:
    """The public members of every asymmetric key, in the order given."""
    published = [{"kid": key.kid, "use": "sig", "alg": key.algorithm, **key.jwk} for key in keys if key.jwk is not None]
    body = json.dumps({"keys": published}, separators=(",", ":")).encode()
    return Document(body, f'"{encode(hashlib.sha256(body).digest()[:16]).decode()}"')


def read_keys(body: bytes, algorithms: Sequence[str], engine: Engine) -> dict[str, Key]:
    """The keys of a fetched set that can be used for one of `algorithms`, by kid; what is of no use is passed over.

    A key of a type unknown here, for encryption, too weak or without a kid is of no use, nor is one whose private half is known.
    A key that names no algorithm is used for the first of `algorithms` that fits it.

    Raises: IssuerError when this is no key set, or no key in it is of use.
    """
    if len(body) > MAX_SET_BYTES:
        raise IssuerError(f"a key set of {len(body)} bytes; at most {MAX_SET_BYTES} are read")
    try:
        listed = read_object(body).get("keys")
    except ValueError:
        raise IssuerError("no key set: its text is no strict JSON object") from None
    if not isinstance(listed, list):
        raise IssuerError("no key set: it has no list of keys")
    found: dict[str, Key] = {}
    for jwk in listed[:MAX_KEYS]:
        if (key := read_key(jwk, algorithms, engine)) is not None:
            found.setdefault(key.kid, key)
    if not found:
        raise IssuerError(f"no key of the {len(listed)} in the set is for {', '.join(algorithms)}, with a kid")
    return found


def read_key(jwk: object, algorithms: Sequence[str], engine: Engine) -> Key | None:
    """One key of a set; None when it is of no use."""
    if not isinstance(jwk, dict) or not _is_for_us(jwk):
        return None
    kid, algorithm = jwk.get("kid"), _algorithm(jwk, algorithms)
    if algorithm is None or not isinstance(kid, str) or not 0 < len(kid) <= 128 or not kid.isprintable():
        return None
    try:
        return public_key(_public(jwk, algorithm), algorithm, kid, engine)
    except (ValueError, KeyError, ConfigurationError):
        return None


def _is_for_us(jwk: Mapping[str, Any]) -> bool:
    operations = jwk.get("key_ops", ["verify"])
    return jwk.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations and not _PRIVATE & jwk.keys()


def _algorithm(jwk: Mapping[str, Any], algorithms: Sequence[str]) -> str | None:
    fitting = [name for name in algorithms if _fits(jwk, name)]
    wanted = jwk.get("alg")
    return (fitting[0] if fitting else None) if wanted is None else next((name for name in fitting if name == wanted), None)


def _fits(jwk: Mapping[str, Any], algorithm: str) -> bool:
    if algorithm in RSA_ALGORITHMS:
        return jwk.get("kty") == "RSA"
    return jwk.get("kty") == "EC" and jwk.get("crv") == CURVES[algorithm][0]


def _public(jwk: Mapping[str, Any], algorithm: str) -> PublicKey:
    if jwk["kty"] == "RSA":
        return rsa.RSAPublicNumbers(_integer(jwk["e"], 8), _integer(jwk["n"], 1025)).public_key()
    return ec.EllipticCurvePublicNumbers(_integer(jwk["x"], 66), _integer(jwk["y"], 66), CURVES[algorithm][1]).public_key()


def _integer(text: object, most: int) -> int:
    data = decode(text.encode("ascii")) if isinstance(text, str) and len(text) <= 2 * most else b""
    if not 0 < len(data) <= most:
        raise ValueError("not a number of a key")
    return int.from_bytes(data)


def _matches(if_none_match: str | None, etag: str) -> bool:
    if if_none_match is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in tags or etag in tags
