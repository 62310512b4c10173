"""Keys on disk, and new keys. Does I/O: reads and replaces files, asks the operating system for randomness."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from lockwatch.errors import ConfigurationError, LockwatchError
from lockwatch.tokens import rotation
from lockwatch.tokens.config import JWTConfig
from lockwatch.tokens.engine import Engine, engine_named
from lockwatch.tokens.ring import KeyRing, ring_of_file, ring_of_pem, ring_of_secrets
from lockwatch.tokens.rotation import KeyFile

NAME: Final = "keys.json"
"""The key file in a directory."""
MAX_BYTES: Final = 1_048_576


def new_pem(algorithm: str = "RS256", bits: int = 2048) -> str:
    """A new private key in PEM, for ``RS256`` or ``ES256``."""
    if algorithm not in ("RS256", "ES256"):
        raise ConfigurationError(f"algorithm={algorithm!r} has no key pair; make a key for 'RS256' or 'ES256'")
    key = ec.generate_private_key(ec.SECP256R1()) if algorithm == "ES256" else rsa.generate_private_key(65_537, bits)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def file_at(path: str | os.PathLike[str]) -> Path:
    """The key file that `path` names: itself, or the one in that directory. Links are followed."""
    found = Path(path).resolve()
    return found / NAME if found.is_dir() else found


def read_file(path: Path) -> KeyFile:
    """The content of a key file. Raises: ConfigurationError."""
    return rotation.read(_text(path))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the only right to change a key file, until the block ends. Raises: ConfigurationError."""
    try:
        import fcntl
    except ImportError:  # Windows has no such lock; a key file is still replaced at once
        yield
        return
    try:
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigurationError(f"the directory of {path} cannot be opened ({error.strerror})") from None
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def replace_file(path: Path, file: KeyFile) -> None:
    """Replace a key file at once, or leave it as it was. Its owner stays, and is the only one to read it.

    Raises: ConfigurationError.
    """
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as target:
                _keep_owner(path, target.fileno())
                target.write(rotation.write(file))
                target.flush()
                os.fsync(target.fileno())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        _sync(path.parent)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written ({error.strerror})") from None


def open_ring(config: JWTConfig, engine: Engine | None = None) -> KeyRing:
    """The key ring that `config` describes; without any key in it, a new key that lives as long as the process.

    Raises: ConfigurationError.
    """
    engine = engine or engine_named(config.engine)
    if config.secrets:
        return ring_of_secrets([_value(secret) for secret in config.secrets], engine)
    if config.rsa_private_key_path is not None:
        text = _text(file_at(config.rsa_private_key_path))
        return ring_of_file(rotation.read(text), config, engine) if text[:1] == "{" else ring_of_pem(text, config, engine)
    pem = new_pem(config.algorithm or "RS256") if config.rsa_private_key_pem is None else _value(config.rsa_private_key_pem)
    return ring_of_pem(pem, config, engine)


class WatchedRing:
    """The key ring of a configuration, read again when its file changes.

    A file that is gone or broken changes nothing: the keys read before stay, and `problem` says what is wrong.
    """

    def __init__(self, config: JWTConfig, engine: Engine | None = None) -> None:
        self._config, self._engine = config, engine or engine_named(config.engine)
        self._seen = self._stamp()
        self.ring = open_ring(config, self._engine)
        self.problem: LockwatchError | None = None

    def refresh(self) -> bool:
        """Look at the file, and read it if it changed. Returns: whether `ring` is another one now."""
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        self._seen = stamp
        try:
            ring = open_ring(self._config, self._engine)
        except ConfigurationError as problem:
            self.problem = problem
            return False
        changed = [*ring.keys] != [*self.ring.keys]
        self.ring, self.problem = (ring if changed else self.ring), None
        return changed

    def _stamp(self) -> tuple[int, int, int] | None:
        if self._config.rsa_private_key_path is None:
            return None
        try:
            found = file_at(self._config.rsa_private_key_path).stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


def _value(secret: str | bytes | Callable[[], str | bytes]) -> str | bytes:
    return secret() if callable(secret) else secret


def _text(path: Path) -> str:
    try:
        with path.open("rb") as source:
            data = source.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"the key file {str(path)!r} cannot be read ({error.strerror})") from None
    try:
        if len(data) > MAX_BYTES:
            raise ValueError("too long")
        return data.decode()
    except ValueError:
        raise ConfigurationError(f"{str(path)!r} is no key file: it is no UTF-8 text of at most a megabyte") from None


def _keep_owner(path: Path, descriptor: int) -> None:
    """So that root may rotate the keys of a server that runs as somebody else."""
    if hasattr(os, "fchown") and path.exists():
        found = path.stat()
        os.fchown(descriptor, found.st_uid, found.st_gid)


def _sync(directory: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
