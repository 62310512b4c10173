"""Who may do what with the audit log on Postgres, as SQL. Pure.

The owner makes the tables and prunes. The writer, which is the application, may only add rows. The reader may only look. Triggers
keep who has the rights of the owner from changing rows by accident; who means to can drop them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from lockwatch.errors import ConfigurationError

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")
_TABLES: Final = "lockwatch_audit_log, lockwatch_audit_parked, lockwatch_audit_anchor, lockwatch_audit_setting"
APPEND_ONLY: Final = """\
CREATE OR REPLACE FUNCTION lockwatch_audit_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
        MESSAGE = 'the audit log is append-only: ' || TG_OP || ' on ' || TG_TABLE_NAME || ' is refused';
END $$"""


def grants(writer: str, reader: str) -> list[str]:
    """Statements that make two roles without login and give them their rights. Raises: ConfigurationError, for no name."""
    writing, reading = _quoted(writer), _quoted(reader)
    return [
        *(_made(name) for name in (writer, reader)),
        f"REVOKE ALL ON {_TABLES}, lockwatch_alembic_version FROM PUBLIC, {writing}, {reading}",
        f"GRANT INSERT ON lockwatch_audit_log, lockwatch_audit_parked TO {writing}",
        f"GRANT EXECUTE ON FUNCTION lockwatch_audit_partition(timestamptz) TO {writing}",
        f"GRANT SELECT ON {_TABLES} TO {reading}",
        f"GRANT SELECT ON lockwatch_alembic_version TO {writing}, {reading}",
        f"DO $$ BEGIN EXECUTE 'GRANT USAGE ON SCHEMA ' || quote_ident(current_schema()) || ' TO {writing}, {reading}'; END $$",
    ]


def triggers(partitions: Iterable[str]) -> list[str]:
    """Statements that refuse UPDATE, DELETE and TRUNCATE. A trigger for TRUNCATE has to be on each partition: that of the log
    itself does not fire for them. Partitions made later have it from the start.
    """
    refuse = "EXECUTE FUNCTION lockwatch_audit_append_only()"
    tables = ("lockwatch_audit_log", *map(_quoted, partitions))
    return [
        APPEND_ONLY,
        f"CREATE OR REPLACE TRIGGER lockwatch_append_only BEFORE UPDATE OR DELETE ON lockwatch_audit_log FOR EACH ROW {refuse}",
        *(f"CREATE OR REPLACE TRIGGER lockwatch_no_truncate BEFORE TRUNCATE ON {table} {refuse}" for table in tables),
    ]


def _made(name: str) -> str:
    return (
        f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{name}') "
        f"THEN CREATE ROLE {_quoted(name)} NOLOGIN; END IF; END $$"
    )


def _quoted(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"{name!r} is no name for a role; a correct one is lockwatch_writer")
    return f'"{name}"'
