"""The audit database: whether it answers, has its tables and partitions, and whether the application could rewrite the log."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lockwatch.audit.drivers import is_of_a_database, told_by
from lockwatch.config import LockWatchConfig
from lockwatch.diagnosis.finding import Area, Finding
from lockwatch.diagnosis.patient import Patient
from lockwatch.errors import LockwatchError

if TYPE_CHECKING:
    from lockwatch.audit.connect import Database

_RIGHTS: Final = """
SELECT array_remove(array_agg(CASE WHEN has_table_privilege('lockwatch_audit_log', r) THEN r END), NULL)
FROM unnest('{UPDATE,DELETE,TRUNCATE}'::text[]) r
"""
_TRIGGERS: Final = """
SELECT count(*) FROM pg_trigger
WHERE tgrelid = 'lockwatch_audit_log'::regclass AND tgname IN ('lockwatch_append_only', 'lockwatch_no_truncate')
"""
_TOMORROW: Final = "SELECT (extract(epoch FROM now() + interval '1 day') * 1000000)::bigint"
_EXAMPLE: Final = "LOCKWATCH_DATABASE_URL=postgresql+asyncpg://lockwatch@localhost/audit"
_UPGRADE: Final = "lockwatch db upgrade"


def database(patient: Patient) -> Area:
    """Where the audit log goes, as far as that is a database."""
    try:
        from lockwatch.audit import models  # noqa: F401  # needs everything that the extra adds
        from lockwatch.audit.connect import Database
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("lockwatch"):
            raise
        what = f"the audit log needs {error.name}"
        return Area("database", "", (Finding("database.extra", what, "audit_database_url", 'pip install "lockwatch[audit]"'),))
    areas = [_place(Database, option, patient.config.audit_migrate) for option in databases(patient.config)]
    return Area("database", ", ".join(area.summary for area in areas), tuple([f for area in areas for f in area.findings]))


def databases(config: LockWatchConfig) -> list[Any]:
    """Where rows go that are databases."""
    sinks = config.audit_sinks if isinstance(config.audit_sinks, list | tuple) else [config.audit_sinks]
    urls = [sink for sink in sinks if isinstance(sink, str) and sink.startswith(("postgres", "sqlite"))]
    return [option for option in (config.audit_database_url, config.audit, *urls) if option is not None]


def _place(kind: type[Database], option: Any, migrates: bool) -> Area:
    try:
        place = kind.of(option)
    except LockwatchError as error:
        return Area("database", "", (Finding("configuration.invalid", str(error), "audit_database_url", _EXAMPLE),))
    if place.dialect == "sqlite" and not Path(place.address.path).exists():
        return Area("database", f"{place.shown}, not made yet", tuple(_unmade(place, migrates)))
    try:
        found = asyncio.run(_looked(place, migrates))
    except Exception as error:
        if not isinstance(error, LockwatchError) and not is_of_a_database(error):
            raise
        return Area("database", place.shown, (_down(place, error),))
    return Area("database", place.shown, tuple(found))


async def _looked(place: Database, migrates: bool) -> list[Finding]:
    from lockwatch.audit import upgrades

    found = [*_file(place)]
    revision = await upgrades.current(place)
    if revision is None:
        return [*found, *_unmade(place, migrates)]
    if revision != upgrades.HEAD:
        what = f"the tables are at revision {revision}, and this release needs {upgrades.HEAD}"
        found.append(Finding("database.outdated" if migrates else "database.behind", what, place.shown, _UPGRADE))
    elif place.dialect == "postgresql":
        found += await _postgres(place)
    return found


async def _postgres(place: Database) -> list[Finding]:
    from lockwatch.audit import partitions

    connection: Any = await place.connect(command_timeout=10)
    try:
        tomorrow = await connection.fetchval(_TOMORROW)
        ahead = any(part.first <= tomorrow < part.last for part in await partitions.listed(connection))
        rights = await connection.fetchval(_RIGHTS)
        guarded = await connection.fetchval(_TRIGGERS) >= 2
    finally:
        await connection.close()
    found = []
    if not ahead:
        what = "there is no partition for tomorrow; a running application makes it, if it has the right to"
        found.append(Finding("database.partitions", what, place.shown, "lockwatch db partitions --for $(date -d tomorrow +%F)"))
    if rights and not guarded:
        what = f"the user the application logs in as may {', '.join(rights)} rows, and no trigger refuses it"
        found.append(Finding("database.rights", what, place.shown, "lockwatch db roles --apply, and log in as lockwatch_writer"))
    return found


def _unmade(place: Database, migrates: bool) -> Iterator[Finding]:
    if migrates:
        what = "there are no tables; the application makes them when it starts, if it has the right to"
        yield Finding("database.outdated", what, place.shown, _UPGRADE)
    else:
        yield Finding("database.missing", "there are no tables, and audit_migrate is off", place.shown, _UPGRADE)


def _file(place: Database) -> Iterator[Finding]:
    if place.dialect == "sqlite" and stat.S_IMODE(Path(place.address.path).stat().st_mode) & 0o077:
        what = "others may read the file, which holds addresses and names"
        yield Finding("database.file-mode", what, place.address.path, f"chmod 600 {place.address.path}")


def _down(place: Database, error: Exception) -> Finding:
    return Finding("database.down", f"it does not answer, or refuses: {told_by(error)[:200]}", place.shown, _EXAMPLE)
