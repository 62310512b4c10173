"""`AuditLogger` alone: entries in, entries out, on event loops and without one."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.ext.asyncio import create_async_engine

from lockwatch.audit.entry import AuditLogEntry
from lockwatch.audit.logger import AuditLogger
from lockwatch.audit.query import AuditQuery
from lockwatch.errors import AuditUnreachable, ConfigurationError, CursorError
from lockwatch_flask import LockWatch as FlaskLockWatch
from tests import servers
from tests.audit.stored import stored

WHEN = datetime(2026, 11, 24, 9, 30, 0, 123_000, tzinfo=UTC)
ENTRY = AuditLogEntry(
    timestamp=WHEN,
    user_id="user:42",
    ip="192.0.2.1",
    endpoint="/items/7",
    method="GET",
    status_code=429,
    rate_limit_hit=True,
    anomaly_detected=True,
    latency_ms=12.345,
    details={"a": [1, None]},
    reasons=("burst",),
)


@pytest.fixture
def logger_options(tmp_path: Path) -> dict[str, Any]:
    return {"spool_dir": tmp_path / "spool", "secret_key": "a secret of sixteen"}


async def test_what_is_logged_is_found(audit_url: str, logger_options: dict[str, Any]) -> None:
    logger = AuditLogger(database_url=audit_url, **logger_options)
    await logger.init()
    await logger.init()
    await logger.log(ENTRY)
    for number in range(5):
        await logger.log(AuditLogEntry(user_id="user:1", timestamp=WHEN + timedelta(seconds=number)))
    await logger.flush()
    [found] = await logger.query(AuditQuery(user_id="user:42", anomalies_only=True, limit=50))
    assert (found.latency_ms, found.rate_limit_hit, found.outcome, found.kind) == (12.345, True, "refused", "http")
    assert (found.details["a"], found.reasons, found.endpoint) == ([1, None], ("burst",), "/items/7")
    assert abs(found.timestamp - WHEN) < timedelta(milliseconds=1)
    first = await logger.query(user_id="user:1", limit=2)
    then = await logger.query(user_id="user:1", limit=2, cursor=first[-1].cursor)
    assert [e.timestamp.second for e in first + then] == [4, 3, 2, 1]
    assert await logger.query(user_id="user:1", limit=2, offset=2) == then
    await logger.close()


async def test_a_log_without_rows_is_empty_and_not_away(audit_url: str, logger_options: dict[str, Any]) -> None:
    logger = AuditLogger(database_url=audit_url, **logger_options)
    assert await logger.query() == []
    await logger.log(ENTRY)
    await logger.flush()
    assert len(await logger.query()) == 1
    await logger.close()
    blocking = AuditLogger(database_url=audit_url, **logger_options)
    assert len(blocking.query_sync()) == 1
    blocking.close_sync()


async def test_entries_of_other_times_keep_them(audit_url: str, logger_options: dict[str, Any]) -> None:
    logger = AuditLogger(database_url=audit_url, **logger_options)
    await logger.init()
    hours = [0, -5, 48, -1, 1]
    for hour in hours:
        await logger.log(AuditLogEntry(user_id=f"user:{hour}", timestamp=WHEN + timedelta(hours=hour)))
        await logger.flush()
    found = await logger.query(from_time=WHEN - timedelta(hours=2), to_time=WHEN + timedelta(hours=2))
    assert [(e.user_id, e.timestamp - WHEN) for e in found] == [(f"user:{h}", timedelta(hours=h)) for h in (1, 0, -1)]
    await logger.close()


async def test_logging_before_init_works(audit_url: str, logger_options: dict[str, Any]) -> None:
    logger = AuditLogger(audit_url, **logger_options)
    await logger.log(ENTRY)
    await logger.close()
    assert len(stored_rows(audit_url)) == 1
    await logger.log(ENTRY)
    await logger.flush()
    assert len(await logger.query()) == 2
    await logger.close()


def stored_rows(url: str) -> list[Any]:
    """Read in a thread of its own, because a loop runs here."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.extend(stored(url)))
    thread.start()
    thread.join()
    return found


