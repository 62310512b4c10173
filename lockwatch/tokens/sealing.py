"""What the store keeps of a session it cannot read: sealed texts, and names made of hashes. Pure: nonces are arguments.

AES-256-GCM (NIST SP 800-38D) under keys derived with HKDF (RFC 5869), one per purpose. A sealed text is bound to its session and
its purpose: moved elsewhere, it does not open.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import blake2s
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lockwatch.limits.buckets import derive_key
from lockwatch.tokens.encoding import decode, encode
from lockwatch.tokens.outcomes import Grant

NONCE: Final = 12
NONE: Final = "-"
"""The word for nothing."""
_read: Final = json.JSONDecoder().raw_decode


def encoded(data: bytes) -> str:
    """base64url without padding (RFC 4648, section 5)."""
    return encode(data).decode()


def decoded(text: str) -> bytes:
    """The bytes of `encoded`; none for anything that `encoded` does not write."""
    try:
        return decode(text.encode())
    except ValueError:
        return b""


class Sealer:
    """Opens and closes what goes to the store.

    Args:
        secrets: newest first. The newest closes, each opens.
        namespace: what is sealed in one does not open in another.
    """

    __slots__ = ("_boxes", "_subjects")

    def __init__(self, secrets: Sequence[bytes], namespace: str) -> None:
        self._boxes = [AESGCM(derive_key(secret, f"session:{namespace}")) for secret in secrets]
        self._subjects = [derive_key(secret, f"session-subject:{namespace}") for secret in secrets]

    def tags(self, subject: str) -> tuple[str, ...]:
        """What a subject is called in the store, by each secret: 16 characters, newest first."""
        data = subject.encode("utf-8", "surrogatepass")
        return tuple([encoded(blake2s(data, key=key, digest_size=12).digest()) for key in self._subjects])

    def close_grant(self, grant: Grant, session: str, nonce: bytes) -> str:
        """Seal what a login was good for. Raises: TypeError for claims that are not JSON."""
        parts = [grant.subject, grant.auth_time, dict(grant.claims)]
        return self._close(json.dumps(parts, separators=(",", ":"), allow_nan=False).encode(), b"grant" + session.encode(), nonce)

    def open_grant(self, text: str, session: str) -> Grant | None:
        """The grant, or None when it was sealed with a secret that is gone."""
        data = self._open(text, b"grant" + session.encode())
        if data is None:
            return None
        (subject, auth_time, claims), _ = _read(data.decode())
        return Grant(subject, claims, auth_time)

    def close_device(self, device: Mapping[str, str] | None, session: str, nonce: bytes) -> str:
        """Seal what is said of a device; `NONE` when nothing is."""
        if not device:
            return NONE
        return self._close(json.dumps(bounded(device), separators=(",", ":")).encode(), b"device" + session.encode(), nonce)

    def open_device(self, text: str, session: str) -> Mapping[str, str]:
        """What was said of a device; empty when nothing was, or when the secret is gone."""
        data = None if text == NONE else self._open(text, b"device" + session.encode())
        device: dict[str, str] = json.loads(data) if data else {}
        return device

    def _close(self, data: bytes, bound_to: bytes, nonce: bytes) -> str:
        return encoded(nonce + self._boxes[0].encrypt(nonce, data, bound_to))

    def _open(self, text: str, bound_to: bytes) -> bytes | None:
        try:
            data = decode(text.encode())
        except ValueError:
            return None
        nonce, closed = data[:NONCE], data[NONCE:]
        for box in self._boxes:
            try:
                return box.decrypt(nonce, closed, bound_to)
            except (InvalidTag, ValueError):
                continue
        return None


class Wraps:
    """Seals a refresh token for whoever holds the one before it, and nobody else: not this process, not the store.

    Args:
        secrets: newest first. The newest closes, each opens.
        namespace: what is sealed in one does not open in another.
    """

    __slots__ = ("_keys",)

    def __init__(self, secrets: Sequence[bytes], namespace: str) -> None:
        self._keys = [derive_key(secret, f"successor:{namespace}") for secret in secrets]

    def close(self, successor: str, token: str, nonce: bytes) -> str:
        """Seal the successor of `token`."""
        return encoded(nonce + _lock(self._keys[0], token).encrypt(nonce, successor.encode(), b"successor"))

    def open(self, text: str, token: str) -> str | None:
        """The successor of `token`, or None when it does not open."""
        data = decoded(text)
        for key in self._keys:
            try:
                return _lock(key, token).decrypt(data[:NONCE], data[NONCE:], b"successor").decode()
            except (InvalidTag, ValueError):
                continue
        return None


def bounded(device: Mapping[str, Any]) -> dict[str, str]:
    """What of a device is kept: 8 entries of at most 256 characters."""
    return {str(name)[:32]: str(value)[:256] for name, value in list(device.items())[:8]}


def _lock(key: bytes, token: str) -> AESGCM:
    return AESGCM(blake2s(token.encode(), key=key).digest())
