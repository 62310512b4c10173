"""docs/promises.md is true: what it names is there, and so are the tests that it names."""

from __future__ import annotations

import ast
import re
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import fastapi
import pytest
import sqlalchemy
from fastapi import Request

from lockwatch import AnomalyConfig, AuditLogEntry, ConfigurationError, JWTConfig, LockWatchConfig, LockWatchMiddleware
from lockwatch.middleware import LockWatchFlaskMiddleware
from tests.edges.asgi import http

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/promises.md").read_text("utf-8")


def rows(head: str) -> list[list[str]]:
    """The rows of all tables with that head, without the white space around cells."""
    found = []
    for table in re.findall(rf"^\| {re.escape(head)} \|\n\|[-|]+\|\n((?:\|.*\|\n)+)", PAGE, re.MULTILINE):
        found += [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return found


PROMISES = rows("Promise | Where | Test")
OPTIONS = rows("Option | Variable | Default | Where")


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@cache
def functions(path: Path) -> frozenset[str]:
    """The names of the tests in a file."""
    tree = ast.parse(path.read_text("utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def resolved(name: str) -> Any:
    """The object of a dotted name."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(name)


def test_the_tables_are_read() -> None:
    assert len(PROMISES) > 60
    assert len(OPTIONS) == 11


@pytest.mark.parametrize("row", PROMISES, ids=lambda row: row[0])
def test_a_promise_is_kept_somewhere_and_tested(row: list[str]) -> None:
    _, where, tests = row
    assert quoted(where)
    for place in quoted(where):
        assert (ROOT / place).exists() if "/" in place or place.endswith((".md", ".toml")) else resolved(place) is not None
    assert quoted(tests)
    for test in quoted(tests):
        file, _, name = test.partition("::")
        assert name.startswith("test_")
        assert name in functions(ROOT / "tests" / file), f"{file} has no {name}"


# ------------------------------------------------------------ options
VALUES: dict[str, Any] = {
    "redis_url": "memory://",
    "rate_limit_requests": 7,
    "rate_limit_window_seconds": 30,
    "burst_threshold": 9,
    "burst_window_seconds": 5,
    "webhook_urls": ["https://hooks.example.com/lockwatch"],
    "audit_database_url": "sqlite+aiosqlite:///audit.db",
    "on_redis_failure": "deny",
    "jwt_secret": "a secret of at least 32 characters",
    "access_token_ttl": 60,
    "anomaly_window": 5,
}


def made(framework: str, **options: Any) -> Any:
    if framework == "fastapi":
        return LockWatchMiddleware(fastapi.FastAPI(), **options)
    return LockWatchFlaskMiddleware(lambda environ, start: [], **options)


@pytest.mark.parametrize("framework", ["fastapi", "flask"])
@pytest.mark.parametrize("row", OPTIONS, ids=lambda row: row[0])
def test_an_option_has_its_name_still(row: list[str], framework: str) -> None:
    (name,) = quoted(row[0])
    options = {name: VALUES[name]} | ({"jwt_secret": VALUES["jwt_secret"]} if name == "access_token_ttl" else {})
    config = made(framework, **options).engine.config
    found = getattr(config, name)
    assert (list(found) if name == "webhook_urls" else found) == VALUES[name]


@pytest.mark.parametrize("framework", ["fastapi", "flask"])
def test_the_defaults_are_those_of_the_table(framework: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REDIS_URL", "JWT_SECRET", "LOCKWATCH_DATABASE_URL", "LOCKWATCH_STORE_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    engine = made(framework).engine
    config = engine.config
    assert (config.redis_url, config.rate_limit_requests, config.rate_limit_window_seconds) == (None, 100, 60)
    assert (config.webhook_urls, config.audit_database_url, config.on_redis_failure) == ((), None, None)
    assert (config.jwt_secret, JWTConfig().access_token_ttl_seconds) == (None, 900)
    assert (AnomalyConfig().burst_threshold, AnomalyConfig().burst_window_seconds) == (50, 10)
    assert (engine.anomaly.burst_threshold if engine.anomaly else 0) == {"fastapi": 50, "flask": 0}[framework]


def test_the_names_of_the_environment_are_those_of_the_table() -> None:
    for row in OPTIONS:
        for variable in quoted(row[1]):
            (name,) = quoted(row[0])
            assert getattr(LockWatchConfig.from_env({variable: str(VALUES[name])}), name) == VALUES[name]


@pytest.mark.parametrize("framework", ["fastapi", "flask"])
def test_a_name_that_is_none_is_an_error_with_the_nearest(framework: str) -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'rate_limit_requests'"):
        made(framework, rate_limit_request=5)


@pytest.mark.parametrize("framework", ["fastapi", "flask"])
def test_both_names_of_the_burst_window_are_one_setting(framework: str) -> None:
    for name in ("burst_window_seconds", "anomaly_window"):
        assert made(framework, burst_threshold=9, **{name: 5}).engine.anomaly.burst_window_seconds == 5


# ------------------------------------------------------------ what nothing else tests
def test_a_row_has_the_ten_fields() -> None:
    entry = AuditLogEntry()
    promised = "id timestamp user_id ip endpoint method status_code rate_limit_hit anomaly_detected latency_ms"
    assert all(hasattr(entry, name) for name in promised.split())


def test_questions_by_user_and_by_address_have_an_index() -> None:
    from lockwatch.audit.models import AuditLog

    table: sqlalchemy.Table = AuditLog.__table__  # type: ignore[attr-defined]
    found = {tuple(column.name for column in index.columns)[:2] for index in table.indexes}
    assert {("user_id", "timestamp"), ("ip", "timestamp")} <= found


async def test_the_state_of_a_request_is_there_for_the_endpoint() -> None:
    app = fastapi.FastAPI()
    app.add_middleware(LockWatchMiddleware, rate_limit_requests=5)

    @app.get("/")
    async def root(request: Request) -> dict[str, Any]:
        (decision,) = request.state.lockwatch.decisions
        return {"remaining": decision.remaining, "limit": decision.limit.amount, "allowed": decision.allowed}

    assert (await http(app, "GET", "/")).json() == {"remaining": 4, "limit": 5, "allowed": True}


def test_a_release_is_published_from_a_tag_without_a_stored_secret() -> None:
    workflow = (ROOT / ".github/workflows/publish.yml").read_text("utf-8")
    assert 'tags: ["v*"]' in workflow
    assert "id-token: write" in workflow
    assert "secrets." not in workflow
