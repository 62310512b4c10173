"""The tables of the audit log as SQLModel sees them: for reading, and for what Alembic compares. Their `MetaData` is their own.

Rows are written by the sinks, without an ORM. The names of `AuditLog` are those of `lockwatch.audit.row.COLUMNS`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from lockwatch.audit.entry import instant, microseconds

TABLE: Final = "lockwatch_audit_log"
PREFIX: Final = "lockwatch_audit_"
"""Every table of the audit log begins so, partitions included."""
UNUSUAL: Final = "outcome <> 'success' OR rate_limit_hit OR anomaly_detected"
"""What the partial index holds."""


class Moment(sa.types.TypeDecorator[datetime]):
    """An instant, in UTC: ``timestamptz`` on Postgres, microseconds since 1970 as INTEGER on SQLite, which has no type for it."""

    impl = sa.BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """The type a database has for it."""
        own = sa.DateTime(timezone=True) if dialect.name == "postgresql" else sa.BigInteger()
        return dialect.type_descriptor(own)

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> Any:
        """Raises: ValueError, for a time without a zone."""
        if value is None or dialect.name == "postgresql":
            return value
        return microseconds(value)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:
        """The instant."""
        if value is None:
            return None
        return value.astimezone(UTC) if isinstance(value, datetime) else instant(value)


class Json(sa.types.UserDefinedType[str]):
    """JSON as the text it was written as: ``json`` on Postgres, which keeps it byte for byte, unlike ``jsonb``."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """The name of the type."""
        return "JSON"

    def column_expression(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
        """Read as text: a driver would parse it."""
        return sa.cast(column, sa.Text)


_TEXT: Final = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Compared byte by byte, so that no upgrade of a C library changes the order an index was built in."""
_JSON: Final = sa.Text().with_variant(Json(), "postgresql")
_BIG: Final = sa.BigInteger()


class Base(SQLModel, registry=registry()):
    """Tables of the audit log; none of the application's."""

    metadata = sa.MetaData()


class AuditLog(Base, table=True):
    """A row of the audit log, as `lockwatch.audit.row.Row` describes it; `timestamp` is an instant in UTC here."""

    __tablename__ = TABLE
    __table_args__ = (
        sa.Index("lockwatch_audit_log_user", "user_id", "timestamp", "id"),
        sa.Index("lockwatch_audit_log_ip", "ip", "timestamp", "id"),
        sa.Index(
            "lockwatch_audit_log_unusual", "timestamp", "id", postgresql_where=sa.text(UNUSUAL), sqlite_where=sa.text(UNUSUAL)
        ),
        {"postgresql_partition_by": "RANGE (timestamp)"},
    )

    timestamp: datetime = Field(sa_column=sa.Column(Moment, primary_key=True))
    id: str = Field(sa_column=sa.Column(sa.Text().with_variant(sa.Uuid(as_uuid=False), "postgresql"), primary_key=True))
    process: str = Field(sa_type=_TEXT)
    seq: int = Field(sa_type=_BIG)
    kind: str = Field(sa_type=_TEXT)
    action: str = Field(sa_type=_TEXT)
    outcome: str = Field(sa_type=_TEXT)
    user_id: str | None = Field(default=None, sa_type=_TEXT)
    actor: str | None = Field(default=None, sa_type=_TEXT)
    session: str | None = Field(default=None, sa_type=_TEXT)
    target: str | None = Field(default=None, sa_type=_TEXT)
    tenant: str | None = Field(default=None, sa_type=_TEXT)
    ip: str | None = Field(default=None, sa_type=_TEXT)
    ip_source: str | None = Field(default=None, sa_type=_TEXT)
    peer_ip: str | None = Field(default=None, sa_type=_TEXT)
    method: str | None = Field(default=None, sa_type=_TEXT)
    route: str | None = Field(default=None, sa_type=_TEXT)
    endpoint: str | None = Field(default=None, sa_type=_TEXT)
    endpoint_sha256: str | None = Field(default=None, sa_type=_TEXT)
    query: str | None = Field(default=None, sa_type=_TEXT)
    status_code: int | None = Field(default=None, sa_type=sa.Integer)
    latency_us: int | None = Field(default=None, sa_type=_BIG)
    bytes_sent: int | None = Field(default=None, sa_type=_BIG)
    user_agent: str | None = Field(default=None, sa_type=_TEXT)
    request_id: str | None = Field(default=None, sa_type=_TEXT)
    trace_id: str | None = Field(default=None, sa_type=_TEXT)
    decision: str | None = Field(default=None, sa_type=_TEXT)
    rate_limit_hit: bool = Field(default=False, sa_type=sa.Boolean)
    anomaly_detected: bool = Field(default=False, sa_type=sa.Boolean)
    campaign_id: str | None = Field(default=None, sa_type=_TEXT)
    reasons: str | None = Field(default=None, sa_type=_JSON)
    flags: str | None = Field(default=None, sa_type=_JSON)
    details: str | None = Field(default=None, sa_type=_JSON)
    count: int = Field(default=1, sa_type=_BIG)
    schema_v: int = Field(default=1, sa_type=sa.Integer)
    chain: bytes = Field(default=b"", sa_type=sa.LargeBinary)


class AuditParked(Base, table=True):
    """A row the database refused, kept aside with the error. `chain` is its place in the chain of its process."""

    __tablename__ = "lockwatch_audit_parked"

    id: str = Field(sa_column=sa.Column(sa.Text(), primary_key=True))
    parked_at: datetime = Field(sa_type=Moment)
    process: str = Field(sa_type=_TEXT)
    seq: int = Field(sa_type=_BIG)
    chain: bytes = Field(default=b"", sa_type=sa.LargeBinary)
    error: str = Field(sa_type=_TEXT)
    row: str = Field(sa_type=_TEXT)
    """JSON object of the columns; `chain` in hexadecimal."""


class AuditAnchor(Base, table=True):
    """Where the chain of a process begins after pruning: its last pruned row. One for each process and pruning."""

    __tablename__ = "lockwatch_audit_anchor"

    process: str = Field(sa_column=sa.Column(_TEXT, primary_key=True))
    seq: int = Field(sa_column=sa.Column(_BIG, primary_key=True))
    chain: bytes = Field(sa_type=sa.LargeBinary)
    timestamp: datetime = Field(sa_type=Moment)
    rows: int = Field(sa_type=_BIG)
    """How many rows of the process were pruned with it."""
    pruned_at: datetime = Field(sa_type=Moment)
    signature: str | None = Field(default=None, sa_type=_TEXT)


class AuditSetting(Base, table=True):
    """What all processes agree on: ``partition`` is ``day``, ``week`` or ``month``."""

    __tablename__ = "lockwatch_audit_setting"

    name: str = Field(sa_column=sa.Column(_TEXT, primary_key=True))
    value: str = Field(sa_type=_TEXT)
