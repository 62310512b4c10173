"""What the store keeps of an attack and cannot read: AES-256-GCM (NIST SP 800-38D), bound to what it is. Pure."""

from __future__ import annotations

import json
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lockwatch.tokens.sealing import decoded, encoded

NONCE: Final = 12


class Box:
    """Closes and opens JSON values as words of a call.

    Args:
        key: 32 bytes, the same in all processes of a namespace.
        purpose: what is closed for one opens for no other.
    """

    def __init__(self, key: bytes, purpose: str) -> None:
        self._box = AESGCM(key)
        self._purpose = purpose.encode()

    def close(self, value: Any, nonce: bytes) -> str:
        """Seal a value under 12 random bytes."""
        data = json.dumps(value, separators=(",", ":")).encode("utf-8", "replace")
        return encoded(nonce + self._box.encrypt(nonce, data, self._purpose))

    def open(self, word: str) -> Any:
        """The value, None when it was sealed with another key."""
        data = decoded(word)
        try:
            return json.loads(self._box.decrypt(data[:NONCE], data[NONCE:], self._purpose))
        except (InvalidTag, ValueError):
            return None
