"""Writes docs/api.md from the code: `uv run python -m tests.promises.reference`. MkDocs calls it when it builds the site."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs/api.md"
HEAD = """\
# API reference

Every public name: what `lockwatch` and `lockwatch_flask` export. Everything else may change without notice. This page is written
from the code, anew whenever the site is built. Methods that are coroutines here are plain functions in Flask.
"""
GROUPS = {
    "Applications": ["LockWatch", "lockwatch_flask.LockWatch", "lockwatch_flask.current_claims", "LockWatchConfig"],
    "Limits": ["RateLimit", "rate_limit", "Limit", "Decision", "RateLimiter", "RateLimitConfig", "RateLimitState"],
    "Whom to count": ["by_ip", "by_user", "by_api_key", "by_claim", "by_json", "by_form"],
    "Tokens": ["JWTAuth", "JWTConfig", "JWTRotationManager", "TokenPair", "Claims", "Issuer", "RefreshCookie"],
    "Attacks and alerts": ["AnomalyConfig", "AnomalyDetector", "WebhookChannel", "SlackChannel", "verify_webhook"],
    "Audit log": ["AuditLogger", "AuditLogEntry", "AuditQuery"],
    "Errors": [
        "LockwatchError",
        "ConfigurationError",
        "RateLimited",
        "TokenError",
        "Banned",
        "StoreError",
        "StoreUnavailable",
        "InvalidWebhook",
    ],
    "Names of 0.1.0": [
        "LockWatchMiddleware",
        "lockwatch.middleware.LockWatchFlaskMiddleware",
        "lockwatch.middleware.flask_jwt_required",
        "key_by_ip",
        "key_by_user_id",
        "key_by_api_key",
    ],
}


def reference() -> str:
    """The whole page."""
    parts = [HEAD]
    for title, names in GROUPS.items():
        parts.append(f"## {title}\n")
        parts += [entry(name) for name in names]
    return "\n".join(parts)


def found(name: str) -> Any:
    """The object of a name; of `lockwatch` where no module is said."""
    module, _, last = name.rpartition(".")
    return getattr(import_module(module or "lockwatch"), last)


def entry(name: str) -> str:
    """A heading, a signature, what the docstring says, and the methods of a class."""
    if name.endswith("current_claims"):  # it is there during a request only
        return f"### `{name}`\n\nWhat the token of the current request says, where `jwt_required` has checked one: a `Claims`.\n"
    thing = found(name)
    last = name.rpartition(".")[2]
    lines = [f"### `{name}`", ""]
    if thing.__name__ != last:
        return "\n".join([*lines, f"The same as [`{thing.__name__}`](#{anchor(thing.__name__)}).", ""])
    lines += [*signature(last, thing), *described(inspect.getdoc(thing) or ""), ""]
    if inspect.isclass(thing):
        lines += table(thing)
    return "\n".join(lines)


def anchor(name: str) -> str:
    """Where MkDocs puts a heading."""
    return re.sub(r"[^\w-]", "", name.lower())


def signature(name: str, thing: Any) -> list[str]:
    """How it is called, a parameter per line where that is long."""
    if inspect.isclass(thing) and issubclass(thing, BaseException):
        return []
    parts = list(parameters(thing))
    short = f"{name}({', '.join(parts)})"
    body = [short] if len(short) < 100 else [f"{name}(", *[f"    {part}," for part in parts], ")"]
    return ["```text", *body, "```", ""]


def parameters(thing: Any) -> Iterator[str]:
    """Parameters with their defaults."""
    marked = False
    for parameter in inspect.signature(thing).parameters.values():
        if parameter.name in ("self", "cls"):
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            yield f"**{parameter.name}"
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not marked:
            marked = True
            yield "*"
        yield parameter.name if parameter.default is parameter.empty else f"{parameter.name}={shown(parameter.default)}"


def shown(default: Any) -> str:
    """A default as one would write it."""
    if inspect.isroutine(default):
        return default.__name__
    return "..." if "<" in repr(default) else repr(default)


def described(text: str) -> list[str]:
    """A docstring as Markdown: its parameters become a list."""
    lines: list[str] = []
    listing = False
    for line in text.replace("``", "`").splitlines():
        if line in ("Args:", "Attributes:"):
            listing = True
        elif listing and (item := re.match(r"    (\w+): (.*)", line)):
            lines.append(f"- `{item[1]}`: {item[2]}")
        elif listing and line.startswith("    "):
            lines[-1] += f" {line.strip()}"
        else:
            listing = listing and not line
            lines.append(line)
    return lines


def table(thing: Any) -> list[str]:
    """The methods and properties of a class with their first sentences."""
    rows = []
    for name, member in inspect.getmembers(thing):
        kept = inspect.isfunction(member) or isinstance(member, property) or hasattr(member, "func")
        if name.startswith("_") or not kept or not (text := inspect.getdoc(getattr(member, "func", member))):
            continue
        called = f"{name}({', '.join(parameters(member))})" if inspect.isfunction(member) else name
        waits = "await " if inspect.iscoroutinefunction(member) else ""
        first = re.split(r"\.(?:\s|$)", text.replace("``", "`").replace("\n", " "))[0].replace("|", "\\|")
        rows.append(f"| `{waits}{called}` | {first} |")
    return ["| | |", "|---|---|", *rows, ""] if rows else []


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Called by MkDocs for each page: this one is as the code is now, whatever is in the file."""
    return reference() if page.file.src_uri == "api.md" else markdown


if __name__ == "__main__":
    PAGE.write_text(reference(), "utf-8")
