"""Settings from the environment, and from files it names. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lockwatch.errors import ConfigurationError
from lockwatch.options import ALSO, BARE, BOOLEANS, FLAGS, FLOATS, LISTS, RANGES


def read(environ: Mapping[str, str], names: Iterable[str], bare: bool) -> tuple[dict[str, Any], dict[str, str]]:
    """Values of the options `names`, and the variable each came from; `bare` reads those without our prefix too.

    Raises: ConfigurationError, naming the variable.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name in sorted(names):
        variable = f"LOCKWATCH_{name.upper()}"
        for candidate in (variable, f"{variable}_FILE", *ALSO.get(name, ()), BARE.get(name, "") if bare else ""):
            if candidate and environ.get(candidate):
                text = file(environ[candidate], candidate) if candidate.endswith("_FILE") else environ[candidate]
                values[name], sources[name] = convert(name, text, candidate), candidate
                break
    return values, sources


def convert(name: str, text: str, variable: str) -> Any:
    """The value of an option from text. Raises: ConfigurationError, naming the variable."""
    if name in LISTS:
        return listed(text)
    if name in BOOLEANS:
        return _flag(text, variable)
    if name not in RANGES:
        return text
    try:
        return float(text) if name in FLOATS else int(text)
    except ValueError:
        raise ConfigurationError(f"{variable}={text[:40]!r} is not a number") from None


def _flag(text: str, variable: str) -> bool:
    try:
        return FLAGS[text.strip().lower()]
    except KeyError:
        raise ConfigurationError(f"{variable}={text[:40]!r} is neither true nor false") from None


def listed(text: str) -> tuple[str, ...]:
    """The parts between commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def file(path: str, variable: str) -> str:
    """What is in the file that a variable names. Raises: ConfigurationError."""
    try:
        return Path(path).read_text("utf-8").strip()
    except OSError as error:
        raise ConfigurationError(f"{variable} names a file that cannot be read: {path!r} ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{variable} names a file that is no UTF-8 text: {path!r}") from None
