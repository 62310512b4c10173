"""What `import lockwatch` promises, and what it costs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import lockwatch

NAMES = [
    "AnomalyConfig",
    "AnomalyDetector",
    "AuditLogEntry",
    "AuditLogger",
    "AuditQuery",
    "Banned",
    "Claims",
    "ConfigurationError",
    "Decision",
    "InvalidWebhook",
    "Issuer",
    "JWTAuth",
    "JWTConfig",
    "JWTRotationManager",
    "Limit",
    "LockWatch",
    "LockWatchConfig",
    "LockWatchMiddleware",
    "LockwatchError",
    "RateLimit",
    "RateLimitConfig",
    "RateLimitState",
    "RateLimited",
    "RateLimiter",
    "RefreshCookie",
    "SlackChannel",
    "StoreError",
    "StoreUnavailable",
    "TokenError",
    "TokenPair",
    "WebhookChannel",
    "by_api_key",
    "by_claim",
    "by_form",
    "by_ip",
    "by_json",
    "by_user",
    "key_by_api_key",
    "key_by_ip",
    "key_by_user_id",
    "rate_limit",
    "verify_webhook",
]


def test_the_exported_names_are_these_and_all_resolve() -> None:
    assert lockwatch.__all__ == NAMES
    assert all(getattr(lockwatch, name) is not None for name in NAMES)


def test_importing_lockwatch_loads_no_framework_and_no_driver() -> None:
    code = "import sys, json, lockwatch, lockwatch_flask; print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})))"
    loaded = set(json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout))
    assert not loaded & {
        "fastapi",
        "starlette",
        "flask",
        "redis",
        "sqlalchemy",
        "sqlmodel",
        "httpx",
        "jose",
        "asyncpg",
        "click",
    }


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_of_that_name"):
        lockwatch.nothing_of_that_name  # noqa: B018
