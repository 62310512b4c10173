"""In Flask nothing has to be awaited: what is a coroutine on FastAPI is a plain function here, on the components too."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from lockwatch import (
    AnomalyConfig,
    AnomalyDetector,
    AuditLogger,
    JWTRotationManager,
    RateLimiter,
    TokenError,
)
from lockwatch_flask import LockWatch

SECRET = "a secret of at least 32 characters"


@pytest.fixture(params=["memory", "redis"])
def app(request: pytest.FixtureRequest, redis_server: str, tmp_path: Any) -> Any:
    app = Flask(__name__)
    url = None if request.param == "memory" else redis_server
    audit = f"sqlite+aiosqlite:///{tmp_path / 'audit.db'}"
    made = LockWatch(app, redis_url=url, jwt_secret=SECRET, audit_database_url=audit, anomaly=AnomalyConfig(burst_threshold=2))
    made.audit.init()
    yield app
    made.close()


def test_sessions_begin_go_on_and_end(app: Flask) -> None:
    tokens = app.extensions["lockwatch"].tokens
    pair = tokens.issue_token_pair("ann", {"roles": ["admin"]})
    assert tokens.verify_access(pair.access_token).subject == "ann"
    later = tokens.rotate(pair.refresh_token)
    assert len(tokens.sessions("ann")) == 1
    tokens.revoke_subject("ann")
    assert tokens.sessions("ann") == ()
    for old in (pair, later):
        with pytest.raises(TokenError):
            tokens.verify_access(old.access_token)


def test_one_token_is_taken_back(app: Flask) -> None:
    tokens = app.extensions["lockwatch"].tokens
    pair = tokens.issue_token_pair("ann")
    tokens.blacklist(tokens.verify_access_token(pair.access_token).jti)
    with pytest.raises(TokenError):
        tokens.verify_access(pair.access_token)


def test_the_audit_log_is_written_and_asked(app: Flask) -> None:
    audit = app.extensions["lockwatch"].audit
    audit.record(action="invoice.paid", actor="ann", target="invoice:7")
    audit.flush()
    (paid,) = audit.query(action="invoice.paid")
    assert (paid.actor, paid.target) == ("ann", "invoice:7")


def test_bans_are_made_and_lifted(app: Flask) -> None:
    bans = app.extensions["lockwatch"].bans
    bans.add("ip:192.0.2.7", reason="test")
    assert [ban.subject for ban in bans.list()] == ["ip:192.0.2.7"]
    assert bans.lift("ip:192.0.2.7")
    assert bans.list() == ()


def test_a_limiter_and_a_detector_answer_at_once(app: Flask) -> None:
    lockwatch = app.extensions["lockwatch"]
    allowed, state = lockwatch.limiter.check("ann")
    assert (allowed, state.limit) == (True, 100)
    assert lockwatch.limiter.reset("ann")
    assert [lockwatch.anomaly.check("192.0.2.9", endpoint="/login", method="POST") for _ in range(2)] == [False, True]


def test_the_names_for_blocking_code_are_there_as_well(app: Flask) -> None:
    tokens = app.extensions["lockwatch"].tokens
    assert tokens.verify_access_sync(tokens.issue_token_pair_sync("ann").access_token).subject == "ann"


def test_components_are_what_they_are_elsewhere(app: Flask) -> None:
    lockwatch = app.extensions["lockwatch"]
    assert isinstance(lockwatch.tokens, JWTRotationManager)
    assert isinstance(lockwatch.audit, AuditLogger)
    assert isinstance(lockwatch.limiter, RateLimiter)
    assert isinstance(lockwatch.anomaly, AnomalyDetector)
    assert SECRET not in repr(lockwatch.tokens)
    with pytest.raises(AttributeError, match="nothing_of_that_name"):
        lockwatch.tokens.nothing_of_that_name  # noqa: B018
