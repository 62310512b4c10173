"""From what a test has in its hands to the application, its lockwatch, and the engine behind it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

from lockwatch.engine import Engine
from lockwatch.overview import Overview
from lockwatch.tokens.manager import JWTRotationManager


def application_of(target: Any) -> Any:
    """The application that has a lockwatch: `target`, or what is inside a test client or middleware. Raises: TypeError."""
    for found in _inside(target):
        if _held(found) is not None:
            return found
    raise TypeError(
        f"a {type(target).__name__} without lockwatch; give the application that was given to LockWatch(app), "
        "a test client of it, or its LockWatch"
    )


def engine_of(target: Any) -> Engine:
    """The engine behind an application, a test client of it, or its `LockWatch`. Raises: TypeError, ConfigurationError."""
    if isinstance(target, Engine):
        return target
    if isinstance(engine := getattr(target, "engine", None), Engine):
        return engine
    app = application_of(target)
    held = _held(app)
    found: Engine = held.engine_of(app) if hasattr(held, "engine_of") else held.engine
    return found


def overview_of(target: Any) -> Overview:
    """The routes of an application. Raises: TypeError."""
    app = application_of(target)
    context = getattr(app, "app_context", nullcontext)  # of a Flask application
    with context():
        found: Overview = _held(app).overview()
    return found


def manager_of(engine: Engine) -> JWTRotationManager:
    """Who issues the tokens of an application. Raises: TypeError."""
    if engine.identity is None or engine.identity.manager is None:
        raise TypeError("this application issues no tokens; set jwt, like LockWatch(app, jwt=JWTConfig(jwt_secret=...))")
    return engine.identity.manager


def _inside(target: Any) -> Iterator[Any]:
    """`target`, and what it is wrapped around: test clients and middleware keep that in attributes of these names."""
    yield target
    client = getattr(target, "application", None) or getattr(getattr(target, "_transport", None), "app", None)
    found = client or getattr(target, "app", None)
    for _ in range(20):
        if found is None:
            return
        yield found
        found = getattr(found, "app", None)


def _held(app: Any) -> Any:
    extensions = getattr(app, "extensions", None)
    if isinstance(extensions, dict) and "lockwatch" in extensions:
        return extensions["lockwatch"]
    return getattr(getattr(app, "state", None), "lockwatch", None)
