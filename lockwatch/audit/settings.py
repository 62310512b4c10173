"""What the audit log of one application is made of, from its options."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockwatch.audit.redact import Redactor
from lockwatch.audit.sinks import Sink, sink_of
from lockwatch.config import LockWatchConfig
from lockwatch.errors import ConfigurationError
from lockwatch.spool.directory import Directory, default_place


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """Settings of a `Recorder`.

    Attributes:
        sinks: makes the sinks, anew in every process.
        redactor: what is left out.
        headers: names of the request headers that are kept, in lower case.
        exempt: paths, or prefixes ending in ``*``, whose requests leave no row.
        spool_dir: where spools go; None for none.
        spool_bytes: of the spool of one process at most.
        synchronous: ``normal`` or ``full``.
        denies: requests are refused while events cannot be kept.
    """

    sinks: Callable[[], list[Sink]]
    redactor: Redactor
    namespace: str
    headers: frozenset[bytes] = frozenset()
    exempt: tuple[str, ...] = ()
    spool_dir: Path | None = None
    spool_bytes: int = 256 * 2**20
    synchronous: str = "normal"
    denies: bool = False

    @property
    def directory(self) -> Directory | None:
        """The directory of the spools."""
        return None if self.spool_dir is None else Directory(self.spool_dir, self.namespace)


def audit_settings(config: LockWatchConfig) -> AuditSettings:
    """The settings an application's options make. Raises: ConfigurationError."""
    options = [config.audit, config.audit_database_url, *_sinks_in(config.audit_sinks)]
    wanted = [option for option in options if option is not None]

    def sinks() -> list[Sink]:
        return [sink_of(option, config.audit_migrate) for option in wanted]

    sinks()  # what is wrong with them is said now
    return AuditSettings(
        sinks,
        Redactor(config.audit_redact, _hashing(config)),
        config.namespace,
        frozenset([name.strip().lower().encode("latin-1") for name in config.audit_headers]),
        tuple(config.audit_exempt_paths),
        _place(config.spool_dir),
        config.audit_spool_megabytes * 2**20,
        config.audit_synchronous,
        config.on_audit_failure == "deny",
    )


def _place(option: str | os.PathLike[str] | None) -> Path | None:
    """The directory that `spool_dir` names. Windows has no locks that end with their process."""
    text = "none" if option is None or sys.platform == "win32" else os.fspath(option)
    return None if text == "none" else default_place() if text == "auto" else Path(text).expanduser()


def _sinks_in(option: Any) -> list[Any]:
    return list(option) if isinstance(option, list | tuple) else [option]


def _hashing(config: LockWatchConfig) -> bytes | None:
    """The key that people are hashed with. Raises: ConfigurationError."""
    if config.audit_pii == "keep":
        return None
    if not config.secrets:
        raise ConfigurationError("audit_pii='hash' needs secret_key, or nobody would be the same person after a restart")
    return hashlib.blake2b(b"audit pii", key=hashlib.sha256(config.secrets[-1].encode()).digest(), digest_size=32).digest()