def test_blocking_code_needs_no_event_loop(audit_url: str, logger_options: dict[str, Any]) -> None:
    logger = AuditLogger(audit_url, **logger_options)
    logger.init_sync()
    logger.log_sync(ENTRY)
    logger.record_sync(action="invoice.deleted", actor="operator", target="invoice:7", details={"why": "paid twice"})
    logger.flush_sync()
    assert [e.action for e in logger.query_sync()] == ["invoice.deleted", "request"]
    assert logger.query_sync(target="invoice:7")[0].actor == "operator"
    with pytest.raises(CursorError):
        logger.query_sync(cursor="nonsense")
    logger.close_sync()


def test_one_logger_serves_several_loops(audit_url: str, logger_options: dict[str, Any]) -> None:
    logger = AuditLogger(audit_url, **logger_options)

    async def use() -> int:
        await logger.record(action="use")
        await logger.flush()
        return len(await logger.query())

    assert [asyncio.run(use()) for _ in range(3)] == [1, 2, 3]
    logger.close_sync()


async def test_an_engine_of_the_application_serves_too(audit_url: str, logger_options: dict[str, Any]) -> None:
    engine = create_async_engine(audit_url.replace("postgresql://", "postgresql+asyncpg://"))
    logger = AuditLogger(engine, **logger_options)
    await logger.log(ENTRY)
    await logger.flush()
    assert len(await logger.query()) == 1
    await logger.close()
    await engine.dispose()


async def test_questions_at_once_share_connections(audit_url: str, logger_options: dict[str, Any]) -> None:
    logger = AuditLogger(audit_url, **logger_options)
    await logger.log(ENTRY)
    await logger.flush()
    answers = await asyncio.gather(*(logger.query(user_id="user:42") for _ in range(30)))
    assert {len(found) for found in answers} == {1}
    await logger.close()


async def test_a_database_whose_tables_are_made_by_hand_says_how(audit_url: str, logger_options: dict[str, Any]) -> None:
    logger = AuditLogger(audit_url, **logger_options, audit_migrate=False)
    with pytest.raises(AuditUnreachable, match="lockwatch db upgrade"):
        await logger.query()
    await logger.init()
    assert await logger.query() == []
    await logger.close()


async def test_a_database_that_is_down_fails_questions_not_logging(logger_options: dict[str, Any]) -> None:
    logger = AuditLogger(f"postgresql://u:geheim@127.0.0.1:{servers.free_port()}/audit", **logger_options)
    await logger.log(ENTRY)
    with pytest.raises(AuditUnreachable) as caught:
        await logger.query()
    assert "geheim" not in str(caught.value)
    await logger.close()


@pytest.mark.parametrize("option", [None, "nonsense"])
def test_a_logger_without_a_database_is_refused(option: Any) -> None:
    with pytest.raises(ConfigurationError, match="sqlite"):
        AuditLogger(option)


def test_a_flask_application_records_and_asks(audit_url: str, tmp_path: Path) -> None:
    app = Flask(__name__)
    lockwatch = FlaskLockWatch(app, audit_database_url=audit_url, spool_dir=tmp_path / "spool")

    @app.get("/invoices/<int:number>")
    def invoice(number: int) -> str:
        lockwatch.audit.record_sync(action="invoice.seen", target=f"invoice:{number}")
        return "paid"

    with app.app_context():
        assert app.test_client().get("/invoices/7", buffered=True).status_code == 200
        lockwatch.audit.flush_sync()
        found = {entry.action: entry for entry in lockwatch.audit.query_sync()}
        assert found["invoice.seen"].target == "invoice:7"
        assert (found["request"].route, found["request"].status_code) == ("/invoices/<int:number>", 200)
        lockwatch.engine.close()


def test_a_logger_nobody_reads_from_says_so(logger_options: dict[str, Any]) -> None:
    logger = AuditLogger(audit_sinks=["stdout:"], **logger_options)
    with pytest.raises(ConfigurationError, match="audit_database_url"):
        logger.query_sync()
    logger.close_sync()
