"""Signed notes: a text and Ed25519 signatures below it, in the form of C2SP signed-note. Pure.

text, some lines

— name base64(4 bytes of key id, 64 bytes of signature)
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from lockwatch.errors import ConfigurationError, EvidenceError

_ED25519: Final = b"\x01"
_NAME: Final = re.compile(r"[^\s+\x00-\x1f\x7f]{1,200}")
_LINE: Final = re.compile(r"\u2014 (\S+) ([A-Za-z0-9+/]+={0,2})")


class Note(NamedTuple):
    """A text and the lines of its signatures."""

    text: str
    signatures: str


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key and the name it signs under.

    Attributes:
        name: None for a key from a PEM, which has no name: any will do.
    """

    public: Ed25519PublicKey
    name: str | None = None

    def __str__(self) -> str:
        """As signed-note spells it: ``name+key id+base64``. Has a name."""
        raw = _ED25519 + self.public.public_bytes_raw()
        name = self.name or ""
        return f"{name}+{_key_id(name, self.public).hex()}+{b64encode(raw).decode()}"

    def signed(self, note: Note) -> bool:
        """Whether one of the signatures is by this key. Signatures of others do not count, whatever they are."""
        return any(self._is_by(note.text, *found) for found in _LINE.findall(note.signatures))

    def _is_by(self, text: str, name: str, signature: str) -> bool:
        if self.name not in (None, name):
            return False
        try:
            raw = b64decode(signature, validate=True)
            if raw[:4] != _key_id(name, self.public):
                return False
            self.public.verify(raw[4:], text.encode())
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key and the name it signs under: no space, no plus sign."""

    private: Ed25519PrivateKey
    name: str

    def __post_init__(self) -> None:
        """Raises: ConfigurationError."""
        if not _NAME.fullmatch(self.name):
            raise ConfigurationError(
                f"origin={self.name!r} has a space or a plus sign, or is empty; a correct one is 'shop.example/audit'"
            )

    @property
    def verifier(self) -> VerifierKey:
        """The public half."""
        return VerifierKey(self.private.public_key(), self.name)

    def sign(self, text: str) -> str:
        """The note of a text that ends its last line: text, empty line, signature."""
        signature = _key_id(self.name, self.private.public_key()) + self.private.sign(text.encode())
        return f"{text}\n\u2014 {self.name} {b64encode(signature).decode()}\n"


def signer_of(pem: bytes, name: str) -> Signer:
    """A signer from an unencrypted PKCS #8 PEM. Raises: ConfigurationError."""
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(
            "the key to sign checkpoints with is no unencrypted Ed25519 private key in PEM; make one with: "
            "lockwatch audit checkpoint --generate-key --key checkpoint.pem"
        )
    return Signer(key, name)


def verifier_of(text: str) -> VerifierKey:
    """A public key, from a PEM or from ``name+key id+base64``. Raises: ConfigurationError."""
    found = _from_pem(text) if "-----BEGIN" in text else _from_vkey(text.strip())
    if found is None:
        raise ConfigurationError(
            "the public key of checkpoints is neither an Ed25519 public key in PEM nor a line like "
            "shop.example/audit+0f1e2d3c+AQAAAA...; `lockwatch audit checkpoint --generate-key` writes it beside the key as .pub"
        )
    return found


def notes_in(text: str) -> Iterator[Note]:
    """The notes of a text in which an empty line follows each. Raises: EvidenceError, for what is none."""
    parts = text.split("\n\n")
    if parts.pop().strip() or len(parts) % 2:
        raise EvidenceError("the last checkpoint is incomplete")
    for body, signatures in zip(parts[::2], parts[1::2], strict=True):
        yield Note(body.lstrip("\n") + "\n", signatures)


def joined(notes: Iterable[str]) -> str:
    """Notes one after another, as `notes_in` reads them."""
    return "".join(f"{note}\n" for note in notes)


def _key_id(name: str, key: Ed25519PublicKey) -> bytes:
    return sha256(name.encode() + b"\n" + _ED25519 + key.public_bytes_raw()).digest()[:4]


def _from_pem(text: str) -> VerifierKey | None:
    try:
        key = load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        return None
    return VerifierKey(key) if isinstance(key, Ed25519PublicKey) else None


def _from_vkey(text: str) -> VerifierKey | None:
    name, plus, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    try:
        raw = b64decode(encoded, validate=True)
        if not plus or raw[:1] != _ED25519:
            return None
        found = VerifierKey(Ed25519PublicKey.from_public_bytes(raw[1:]), name)
    except ValueError:
        return None
    return found if _key_id(name, found.public).hex() == key_id else None
