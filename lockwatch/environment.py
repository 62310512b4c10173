"""Settings from the environment, and from files it names. Standard library only."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, Final

from lockwatch.errors import ConfigurationError
from lockwatch.options import ALSO, BARE, BOOLEANS, FLAGS, FLOATS, LISTS, RANGES

_SERVERS: Final = frozenset({"uvicorn", "gunicorn", "hypercorn", "granian", "fastapi"})


def read(environ: Mapping[str, str], names: Iterable[str], bare: Collection[str] = ()) -> tuple[dict[str, Any], dict[str, str]]:
    """Values of the options `names`, and the variable each came from; those in `bare` are found without our prefix too.

    Raises: ConfigurationError, naming the variable.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name in sorted(names):
        variable = f"LOCKWATCH_{name.upper()}"
        for candidate in (variable, f"{variable}_FILE", *ALSO.get(name, ()), BARE.get(name, "") if name in bare else ""):
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


def number(text: str) -> int:
    """The whole number that a text is; 1 for any other text."""
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 10 else 1


def workers_in(arguments: Sequence[str]) -> int:
    """How many processes the command line of a server asks for: uvicorn hands its own to each of them."""
    command = PurePath(*PurePath(arguments[0] if arguments else "").parts[-2:])
    if not _SERVERS.intersection((command.stem, command.parent.name)):
        return 1
    found = 1
    for text, after in zip(arguments[1:], [*arguments[2:], ""], strict=True):
        option, equals, value = text.partition("=")
        if option in ("--workers", "-w"):
            found = number(value if equals else after)
        elif text.startswith("-w"):
            found = max(found, number(text[2:]))
    return found


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
