"""The audit log: rows, those kept aside, anchors of pruned chains, settings; partitions on Postgres.

A table of the same name that lockwatch 0.1 made, with numbers for ids, is kept beside it as ``lockwatch_audit_log_0_1``.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_POSTGRES = {"text": 'text COLLATE "C"', "moment": "timestamptz", "uuid": "uuid", "json": "json", "bytes": "bytea"}
_SQLITE = {"text": "TEXT", "moment": "BIGINT", "uuid": "TEXT", "json": "TEXT", "bytes": "BLOB"}
_LOG = """
CREATE TABLE lockwatch_audit_log (
    timestamp {moment} NOT NULL,
    id {uuid} NOT NULL,
    process {text} NOT NULL,
    seq bigint NOT NULL,
    kind {text} NOT NULL,
    action {text} NOT NULL,
    outcome {text} NOT NULL,
    user_id {text},
    actor {text},
    session {text},
    target {text},
    tenant {text},
    ip {text},
    ip_source {text},
    peer_ip {text},
    method {text},
    route {text},
    endpoint {text},
    endpoint_sha256 {text},
    query {text},
    status_code integer,
    latency_us bigint,
    bytes_sent bigint,
    user_agent {text},
    request_id {text},
    trace_id {text},
    decision {text},
    rate_limit_hit boolean NOT NULL,
    anomaly_detected boolean NOT NULL,
    campaign_id {text},
    reasons {json},
    flags {json},
    details {json},
    count bigint NOT NULL,
    schema_v integer NOT NULL,
    chain {bytes} NOT NULL,
    PRIMARY KEY (timestamp, id)
)"""
_OTHERS = """
CREATE INDEX lockwatch_audit_log_user ON lockwatch_audit_log (user_id, timestamp, id);
CREATE INDEX lockwatch_audit_log_ip ON lockwatch_audit_log (ip, timestamp, id);
CREATE INDEX lockwatch_audit_log_unusual ON lockwatch_audit_log (timestamp, id)
    WHERE outcome <> 'success' OR rate_limit_hit OR anomaly_detected;
CREATE TABLE lockwatch_audit_parked (
    id text NOT NULL PRIMARY KEY,
    parked_at {moment} NOT NULL,
    process {text} NOT NULL,
    seq bigint NOT NULL,
    chain {bytes} NOT NULL,
    error {text} NOT NULL,
    "row" {text} NOT NULL
);
CREATE TABLE lockwatch_audit_anchor (
    process {text} NOT NULL,
    seq bigint NOT NULL,
    chain {bytes} NOT NULL,
    timestamp {moment} NOT NULL,
    "rows" bigint NOT NULL,
    pruned_at {moment} NOT NULL,
    signature {text},
    PRIMARY KEY (process, seq)
);
CREATE TABLE lockwatch_audit_setting (name {text} NOT NULL PRIMARY KEY, value {text} NOT NULL)
"""
_KEEP_OLD = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = 'lockwatch_audit_log'
               AND column_name = 'id' AND data_type = 'integer') THEN
        ALTER TABLE lockwatch_audit_log RENAME TO lockwatch_audit_log_0_1;
        ALTER INDEX lockwatch_audit_log_pkey RENAME TO lockwatch_audit_log_0_1_pkey;
    END IF;
END $$
"""
_BRING_BACK_OLD = """
DO $$
BEGIN
    IF to_regclass('lockwatch_audit_log_0_1') IS NOT NULL THEN
        ALTER TABLE lockwatch_audit_log_0_1 RENAME TO lockwatch_audit_log;
        ALTER INDEX lockwatch_audit_log_0_1_pkey RENAME TO lockwatch_audit_log_pkey;
    END IF;
END $$
"""
# With the rights of its owner, so that a writer who may only INSERT gets a partition; and no further from now than clocks go wrong.
# The new table is attached, not created as a partition: that would lock out every reader and writer of the log.
# No percent sign: offline scripts would have two.
_PARTITION = """
DO $outer$
BEGIN
    EXECUTE replace($make$
CREATE FUNCTION lockwatch_audit_partition(moment timestamptz) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = @schema@, pg_temp SET timezone = 'UTC' AS $body$
DECLARE
    parent CONSTANT oid := 'lockwatch_audit_log'::regclass;
    span text := coalesce((SELECT value FROM lockwatch_audit_setting WHERE name = 'partition'), 'month');
    low timestamptz := date_trunc(span, moment, 'UTC');
    high timestamptz := date_trunc(span, moment, 'UTC') + ('1 ' || span)::interval;
    made text;
    other record;
BEGIN
    IF moment NOT BETWEEN timestamptz '2020-01-01 00:00:00+00' AND now() + interval '1 year' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'lockwatch: no partition is made for ' || moment;
    END IF;
    PERFORM pg_advisory_xact_lock(5501738, parent::int);
    FOR other IN
        SELECT c.relname, substring(b FROM $r$FROM \\('([^']+)'\\)$r$)::timestamptz AS first,
               substring(b FROM $r$TO \\('([^']+)'\\)$r$)::timestamptz AS last
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid, pg_get_expr(c.relpartbound, c.oid) AS b
        WHERE i.inhparent = parent AND NOT i.inhdetachpending
    LOOP
        IF other.first <= moment AND moment < other.last THEN
            RETURN other.relname;
        ELSIF other.last <= moment THEN
            low := greatest(low, other.last);
        ELSE
            high := least(high, other.first);
        END IF;
    END LOOP;
    made := 'lockwatch_audit_log_' || to_char(low, CASE span WHEN 'month' THEN 'YYYY_MM' ELSE 'YYYY_MM_DD' END);
    IF to_regclass(made) IS NOT NULL THEN
        made := made || '_' || to_char(clock_timestamp(), 'HH24MISSUS');
    END IF;
    EXECUTE 'CREATE TABLE ' || quote_ident(made) || ' (LIKE lockwatch_audit_log INCLUDING DEFAULTS INCLUDING STORAGE)';
    IF to_regproc('lockwatch_audit_append_only') IS NOT NULL THEN
        EXECUTE 'CREATE TRIGGER lockwatch_no_truncate BEFORE TRUNCATE ON ' || quote_ident(made)
            || ' EXECUTE FUNCTION lockwatch_audit_append_only()';
    END IF;
    EXECUTE 'ALTER TABLE lockwatch_audit_log ATTACH PARTITION ' || quote_ident(made)
        || ' FOR VALUES FROM (' || quote_literal(low) || ') TO (' || quote_literal(high) || ')';
    RETURN made;
END $body$
    $make$, '@schema@', quote_ident(current_schema()));
END $outer$
"""


