"""`lockwatch.audit`: what an application tells its audit log itself, and what it asks it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from lockwatch.audit.connect import Database
from lockwatch.audit.health import AuditHealth
from lockwatch.audit.reading import Reader
from lockwatch.errors import ConfigurationError
from lockwatch.event import APP, Event

if TYPE_CHECKING:
    from lockwatch.audit.entry import AuditLogEntry
    from lockwatch.audit.query import AuditQuery
    from lockwatch.engine import Engine


class AuditTrail:
    """The audit log of an application.

    Args:
        engine: of the application; it has a recorder.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reader: Reader | None = None

    async def record(
        self,
        *,
        action: str,
        actor: str | None = None,
        target: str | None = None,
        outcome: str = "success",
        details: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> None:
        """Record what happened, like `action="invoice.paid"`. It waits for nothing; `flush` says when it has arrived.

        Args:
            actor: who did it.
            target: what it was done to.
            outcome: ``success``, ``failure``, ``refused`` or ``error``.
            details: JSON values; secrets in them are taken out by their names.
            fields: more fields of `lockwatch.event.Event`: `user`, `tenant`, `request_id`, `session`, `ip`.
        """
        self.record_sync(action=action, actor=actor, target=target, outcome=outcome, details=details, **fields)

    def record_sync(self, *, action: str, details: Mapping[str, Any] | None = None, **fields: Any) -> None:
        """`record` for blocking code. Raises: TypeError, for a field that does not exist."""
        event = Event(time_us=time.time_ns() // 1000, kind=APP, action=action, details=dict(details or {}), **fields)
        if self._engine.stream is not None:
            self._engine.stream.post(event)

    async def query(self, query: AuditQuery) -> list[AuditLogEntry]:
        """The entries a query finds, newest first. Raises: ConfigurationError, when no sink is a database."""
        return await self._open().entries(query)

    async def flush(self) -> bool:
        """Wait until everything recorded so far can be queried; False when that takes longer than 10 seconds."""
        return await self._engine.flush()

    def flush_sync(self) -> bool:
        """`flush` for blocking code."""
        return self._engine.flush_sync()

    def health(self) -> AuditHealth | None:
        """How it does."""
        return self._engine.health().audit

    async def aclose(self) -> None:
        """Close the connections that queries were made over."""
        if self._reader is not None:
            await self._reader.aclose()
            self._reader = None

    def _open(self) -> Reader:
        if self._reader is None:
            config = self._engine.config
            sinks = config.audit_sinks if isinstance(config.audit_sinks, list | tuple) else [config.audit_sinks]
            found = [option for option in (config.audit, config.audit_database_url, *sinks) if _is_database(option)]
            if not found:
                raise ConfigurationError(
                    "no audit sink can be queried; set audit_database_url, like 'sqlite+aiosqlite:///audit.db'"
                )
            secret = config.secrets[0].encode() if config.secrets else b""
            self._reader = Reader(
                Database.of(found[0]), secret and blake2b(secret, person=b"audit cursor", digest_size=32).digest()
            )
        return self._reader


def _is_database(option: Any) -> bool:
    return hasattr(option, "sync_engine") or (isinstance(option, str) and "://" in option)
