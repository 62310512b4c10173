"""lockwatch: rate limits, rotating tokens, attack detection and audit for FastAPI and Flask.

Names of a framework or driver are resolved when they are first used, so that importing lockwatch loads neither.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lockwatch.errors import ConfigurationError, LockwatchError, RateLimited, StoreError, StoreUnavailable
from lockwatch.keys import by_api_key, by_ip, by_user
from lockwatch.limits import Decision, Limit

if TYPE_CHECKING:
    from lockwatch.config import LockWatchConfig
    from lockwatch.fastapi import LockWatch, RateLimit, rate_limit

__version__ = "0.2.0"

__all__ = [
    "ConfigurationError",
    "Decision",
    "Limit",
    "LockWatch",
    "LockWatchConfig",
    "LockwatchError",
    "RateLimit",
    "RateLimited",
    "StoreError",
    "StoreUnavailable",
    "by_api_key",
    "by_ip",
    "by_user",
    "key_by_api_key",
    "key_by_ip",
    "key_by_user_id",
    "rate_limit",
]

key_by_ip, key_by_user_id, key_by_api_key = by_ip, by_user, by_api_key

_LAZY = {
    "LockWatch": "lockwatch.fastapi",
    "RateLimit": "lockwatch.fastapi",
    "rate_limit": "lockwatch.fastapi",
    "LockWatchConfig": "lockwatch.config",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'lockwatch' has no attribute {name!r}")
    try:
        value = getattr(import_module(_LAZY[name]), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("fastapi", "starlette"):
            raise
        raise ImportError(f"lockwatch.{name} needs FastAPI: install 'lockwatch[fastapi]'") from error
    globals()[name] = value
    return value
