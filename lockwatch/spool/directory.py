"""The directory of the spools: made so that nobody else reads or writes it, and looked through for what dead processes left.

Each spool is one SQLite file of one process, beside a lock file that lives as long as the process holds it. A file whose lock is
free is an orphan, and is adopted by the first process of the same namespace that takes the lock.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lockwatch.errors import LockwatchError

if sys.platform != "win32":
    import fcntl

NETWORK: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "9p", "afs", "ceph", "glusterfs", "lustre", "gpfs", "beegfs", "fuse.sshfs"}
)
"""File systems on which SQLite's WAL, which shares memory between processes, does not work."""
_KEY: Final = 32


class SpoolError(LockwatchError):
    """A spool cannot be used: the message says why, and what to set."""

    code = "spool_error"


@dataclass(frozen=True, slots=True)
class Claim:
    """A spool file this process holds the lock of.

    Attributes:
        path: of the database; `ballast` and the lock lie beside it.
        key: of the checksums of this directory and namespace.
        own: it was made by this process, not adopted.
    """

    path: Path
    key: bytes
    lock: int
    own: bool

    @property
    def ballast(self) -> Path:
        """A file that is given up when the disk is full, so that what was delivered can be deleted."""
        return self.path.with_suffix(".ballast")

    def release(self) -> None:
        """Let another process have it. Closes the descriptor; in a forked child that leaves the lock with the parent."""
        with suppress(OSError):
            os.close(self.lock)

    def remove(self) -> None:
        """Delete the files, and let go of the lock."""
        for suffix in (".db", ".db-wal", ".db-shm", ".ballast", ".lock"):
            with suppress(OSError):
                self.path.with_suffix(suffix).unlink()
        self.release()


class Directory:
    """The spools of one user, those of one namespace in particular. Opens nothing until it is asked to.

    Args:
        place: where the directory is made, in a subdirectory of the user's own.
        namespace: whose spools may be adopted.
    """

    def __init__(self, place: Path, namespace: str) -> None:
        self.path = place / f"lockwatch-{os.geteuid()}"
        self._tag = hashlib.blake2b(namespace.encode(), digest_size=6).hexdigest()
        self._namespace = namespace

    def claim(self, name: str) -> Claim:
        """A new spool file for this process. Raises: SpoolError."""
        key = self._key()
        path = self.path / f"{name}.{self._tag}.{os.getpid()}-{secrets.token_hex(4)}.db"
        lock = _take(path.with_suffix(".lock"), os.O_CREAT | os.O_EXCL)
        if lock is None:
            raise SpoolError(f"{path.with_suffix('.lock')} cannot be locked; set spool_dir to a directory on a local disk")
        try:
            os.close(_open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR))
        except OSError as error:
            os.close(lock)
            raise _unusable(self.path, error) from None
        return Claim(path, key, lock, own=True)

    def adopt(self, name: str) -> Claim | None:
        """A spool that a dead process of this namespace left, None when there is none. Raises: SpoolError."""
        key = self._key()
        for path in self._spools(f"{name}.{self._tag}.*.lock"):
            lock = _take(path, 0)
            if lock is None:
                continue
            database = path.with_suffix(".db")
            if path.exists() and _is_own(database):
                return Claim(database, key, lock, own=False)
            if not database.exists():  # its process died between two steps, or ended well a moment ago
                with suppress(OSError):
                    path.unlink()
            os.close(lock)
        return None

    def look(self, name: str) -> Iterator[Claim]:
        """The spools of this namespace, without their locks: for commands, which share them with whoever writes them."""
        if not self.path.exists():
            return
        key = self._key()
        for path in self._spools(f"{name}.{self._tag}.*.lock"):
            if _is_own(path.with_suffix(".db")):
                yield Claim(path.with_suffix(".db"), key, -1, own=False)

    def foreign(self) -> tuple[str, ...]:
        """What lies here and is not ours to adopt: spools of other namespaces that no process holds, and those of other users."""
        found: list[str] = []
        with suppress(OSError):
            others = [path for path in sorted(self.path.parent.glob("lockwatch-*")) if path != self.path and path.is_dir()]
            found += [f"{path.name}: of another user" for path in others]
        for path in self._spools("*.lock"):
            if path.name.split(".")[1:2] != [self._tag] and (lock := _take(path, 0)) is not None:
                os.close(lock)
                found.append(f"{path.with_suffix('.db').name}: of another namespace than {self._namespace!r}")
        return tuple(found)

    def prepare(self) -> Path:
        """Make the directory, or check it. Raises: SpoolError."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(FileExistsError):
                self.path.mkdir(mode=0o700)
            found = self.path.lstat()
        except OSError as error:
            raise _unusable(self.path, error) from None
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise SpoolError(f"{self.path} is a link, no directory or another user's; remove it, or set spool_dir to another place")
        if found.st_mode & 0o077:
            raise SpoolError(f"others may look into {self.path}; run: chmod 700 {self.path}")
        kind = file_system(self.path)
        if kind in NETWORK:
            raise SpoolError(f"{self.path} is on a network file system ({kind}); set spool_dir to a directory on a local disk")
        return self.path

    def _spools(self, pattern: str) -> Iterator[Path]:
        with suppress(OSError):
            yield from sorted(self.path.glob(pattern))

    def _key(self) -> bytes:
        """The key of the checksums, for this namespace; made by whoever comes first. Raises: SpoolError."""
        path = self.prepare() / "key"
        try:
            return _bound(_read_or_write(path), self._namespace)
        except OSError as error:
            raise _unusable(path, error) from None


def default_place() -> Path:
    """Where spools go unless one says so: the user's state directory, else the one for temporary files."""
    told = os.environ.get("XDG_STATE_HOME", "")
    state = Path(told) if told.startswith("/") else Path(os.path.expanduser("~")) / ".local" / "state"
    above = next((p for p in (state, *state.parents) if p.exists()), state)
    return state if above != Path("/") and os.access(above, os.W_OK) else Path(tempfile.gettempdir())


