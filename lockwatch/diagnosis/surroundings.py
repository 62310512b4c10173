"""How the application is served: workers and forwarded headers, as variables and files beside it say. Nothing of it is run."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

PLATFORMS: Final = {
    "DYNO": "Heroku",
    "FLY_APP_NAME": "Fly.io",
    "K_SERVICE": "Cloud Run",
    "KUBERNETES_SERVICE_HOST": "Kubernetes",
    "RAILWAY_ENVIRONMENT": "Railway",
    "RENDER": "Render",
    "WEBSITE_HOSTNAME": "Azure App Service",
    "AWS_EXECUTION_ENV": "AWS",
    "VERCEL": "Vercel",
}
"""Variables by which platforms show themselves that always have a proxy in front."""
_FILES: Final = ("gunicorn.conf.py", "Procfile")
_WORKERS: Final = re.compile(r"(?:--workers|-w)(?:\s+|=)(\d+)")
_ALLOWED: Final = re.compile(r"--forwarded-allow-ips(?:\s+|=)(\S+)")
_LOCAL: Final = "127.0.0.1"
"""Whom uvicorn believes where nobody is named."""
_MOST: Final = 65_536


class Hint(NamedTuple):
    """What something says, and where."""

    value: str
    where: str


def workers(environ: Mapping[str, str], place: Path) -> Iterator[Hint]:
    """How many processes will serve, as far as anybody says: numbers, or ``several`` where it is computed."""
    for name in ("WEB_CONCURRENCY", "UVICORN_WORKERS"):
        if _is_number(environ.get(name, "")):
            yield Hint(environ[name], f"environment: {name}")
    for where, text in _commands(environ, place):
        yield from [Hint(number, where) for number in _WORKERS.findall(text)]
    if (found := _setting(place, "workers")) is not None:
        yield Hint(found if _is_number(found) else "several", "gunicorn.conf.py: workers")


def believed(environ: Mapping[str, str], place: Path) -> Iterator[Hint]:
    """Whose forwarded headers the server believes, as far as anybody says."""
    for name in ("FORWARDED_ALLOW_IPS", "UVICORN_FORWARDED_ALLOW_IPS"):
        if environ.get(name):
            yield Hint(environ[name], f"environment: {name}")
    for where, text in _commands(environ, place):
        said = [value.strip("'\"") for value in _ALLOWED.findall(text)]
        yield from [Hint(value, where) for value in said or ([_LOCAL] if "--proxy-headers" in text.split() else [])]
    if (found := _setting(place, "forwarded_allow_ips")) is not None:
        yield Hint(found, "gunicorn.conf.py: forwarded_allow_ips")


def platform(environ: Mapping[str, str]) -> Hint | None:
    """Which platform this is, if it is one that has a proxy."""
    return next((Hint(name, f"environment: {variable}") for variable, name in PLATFORMS.items() if environ.get(variable)), None)


def _commands(environ: Mapping[str, str], place: Path) -> Iterator[tuple[str, str]]:
    """The command lines that servers are started with."""
    if environ.get("GUNICORN_CMD_ARGS"):
        yield "environment: GUNICORN_CMD_ARGS", _joined(environ["GUNICORN_CMD_ARGS"])
    for line in _text(place / "Procfile").splitlines():
        kind, colon, command = line.partition(":")
        if colon and kind.strip() == "web":
            yield "Procfile: web", _joined(command)


def _joined(command: str) -> str:
    try:
        return " ".join(shlex.split(command))
    except ValueError:
        return command


def _setting(place: Path, name: str) -> str | None:
    """What gunicorn.conf.py sets, as it is written. It is read, not run."""
    with suppress(SyntaxError, ValueError):
        for statement in ast.parse(_text(place / "gunicorn.conf.py")).body:
            if isinstance(statement, ast.Assign) and any(getattr(t, "id", None) == name for t in statement.targets):
                value = statement.value
                return str(value.value) if isinstance(value, ast.Constant) else ast.unparse(value)
    return None


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(_MOST)
    except OSError:
        return ""


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
