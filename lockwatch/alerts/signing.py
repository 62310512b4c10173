"""Signatures of webhooks: Standard Webhooks 1.0.0, symmetric (v1, HMAC-SHA256) and asymmetric (v1a, Ed25519). Pure.

What is signed is ``{id}.{timestamp}.{body}``, the body byte by byte as it was sent.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from lockwatch.errors import ConfigurationError, InvalidWebhook

TOLERANCE: Final = 300
"""Seconds by which the clocks of sender and receiver may differ."""
SYMMETRIC: Final = "whsec_"
PRIVATE: Final = "whsk_"
PUBLIC: Final = "whpk_"
_MAX_SIGNATURES: Final = 16
_MAKE: Final = "python -c \"import base64, secrets; print('whsec_' + base64.b64encode(secrets.token_bytes(32)).decode())\""
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}")


class Key(Protocol):
    """Something that signs or verifies, under the name of its scheme."""

    scheme: str

    def sign(self, content: bytes) -> bytes:
        """The signature of `content`."""

    def verifies(self, content: bytes, signature: bytes) -> bool:
        """Whether `signature` is one of `content`."""


class Headers(Protocol):
    """Headers of a request, in whatever class a framework has them."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Names and values."""


class SymmetricKey:
    """Scheme ``v1``."""

    scheme = "v1"

    def __init__(self, key: bytes) -> None:
        self._key = key

    def sign(self, content: bytes) -> bytes:
        """The HMAC of `content`."""
        return hmac.digest(self._key, content, hashlib.sha256)

    def verifies(self, content: bytes, signature: bytes) -> bool:
        """Compares in constant time."""
        return hmac.compare_digest(self.sign(content), signature)


class PublicKey:
    """Scheme ``v1a``, for receivers."""

    scheme = "v1a"

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key

    def sign(self, content: bytes) -> bytes:
        """Raises: TypeError; a public key cannot sign."""
        raise TypeError("a whpk_ key cannot sign")

    def verifies(self, content: bytes, signature: bytes) -> bool:
        """Whether the private half signed `content`."""
        try:
            self._key.verify(signature, content)
        except InvalidSignature:
            return False
        return True


class PrivateKey(PublicKey):
    """Scheme ``v1a``, for the sender."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        super().__init__(key.public_key())
        self._private = key

    def sign(self, content: bytes) -> bytes:
        """The signature of `content`."""
        return self._private.sign(content)


def read_key(secret: str | bytes, *, signs: bool) -> Key:
    """The key that a secret is: ``whsec_``, ``whsk_`` or ``whpk_`` and base64; without a prefix it is ``whsec_``.

    Raises: ConfigurationError, which never quotes it.
    """
    text = secret.decode("ascii", "replace") if isinstance(secret, bytes) else secret
    text = text.strip()
    if text.startswith(PRIVATE):
        return PrivateKey(Ed25519PrivateKey.from_private_bytes(_bytes_of(text.removeprefix(PRIVATE), (32, 64))[:32]))
    if text.startswith(PUBLIC) and not signs:
        return PublicKey(Ed25519PublicKey.from_public_bytes(_bytes_of(text.removeprefix(PUBLIC), (32,))))
    if text.startswith(PUBLIC):
        raise ConfigurationError("webhook_secrets: a whpk_ key is the receiver's half and cannot sign; give the whsk_ key")
    return SymmetricKey(_bytes_of(text.removeprefix(SYMMETRIC), range(24, 65)))


def signature(keys: Sequence[Key], name: str, timestamp: int, body: bytes) -> str:
    """The header ``webhook-signature``: one entry for each key, so that receivers may change theirs at any time."""
    content = f"{name}.{timestamp}.".encode() + body
    return " ".join(f"{key.scheme},{b64encode(key.sign(content)).decode()}" for key in keys)


def verify(keys: Sequence[Key], headers: Headers, body: bytes, now: float, tolerance: float = TOLERANCE) -> None:
    """Check who sent a webhook, and when.

    Args:
        headers: as received, names in any case.
        body: as received, before anything parsed it.
        now: seconds since 1970.

    Raises: InvalidWebhook.
    """
    given = {name.lower(): value for name, value in headers.items()}
    name, stamp, signatures = (given.get(f"webhook-{part}", "") for part in ("id", "timestamp", "signature"))
    if not name or not _TIMESTAMP.fullmatch(stamp) or not signatures:
        raise InvalidWebhook("the headers webhook-id, webhook-timestamp and webhook-signature are missing or malformed")
    if abs(now - int(stamp)) > tolerance:
        raise InvalidWebhook(f"the webhook was sent more than {tolerance:g} seconds ago, or a clock is wrong")
    content = f"{name}.{stamp}.".encode("utf-8", "surrogateescape") + body
    for entry in signatures.split(" ")[:_MAX_SIGNATURES]:
        scheme, _, text = entry.partition(",")
        signed = _decoded(text)
        if signed is not None and any(key.scheme == scheme and key.verifies(content, signed) for key in keys):
            return
    raise InvalidWebhook("no signature of the webhook is by one of the secrets")


def _bytes_of(text: str, lengths: Sequence[int]) -> bytes:
    key = _decoded(text)
    if key is None or len(key) not in lengths:
        raise ConfigurationError(
            "webhook_secrets: a secret is whsec_ and 24 to 64 random bytes in base64 (or whsk_ and an Ed25519 key of 32 bytes); "
            f"make one with: {_MAKE}"
        )
    return key


def _decoded(text: str) -> bytes | None:
    """Bytes of base64, or None."""
    try:
        return b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