def directory_at(option: str | os.PathLike[str] | None, namespace: str) -> Directory | None:
    """The directory that the option `spool_dir` names: ``auto`` is `default_place()`, None is none. Nor is there one on Windows,
    whose locks do not end with their process.
    """
    if option is None or sys.platform == "win32":
        return None
    return Directory(default_place() if option == "auto" else Path(option).expanduser(), namespace)


def file_system(path: Path) -> str:
    """The type of the file system a path is on, as Linux names it; empty where nobody says."""
    best, kind = -1, ""
    with suppress(OSError, IndexError):
        resolved = str(path.resolve())
        for line in Path("/proc/self/mounts").read_text().splitlines():
            where, name = line.split()[1:3]
            where = where.encode().decode("unicode_escape")
            inside = resolved == where or resolved.startswith(where.rstrip("/") + "/")
            if inside and len(where) >= best:
                best, kind = len(where), name
    return kind


def _open(path: Path, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _take(path: Path, flags: int) -> int | None:
    """Take a lock without waiting; None when another process has it, or it is not ours to take."""
    try:
        found = _open(path, flags | os.O_RDWR)
    except OSError:
        return None
    try:
        if os.fstat(found).st_uid == os.geteuid():
            fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return found
    except OSError:
        pass
    os.close(found)
    return None


def _is_own(path: Path) -> bool:
    """Whether it is a file of this user, not a link."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()


def _read_or_write(path: Path) -> bytes:
    """The secret in a file, which is made first where it is missing: complete under its name, or not at all. Raises: OSError."""
    if not path.exists():
        fresh = path.with_name(f"key.{secrets.token_hex(8)}")
        with os.fdopen(_open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY), "wb") as file:
            file.write(secrets.token_bytes(_KEY))
        with suppress(FileExistsError):
            os.link(fresh, path)
        fresh.unlink()
    with os.fdopen(_open(path, os.O_RDONLY), "rb") as file:
        found = file.read(_KEY + 1)
    if len(found) != _KEY:
        raise OSError(f"{path} is no key; remove it")
    return found


def _bound(secret: bytes, namespace: str) -> bytes:
    return hashlib.blake2b(namespace.encode(), key=secret, digest_size=32, person=b"lockwatch spool").digest()


def _unusable(path: Path, error: OSError) -> SpoolError:
    return SpoolError(f"{path} cannot be used ({error.strerror or error}); set spool_dir to a directory this user may write to")
