"""Applications that no `LockWatch` was given to: what they declare all the same, and the middlewares of lockwatch 0.1."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from lockwatch.diagnosis.finding import Finding
from lockwatch.first_release import engine_of

if TYPE_CHECKING:
    from lockwatch.engine import Engine

_NAMED: Final = 5


def middleware(application: Any) -> Engine | None:
    """The engine of the middleware of lockwatch 0.1 that an application has; None where it has none. Raises: ConfigurationError."""
    for one in getattr(application, "user_middleware", ()):
        if getattr(one.cls, "__name__", "") == "LockWatchMiddleware":
            return engine_of(one.kwargs, burst_threshold=50, blocking=False)
    layer: Any = getattr(application, "wsgi_app", None)
    for _ in range(100):
        if type(layer).__name__ == "LockWatchFlaskMiddleware":
            return layer.engine  # type: ignore[no-any-return]  # a middleware's own
        layer = getattr(layer, "app", None)
    return None


def alone(application: Any, name: str) -> Finding:
    """That an application has no `LockWatch`, with the routes that say they are limited."""
    made = type(application).__name__
    change = f"LockWatch({name.rpartition(':')[2].removesuffix('()') or 'app'}, ...), right below where it is made"
    limited = _limited(application)
    if not limited:
        return Finding("routes.no-lockwatch", f"it is a {made} without LockWatch: nothing is protected", name, change)
    more = f" and {len(limited) - _NAMED} more" if len(limited) > _NAMED else ""
    what = (
        f"{', '.join(limited[:_NAMED])}{more} declared limits, and nobody installed LockWatch: "
        "they count in the memory of each process, after the body was read, without quota headers"
    )
    return Finding("routes.no-lockwatch", what, name, change)


def _limited(application: Any) -> list[str]:
    """The routes of a FastAPI application that declare limits."""
    if "fastapi" not in sys.modules or not hasattr(application, "router"):
        return []
    plan = import_module("lockwatch.fastapi.plan")
    seen = [s for s in plan.walk(application.router.routes, owner=application) if not s.passage]
    return [
        f"{' '.join(sorted(s.methods - {'HEAD'})) or 'WEBSOCKET'} {s.prefix}{s.path}"
        for s in seen
        if plan.declared(s.dependant, s.endpoint, {})
    ]
