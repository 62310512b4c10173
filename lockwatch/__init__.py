"""lockwatch: rate limits, rotating tokens, attack detection and audit for FastAPI and Flask.

Names are resolved when they are first used, so that importing lockwatch loads no framework and no driver, and takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lockwatch.alerts.channels import SlackChannel, WebhookChannel
    from lockwatch.alerts.receiver import verify_webhook
    from lockwatch.anomaly.config import AnomalyConfig
    from lockwatch.anomaly.direct import AnomalyDetector
    from lockwatch.audit.entry import AuditLogEntry
    from lockwatch.audit.logger import AuditLogger
    from lockwatch.audit.query import AuditQuery
    from lockwatch.config import LockWatchConfig
    from lockwatch.errors import (
        Banned,
        ConfigurationError,
        InvalidWebhook,
        LockwatchError,
        RateLimited,
        StoreError,
        StoreUnavailable,
        TokenError,
    )
    from lockwatch.fastapi import JWTAuth, LockWatch, RateLimit, rate_limit
    from lockwatch.fastapi.middleware import LockWatchMiddleware
    from lockwatch.keys import by_api_key, by_claim, by_form, by_ip, by_json, by_user
    from lockwatch.keys import by_api_key as key_by_api_key
    from lockwatch.keys import by_ip as key_by_ip
    from lockwatch.keys import by_user as key_by_user_id
    from lockwatch.limiter import RateLimitConfig, RateLimiter, RateLimitState
    from lockwatch.limits import Decision, Limit
    from lockwatch.tokens.claims import Claims
    from lockwatch.tokens.config import JWTConfig
    from lockwatch.tokens.issuers import Issuer
    from lockwatch.tokens.manager import JWTRotationManager
    from lockwatch.tokens.pair import TokenPair
    from lockwatch.tokens.refresh_cookie import RefreshCookie

__version__ = "0.2.0"

__all__ = [
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

_HOMES = {
    "lockwatch.audit.entry": "AuditLogEntry",
    "lockwatch.audit.logger": "AuditLogger",
    "lockwatch.audit.query": "AuditQuery",
    "lockwatch.alerts.channels": "SlackChannel WebhookChannel",
    "lockwatch.alerts.receiver": "verify_webhook",
    "lockwatch.anomaly.config": "AnomalyConfig",
    "lockwatch.anomaly.direct": "AnomalyDetector",
    "lockwatch.config": "LockWatchConfig",
    "lockwatch.errors": (
        "Banned ConfigurationError InvalidWebhook LockwatchError RateLimited StoreError StoreUnavailable TokenError"
    ),
    "lockwatch.fastapi.middleware": "LockWatchMiddleware",
    "lockwatch.fastapi": "JWTAuth LockWatch RateLimit rate_limit",
    "lockwatch.keys": "by_api_key by_claim by_form by_ip by_json by_user",
    "lockwatch.limiter": "RateLimitConfig RateLimitState RateLimiter",
    "lockwatch.limits": "Decision Limit",
    "lockwatch.tokens.claims": "Claims",
    "lockwatch.tokens.config": "JWTConfig",
    "lockwatch.tokens.issuers": "Issuer",
    "lockwatch.tokens.manager": "JWTRotationManager",
    "lockwatch.tokens.pair": "TokenPair",
    "lockwatch.tokens.refresh_cookie": "RefreshCookie",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}
_ALIASES = {"key_by_api_key": "by_api_key", "key_by_ip": "by_ip", "key_by_user_id": "by_user"}


def __getattr__(name: str) -> Any:
    target = _ALIASES.get(name, name)
    if target not in _HOME:
        raise AttributeError(f"module 'lockwatch' has no attribute {name!r}")
    try:
        value = getattr(import_module(_HOME[target]), target)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("fastapi", "starlette"):
            raise
        raise ImportError(f"lockwatch.{name} needs FastAPI: install 'lockwatch[fastapi]'") from error
    globals()[name] = value
    return value
