"""`lockwatch.audit`: what an application records itself and asks, in the SQLite file that needs nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi import Depends, FastAPI

from lockwatch import ConfigurationError, LockWatch, RateLimit
from lockwatch.audit.query import AuditQuery
from tests.edges.asgi import http


def make(place: Path, **options: Any) -> tuple[FastAPI, LockWatch]:
    app = FastAPI()
    url = f"sqlite+aiosqlite:///{place / 'audit.db'}"
    lockwatch = LockWatch(app, audit_database_url=url, spool_dir=place / "spool", secret_key="0123456789abcdef", **options)

    @app.get("/limited", dependencies=[Depends(RateLimit("1/hour"))])
    async def limited() -> None: ...

    @app.post("/pay")
    async def pay() -> None:
        await lockwatch.audit.record(
            action="invoice.paid", actor="alice", target="invoice:17", details={"amount": 12, "card_number": "4111", "note": "a\0b"}
        )

    return app, lockwatch


async def test_everything_that_happened_can_be_asked_for(tmp_path: Path) -> None:
    app, lockwatch = make(tmp_path)
    for path, method in (("/limited", "GET"), ("/limited", "GET"), ("/pay", "POST"), ("/nowhere", "GET")):
        await http(app, method, path)
    await lockwatch.flush()
    found = await lockwatch.audit.query(AuditQuery())
    assert sorted((entry.kind, entry.action, entry.endpoint, entry.status_code) for entry in found if entry.kind == "http") == [
        ("http", "request", "/limited", 200),
        ("http", "request", "/limited", 429),
        ("http", "request", "/nowhere", 404),
        ("http", "request", "/pay", 200),
    ]
    (hit,) = await lockwatch.audit.query(AuditQuery(rate_limit_hits_only=True))
    assert (hit.status_code, hit.rate_limit_hit, hit.reasons) == (429, True, ("rate_limit_exceeded", "1-per-hour"))
    (paid,) = await lockwatch.audit.query(AuditQuery(action="invoice.paid"))
    assert (paid.actor, paid.target, paid.kind) == ("alice", "invoice:17", "app")
    assert dict(paid.details) == {"amount": 12, "card_number": "[redacted]", "note": "a\ufffdb"}
    assert lockwatch.health().status == "ok"
    await lockwatch.aclose()


async def test_what_operators_do_is_recorded(tmp_path: Path) -> None:
    app, lockwatch = make(tmp_path)
    await http(app, "GET", "/limited")
    assert await lockwatch.reset_limits("ip:192.0.2.1") == 1
    await lockwatch.reset("export", "alice", "5/hour")
    await lockwatch.flush()
    found = await lockwatch.audit.query(AuditQuery(action="limit.reset"))
    assert [(entry.kind, entry.target, entry.route) for entry in found] == [
        ("admin", "alice", "export"),
        ("admin", "ip:192.0.2.1", None),
    ]
    await lockwatch.aclose()


async def test_an_application_without_an_audit_log_is_told_so() -> None:
    lockwatch = LockWatch(FastAPI())
    with pytest.raises(ConfigurationError, match="audit_database_url"):
        _ = lockwatch.audit


async def test_a_log_that_is_no_database_cannot_be_asked() -> None:
    lockwatch = LockWatch(FastAPI(), audit_sinks=[print], spool_dir=None)
    with pytest.raises(ConfigurationError, match="audit_database_url"):
        await lockwatch.audit.query(AuditQuery())
    await lockwatch.aclose()


async def test_a_field_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    _, lockwatch = make(tmp_path)
    with pytest.raises(TypeError):
        await lockwatch.audit.record(action="a", colour="red")
    await lockwatch.aclose()
