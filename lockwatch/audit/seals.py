"""The file that checkpoints are kept in, outside of the database, and the key they are signed with. Does I/O."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from lockwatch.audit.checkpoint import Checkpoint, Head, Register, checkpoint_of
from lockwatch.audit.note import Signer, VerifierKey, joined, notes_in, signer_of, verifier_of
from lockwatch.errors import ConfigurationError, EvidenceError

ORIGIN: Final = "lockwatch/audit"
"""Name of a log that was given none."""


class CheckpointFile:
    """Signed checkpoints, one after another. Several processes may add to one file; each reads what the others added.

    Args:
        path: of the file; made for its owner alone when it is missing. It may be append-only (``chattr +a``).
        signer: whose checkpoints these are.
    """

    def __init__(self, path: str | os.PathLike[str], signer: Signer) -> None:
        self._path = Path(path)
        self._signer = signer
        self._register = Register()
        self._read = 0

    def seal(self, heads: Iterable[Head], time_us: int, behind: bool = False) -> str | None:
        """Add a checkpoint of these heads, and see it on the disk. Returns: its note; None when no head is new.

        With `behind`, heads may be older than what somebody else has sealed of their chains; those are left out.

        Raises: EvidenceError, when a head contradicts one that is sealed, or the file is not as it was left; ConfigurationError,
        when it cannot be written.
        """
        with self._locked() as descriptor:
            self._catch_up(descriptor)
            known = self._register.heads
            if behind:
                heads = [head for head in heads if head.process not in known or head.seq >= known[head.process].seq]
            checkpoint = self._register.next(self._signer.name, heads, max(time_us, self._register.time_us))
            if checkpoint is None:
                return None
            note = self._signer.sign(checkpoint.text)
            _append(descriptor, joined([note]).encode())
            self._register.follow(checkpoint)
            self._read = os.fstat(descriptor).st_size
        return note

    def _catch_up(self, descriptor: int) -> None:
        size = os.fstat(descriptor).st_size
        if size < self._read:
            raise EvidenceError(f"{self._path} is shorter than it was: checkpoints were taken out of it")
        text = os.pread(descriptor, size - self._read, self._read)
        deque(_followed(_text(text, self._path), self._signer.verifier, self._register, every=False), maxlen=0)
        self._read = size

    @contextmanager
    def _locked(self) -> Iterator[int]:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        try:
            descriptor = os.open(self._path, flags, 0o600)
        except OSError as error:
            raise ConfigurationError(f"checkpoints cannot be kept in {str(self._path)!r}: {error.strerror}") from None
        try:
            with suppress(ImportError):  # Windows has no such lock: one process at a time then
                import fcntl

                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        except OSError as error:
            raise ConfigurationError(f"checkpoints cannot be kept in {str(self._path)!r}: {error.strerror}") from None
        finally:
            os.close(descriptor)


def read_checkpoints(path: str | os.PathLike[str], key: VerifierKey) -> Iterator[Checkpoint]:
    """The checkpoints of a file, each checked: signature, and that it follows the one before.

    Raises: EvidenceError at the first that does not hold; ConfigurationError, when the file cannot be read.
    """
    yield from _followed(_text(_bytes(path), path), key, Register())


def load_signer(path: str | os.PathLike[str], origin: str = ORIGIN) -> Signer:
    """The key in a PEM file. Raises: ConfigurationError."""
    return signer_of(_bytes(path), origin)


def load_verifier(option: str) -> VerifierKey:
    """A public key: the line itself, or a file that holds it or a PEM. Raises: ConfigurationError."""
    return verifier_of(option if "+" in option and not Path(option).exists() else _text(_bytes(option), option))


def generate_key(path: str | os.PathLike[str], origin: str = ORIGIN) -> Signer:
    """Make a key in a new file, and the public one beside it, with ``.pub`` after its name. Raises: ConfigurationError."""
    signer = Signer(Ed25519PrivateKey.generate(), origin)
    pem = signer.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for target, content, mode in ((str(path), pem, 0o600), (f"{os.fspath(path)}.pub", f"{signer.verifier}\n".encode(), 0o644)):
        try:
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        except OSError as error:
            raise ConfigurationError(f"a key cannot be written to {target!r}: {error.strerror}; nothing is overwritten") from None
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    return signer


def _followed(text: str, key: VerifierKey, register: Register, every: bool = True) -> Iterator[Checkpoint]:
    """The checkpoints of a text, each signed; without `every`, that of the last one vouches for all heads before it."""
    notes = list(notes_in(text))
    for number, note in enumerate(notes, 1):
        checkpoint = checkpoint_of(note.text)
        if (every or number == len(notes)) and not key.signed(note):
            raise EvidenceError(f"the checkpoint of size {checkpoint.size} is not signed with the key that was given")
        register.follow(checkpoint)
        yield checkpoint


def _append(descriptor: int, data: bytes) -> None:
    """Write all of it or nothing: half a checkpoint would spoil those after it."""
    before = os.fstat(descriptor).st_size
    try:
        if os.write(descriptor, data) < len(data):
            raise OSError(28, "No space left on device")
        os.fsync(descriptor)
    except OSError:
        with suppress(OSError):
            os.ftruncate(descriptor, before)
        raise


def _bytes(path: str | os.PathLike[str]) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{os.fspath(path)!r} cannot be read: {error.strerror}") from None


def _text(data: bytes, path: str | os.PathLike[str]) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ConfigurationError(f"{os.fspath(path)!r} is no UTF-8 text") from None
