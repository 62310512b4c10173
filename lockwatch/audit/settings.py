"""What the audit log of one application is made of, from its options."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lockwatch.audit.redact import Redactor
from lockwatch.audit.sealing import Seals, seals_of
from lockwatch.audit.sinks import Sink, sink_of
from lockwatch.config import LockWatchConfig
from lockwatch.errors import ConfigurationError
from lockwatch.spool.directory import Directory


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """Settings of a `Recorder`.

    Attributes:
        sinks: makes the sinks, anew in every process.
        redactor: what is left out.
        headers: names of the request headers that are kept, in lower case.
        exempt: paths, or prefixes ending in ``*``, whose requests leave no row.
        directory: of the spools; None for none.
        spool_bytes: of the spool of one process at most.
        synchronous: ``normal`` or ``full``.
        spools_first: rows go into the spool before any sink has them, not only when none takes them at once.
        denies: requests are refused while events cannot be kept.
        seals: how the log is sealed; None when it is not.
    """

    sinks: Callable[[], list[Sink]]
    redactor: Redactor
    headers: frozenset[bytes] = frozenset()
    exempt: tuple[str, ...] = ()
    directory: Directory | None = None
    spool_bytes: int = 256 * 2**20
    synchronous: str = "normal"
    spools_first: bool = False
    denies: bool = False
    seals: Seals | None = None


def audit_settings(config: LockWatchConfig, directory: Directory | None) -> AuditSettings:
    """The settings an application's options make. Raises: ConfigurationError."""
    options = [config.audit, config.audit_database_url, *_sinks_in(config.audit_sinks)]
    wanted = [option for option in options if option is not None]

    def sinks() -> list[Sink]:
        return [sink_of(option, config.audit_migrate) for option in wanted]

    sinks()  # what is wrong with them is said now
    return AuditSettings(
        sinks,
        Redactor(config.audit_redact, _hashing(config)),
        frozenset([name.strip().lower().encode("latin-1") for name in config.audit_headers]),
        tuple(config.audit_exempt_paths),
        directory,
        config.audit_spool_megabytes * 2**20,
        config.audit_synchronous,
        config.on_audit_failure == "deny" or config.audit_synchronous == "full",
        config.on_audit_failure == "deny",
        seals_of(config),
    )


def _sinks_in(option: Any) -> list[Any]:
    return list(option) if isinstance(option, list | tuple) else [option]


def _hashing(config: LockWatchConfig) -> bytes | None:
    """The key that people are hashed with. Raises: ConfigurationError."""
    if config.audit_pii == "keep":
        return None
    if not config.secrets:
        raise ConfigurationError("audit_pii='hash' needs secret_key, or nobody would be the same person after a restart")
    return hashlib.blake2b(b"audit pii", key=hashlib.sha256(config.secrets[-1].encode()).digest(), digest_size=32).digest()