def upgrade() -> None:
    """Make the tables."""
    if context.get_context().dialect.name == "postgresql":
        _upgrade_postgres()
    else:
        _upgrade_sqlite()


def downgrade() -> None:
    """Drop the tables, with every row."""
    postgres = context.get_context().dialect.name == "postgresql"
    if postgres:
        op.execute("DROP FUNCTION IF EXISTS lockwatch_audit_partition(timestamptz)")
    for name in ("log", "parked", "anchor", "setting"):
        op.execute(f"DROP TABLE lockwatch_audit_{name}")
    if postgres:
        op.execute("DROP FUNCTION IF EXISTS lockwatch_audit_append_only()")
        op.execute(_BRING_BACK_OLD)
    elif _has_old("lockwatch_audit_log_0_1"):
        op.execute("ALTER TABLE lockwatch_audit_log_0_1 RENAME TO lockwatch_audit_log")


def _upgrade_postgres() -> None:
    op.execute(_KEEP_OLD)
    op.execute(_LOG.format(**_POSTGRES) + " PARTITION BY RANGE (timestamp)")
    _execute(_OTHERS.format(**_POSTGRES))
    op.execute("INSERT INTO lockwatch_audit_setting (name, value) VALUES ('partition', 'month')")
    op.execute(_PARTITION)
    op.execute("REVOKE ALL ON FUNCTION lockwatch_audit_partition(timestamptz) FROM PUBLIC")


def _upgrade_sqlite() -> None:
    if _has_old("lockwatch_audit_log"):
        op.execute("ALTER TABLE lockwatch_audit_log RENAME TO lockwatch_audit_log_0_1")
    op.execute(_LOG.format(**_SQLITE))
    _execute(_OTHERS.format(**_SQLITE))


def _execute(statements: str) -> None:
    for statement in filter(None, map(str.strip, statements.split(";"))):
        op.execute(statement)


def _has_old(table: str) -> bool:
    """Whether a table is the one lockwatch 0.1 made."""
    if context.is_offline_mode():
        return False
    inspector = sa.inspect(op.get_bind())
    return inspector.has_table(table) and any(
        c["name"] == "id" and isinstance(c["type"], sa.Integer) for c in inspector.get_columns(table)
    )
