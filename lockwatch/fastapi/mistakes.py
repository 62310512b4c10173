"""Mistakes that would leave a route open without a word: limits and tokens that nothing asks. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import unwrap
from typing import Any, Final

from lockwatch.errors import ConfigurationError
from lockwatch.fastapi.plan import Seen
from lockwatch.fastapi.spare import branches
from lockwatch.limits.declaration import Declaration
from lockwatch.tokens.requirement import Requirement

UNFINISHED: Final = "__lockwatch_unfinished__"
"""On what a decorator returned that was never given a function."""


def check(seen: Seen) -> None:
    """Whether a route means what its author meant. Raises: ConfigurationError."""
    place = f"the route {seen.prefix}{seen.path}"
    if getattr(seen.endpoint, UNFINISHED, False):
        raise ConfigurationError(f"{place} has @lockwatch.limit without a limit; write @lockwatch.limit('10/minute')")
    for function in _functions(seen.endpoint, seen.dependant):
        for name, value in _parameters(function):
            if isinstance(value, Declaration | Requirement):
                kind = type(value).__name__
                raise ConfigurationError(f"{place} never asks the {kind} of the parameter {name!r}; write Depends({kind}(...))")


def unwrapped(kind: str) -> ConfigurationError:
    """What to say of a dependency that stands in a list without `Depends`."""
    return ConfigurationError(f"dependencies=[{kind}(...)] is no dependency yet; write dependencies=[Depends({kind}(...))]")


def _functions(endpoint: Any, dependant: Any) -> Iterator[Any]:
    """The endpoint, and the functions it depends on."""
    yield endpoint
    for sub in () if dependant is None else branches(dependant):
        yield from _functions(sub.call, sub)


def _parameters(function: Any) -> Iterator[tuple[str, Any]]:
    """Names of parameters with their defaults, and with what stands beside their types."""
    function = unwrap(function)
    code = getattr(function, "__code__", None)
    if code is None:
        return
    positional = code.co_varnames[: code.co_argcount]
    defaults = function.__defaults__ or ()
    yield from zip(positional[len(positional) - len(defaults) :], defaults, strict=True)
    yield from (function.__kwdefaults__ or {}).items()
    for name, annotation in function.__annotations__.items():
        yield from ((name, beside) for beside in getattr(annotation, "__metadata__", ()))
