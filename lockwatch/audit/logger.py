"""`AuditLogger`: the audit log as an application sees it: write entries, ask for them."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from hashlib import sha256
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from lockwatch.audit import upgrades
from lockwatch.audit.answers import Answers
from lockwatch.audit.connect import Database
from lockwatch.audit.drivers import is_of_a_database, lacks_tables, told_by
from lockwatch.audit.entry import AuditLogEntry, event_of
from lockwatch.audit.query import AuditQuery
from lockwatch.audit.standalone import Recording, Standalone
from lockwatch.config import LockWatchConfig
from lockwatch.environment import read
from lockwatch.errors import ConfigurationError, SinkError
from lockwatch.limits.buckets import derive_key

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from lockwatch.audit.health import AuditHealth
    from lockwatch.audit.reading import Reader

FLUSHING: Final = 10.0
"""Seconds that `flush` waits at most."""


class AuditLogger:
    """Entries in, entries out. Methods that end in ``_sync`` are for blocking code, like Flask's.

    ``lockwatch.audit`` is one, of the application; this makes another:

    Args:
        database_url: where entries go and are found; a URL, or an `AsyncEngine`. None takes that of ``LOCKWATCH_DATABASE_URL``.
        recording: what takes entries to the sinks, instead of one of its own.
        options: fields of `LockWatchConfig` that are about the audit log, and `secret_key`, which signs cursors.

    Raises: ConfigurationError.
    """

    def __init__(
        self,
        database_url: str | AsyncEngine | None = None,
        *,
        recording: Recording | None = None,
        config: LockWatchConfig | None = None,
        **options: Any,
    ) -> None:
        given: dict[str, Any] = {"audit_database_url" if isinstance(database_url, str) else "audit": database_url}
        if database_url is None and config is None:
            given, _ = read(os.environ, ("audit_database_url",))
        self._config = config or LockWatchConfig(**{**given, **options})
        if not self._config.has_audit:
            raise ConfigurationError("an audit log needs a database; a correct one is AuditLogger('sqlite+aiosqlite:///audit.db')")
        self._own = Standalone(self._config) if recording is None else None
        self._recording: Recording = recording or self._own  # type: ignore[assignment]
        place = _database_of(self._config)
        self._answers = None if place is None else Answers(Database.of(place), _cursor_key(self._config))
        self._place = place

    async def init(self) -> None:
        """Make the tables, or bring them up to date. Not needed before `log`, which does so when it first delivers.

        Raises: AuditUnreachable.
        """
        await self._asked().ask(self._upgrade)

    async def log(self, entry: AuditLogEntry) -> None:
        """Record an entry: it is with the background at once, in the spool within 50 ms, and in the database soon after.

        Never waits for a database, and never fails for one. What cannot be kept is counted, and becomes a gap in the log.
        """
        self.log_sync(entry)

    async def record(
        self,
        *,
        action: str,
        actor: str | None = None,
        target: str | None = None,
        outcome: str = "success",
        details: Mapping[str, Any] | None = None,
        user_id: str | None = None,
        **fields: Any,
    ) -> None:
        """Record what the application itself did: ``action="invoice.deleted"``, ``target="invoice:7"``.

        Args:
            fields: of `AuditLogEntry`.
        """
        self.record_sync(action=action, actor=actor, target=target, outcome=outcome, details=details, user_id=user_id, **fields)

    async def flush(self) -> None:
        """Wait until everything logged so far can be found by `query`. Raises: SinkError, when that takes over 10 seconds."""
        ends = monotonic() + FLUSHING
        done = await self._recording.flush(FLUSHING)
        while done and self.health().pending and monotonic() < ends:
            done = await self._recording.flush(ends - monotonic())
        if self.health().pending:
            raise SinkError(_LATE)

    async def query(self, query: AuditQuery | None = None, **filters: Any) -> list[AuditLogEntry]:
        """Entries, newest first, each with its `cursor`. Filters may be given by name instead.

        Raises: AuditUnreachable, CursorError, ConfigurationError.
        """
        return await self._asked().ask(self._finding(query or AuditQuery(**filters)))

    def health(self) -> AuditHealth:
        """How it does: what waits, what was lost, what is wrong with each sink."""
        recorder = self._recording.recorder
        if recorder is None:
            raise ConfigurationError(_NONE)
        return recorder.health()

    async def close(self) -> None:
        """Deliver what was logged, and let go of the database. What is logged later opens it again."""
        if self._own is not None:
            await self._own.aclose()
        if self._answers is not None:
            await self._answers.aclose()

    def init_sync(self) -> None:
        """`init` for blocking code."""
        self._asked().ask_sync(self._upgrade)

    def log_sync(self, entry: AuditLogEntry) -> None:
        """`log` for blocking code."""
        stream = self._recording.stream
        if stream is None:
            raise ConfigurationError(_NONE)
        stream.post(event_of(entry))

    def record_sync(
        self, *, action: str, details: Mapping[str, Any] | None = None, reasons: Iterable[str] = (), **fields: Any
    ) -> None:
        """`record` for blocking code. `user` is the same as `user_id`. Raises: TypeError, for a field that does not exist."""
        if "user" in fields:
            fields["user_id"] = fields.pop("user")
        self.log_sync(AuditLogEntry(action=action, details=details or {}, reasons=tuple(reasons), **fields))

    def flush_sync(self) -> None:
        """`flush` for blocking code."""
        ends = monotonic() + FLUSHING
        done = self._recording.flush_sync(FLUSHING)
        while done and self.health().pending and monotonic() < ends:
            done = self._recording.flush_sync(ends - monotonic())
        if self.health().pending:
            raise SinkError(_LATE)

    def query_sync(self, query: AuditQuery | None = None, **filters: Any) -> list[AuditLogEntry]:
        """`query` for blocking code."""
        return self._asked().ask_sync(self._finding(query or AuditQuery(**filters)))

    def close_sync(self) -> None:
        """`close` for blocking code."""
        if self._own is not None:
            self._own.close()
        if self._answers is not None:
            self._answers.close()

    def _finding(self, question: AuditQuery) -> Callable[[Reader], Awaitable[list[AuditLogEntry]]]:
        """Looks for entries. Before the first row is delivered there are no tables: where we may make them, that is no outage."""

        async def find(reader: Reader) -> list[AuditLogEntry]:
            try:
                return await reader.entries(question)
            except Exception as error:
                if not (self._config.audit_migrate and is_of_a_database(error) and lacks_tables(told_by(error))):
                    raise
            await self._upgrade(reader)
            return await reader.entries(question)

        return find

    async def _upgrade(self, reader: Reader) -> None:
        await upgrades.upgrade(Database.of(self._place))

    def _asked(self) -> Answers:
        if self._answers is None:
            raise ConfigurationError("none of the audit sinks is a database that can be asked; name one: audit_database_url='...'")
        return self._answers


_NONE: Final = "this application keeps no audit log; give it one: LockWatch(app, audit_database_url='sqlite+aiosqlite:///audit.db')"
_LATE: Final = "not everything has arrived within 10 s; it is kept, and delivered when the database takes it"


def _database_of(config: LockWatchConfig) -> Any:
    """The first sink that can be asked."""
    sinks = config.audit_sinks if isinstance(config.audit_sinks, list | tuple) else [config.audit_sinks]
    options = (config.audit, config.audit_database_url, *sinks)
    return next((o for o in options if hasattr(o, "sync_engine") or (isinstance(o, str) and o != "stdout:")), None)


def _cursor_key(config: LockWatchConfig) -> bytes:
    """Without a secret cursors are protected from accidents only, which is enough: they open nothing."""
    return derive_key(sha256(config.secrets[0].encode()).digest(), "cursors") if config.secrets else b""
