"""The environment variables of 0.1.0, bare names included: they count for its classes, and for nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from flask import Flask

import lockwatch_flask
from lockwatch import (
    AuditLogger,
    ConfigurationError,
    JWTConfig,
    JWTRotationManager,
    LockWatch,
    LockWatchConfig,
    LockWatchMiddleware,
    TokenError,
)
from lockwatch.middleware import LockWatchFlaskMiddleware

SECRET = "a secret of at least 32 characters"


def middleware(framework: str, **options: Any) -> Any:
    if framework == "fastapi":
        return LockWatchMiddleware(FastAPI(), **options)
    return LockWatchFlaskMiddleware(Flask("shop").wsgi_app, **options)


@pytest.mark.parametrize("framework", ["fastapi", "flask"])
def test_the_middlewares_read_the_bare_names(framework: str, redis_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", redis_server)
    monkeypatch.setenv("JWT_SECRET", SECRET)
    monkeypatch.setenv("LOCKWATCH_DATABASE_URL", "sqlite+aiosqlite:///audit.db")
    config = middleware(framework).engine.config
    assert (config.redis_url, config.jwt_secret) == (redis_server, SECRET)
    assert config.audit_database_url == "sqlite+aiosqlite:///audit.db"
    assert {config.sources[name] for name in ("redis_url", "jwt_secret")} == {"REDIS_URL", "JWT_SECRET"}


@pytest.mark.parametrize("framework", ["fastapi", "flask"])
def test_arguments_and_names_of_ours_go_first(framework: str, redis_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import redis

    monkeypatch.setenv("REDIS_URL", "redis://192.0.2.1:6379/0")
    monkeypatch.setenv("JWT_SECRET", SECRET)
    assert middleware(framework, redis_url=redis_server).engine.config.redis_url == redis_server
    with redis.Redis.from_url(redis_server) as client:
        assert middleware(framework, redis=client).engine.config.redis_url is None
    assert middleware(framework, jwt=JWTConfig(jwt_secret=2 * SECRET)).engine.config.jwt_secret is None
    monkeypatch.setenv("LOCKWATCH_REDIS_URL", "memory://")
    assert middleware(framework).engine.config.redis_url == "memory://"


def test_a_manager_without_a_key_signs_with_the_secret_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET", SECRET)
    token = JWTRotationManager().issue_token_pair_sync("ann").access_token
    other = JWTRotationManager(config=JWTConfig(jwt_secret=SECRET, access_token_ttl_seconds=60))
    assert other.read(token).subject == "ann"
    short_lived = JWTRotationManager(None, JWTConfig(access_token_ttl=60))
    pair = short_lived.issue_token_pair_sync("ann")
    claims = other.read(pair.access_token)
    assert claims["exp"] - claims["iat"] == 60


def test_a_manager_with_a_key_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET", SECRET)
    token = JWTRotationManager(config=JWTConfig(jwt_secret=2 * SECRET)).issue_token_pair_sync("ann").access_token
    with pytest.raises(TokenError):
        JWTRotationManager(config=JWTConfig(jwt_secret=SECRET)).read(token)
    assert JWTRotationManager(config=JWTConfig(algorithm="RS256")).jwks


def test_a_weak_secret_of_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET", "weak")
    with pytest.raises(ConfigurationError, match="at least 32 bytes") as raised:
        JWTRotationManager()
    assert "weak" not in str(raised.value)


def test_an_audit_log_without_a_database_takes_that_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("LOCKWATCH_DATABASE_URL", f"sqlite+aiosqlite:///{tmp_path / 'audit.db'}")
    logger = AuditLogger()
    logger.init_sync()
    assert (tmp_path / "audit.db").exists()
    logger.close_sync()


def test_bare_names_never_count_for_an_application(redis_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", redis_server)
    monkeypatch.setenv("JWT_SECRET", SECRET)
    app = Flask("shop")
    flask = lockwatch_flask.LockWatch(app)
    for config in (LockWatch(FastAPI()).config, flask.engine.config):
        assert (config.redis_url, config.jwt_secret) == (None, None)
    config = LockWatchConfig.from_env()
    assert (config.redis_url, config.jwt_secret) == (redis_server, SECRET)
    flask.close()
