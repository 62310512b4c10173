"""The middlewares of lockwatch 0.1, for both frameworks, and its decorator for Flask. Each is imported when it is asked for."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lockwatch.fastapi.middleware import LockWatchMiddleware
    from lockwatch_flask.middleware import LockWatchFlaskMiddleware, flask_jwt_required

__all__ = ["LockWatchFlaskMiddleware", "LockWatchMiddleware", "flask_jwt_required"]

_HOMES = {
    "LockWatchMiddleware": ("lockwatch.fastapi.middleware", "fastapi"),
    "LockWatchFlaskMiddleware": ("lockwatch_flask.middleware", "flask"),
    "flask_jwt_required": ("lockwatch_flask.middleware", "flask"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lockwatch.middleware' has no attribute {name!r}")
    module, extra = _HOMES[name]
    try:
        value = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("fastapi", "starlette", "flask", "werkzeug"):
            raise
        raise ImportError(f"lockwatch.middleware.{name} needs its framework: install 'lockwatch[{extra}]'") from error
    globals()[name] = value
    return value
