"""What commands remember of an application, so that a shell can complete its routes without importing it.

One file for each directory that commands are run in, in the user's cache directory: names of routes and of limits, nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from lockwatch.overview import Overview

MOST: Final = 2000
"""Names of a kind that are remembered."""
DIRECTORIES: Final = 64
"""Directories that are remembered: those in which commands were run last."""


def keep(name: str, overview: Overview) -> None:
    """Remember the routes of an application; where that cannot be written, nobody is troubled."""
    routes = sorted({route.name for route in overview.routes})[:MOST]
    plans = [route.plan for route in overview.routes]
    policies = sorted({p.name for plan in plans for step in (*plan.steps, *plan.later) for p in step.policies})[:MOST]
    text = json.dumps({"app": name, "routes": routes, "policies": policies})
    path = _path()
    with suppress(OSError):
        if path.exists() and path.read_text("utf-8") == text:
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}")
        descriptor = os.open(fresh, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(fresh, path)
        for old in sorted(path.parent.glob("*.json"), key=lambda one: one.stat().st_mtime)[:-DIRECTORIES]:
            old.unlink()


def applications(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The application a command was last about."""
    return _completed([_known().get("app")], incomplete)


def routes(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The routes it had."""
    return _completed(_known().get("routes"), incomplete)


def policies(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The limits it had."""
    return _completed(_known().get("policies"), incomplete)


def _completed(names: Any, incomplete: str) -> list[CompletionItem]:
    listed = names if isinstance(names, list) else []
    return [CompletionItem(name) for name in listed if isinstance(name, str) and name and name.startswith(incomplete)]


def _known() -> dict[str, Any]:
    try:
        found = json.loads(_path().read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _path() -> Path:
    told = os.environ.get("XDG_CACHE_HOME", "")
    place = Path(told) if told.startswith("/") else Path(os.path.expanduser("~")) / ".cache"
    directory = hashlib.blake2b(os.getcwd().encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
    return place / "lockwatch" / f"{directory}.json"
