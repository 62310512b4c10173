"""`--app module:attribute`: the application a command is about."""

from __future__ import annotations

import ast
import inspect
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import nullcontext, redirect_stdout
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import click

from lockwatch.commands import remembered
from lockwatch.commands.trouble import Misconfigured, Unusable, installing
from lockwatch.diagnosis.serving import MIDDLEWARES, layers
from lockwatch.errors import ConfigurationError
from lockwatch.overview import Overview

EXAMPLE = "--app main:app"
GIVEN = "lockwatch.application"
"""Where a context of click has a function that returns the application, if it has one."""
_OURS = str(Path(__file__).parent.parent)
"""Where lockwatch itself is: what the user has to look at is elsewhere."""
_QUIET = logging.NullHandler()
"""What a command has to say, it says itself."""
_CORRECT = "a correct one is main:app, or main:create_app()"


OPTION = click.option(
    "--app",
    metavar="MODULE:ATTRIBUTE",
    shell_complete=remembered.applications,
    help="The application, like main:app or main:create_app().",
)
ARGUMENT = click.argument("place", metavar="[APP]", required=False, shell_complete=remembered.applications)
"""The same, where a command is about nothing else."""


class Place(NamedTuple):
    """Where an application is: ``module:attribute``, or ``module:factory()``."""

    module: str
    attribute: str
    called: bool

    @classmethod
    def of(cls, text: str) -> Place:
        """Raises: Unusable."""
        module, colon, attribute = text.partition(":")
        called = attribute.endswith("()")
        attribute = attribute.removesuffix("()")
        if not colon or not all(part.isidentifier() for part in (*module.split("."), *attribute.split("."))):
            raise Unusable(f"{text[:100]!r} is not module:attribute; {_meant(text)}")
        return cls(module, attribute, called)


class Found(NamedTuple):
    """An application a command is about.

    Attributes:
        name: as it was named.
        application: the object there.
        lockwatch: its `LockWatch`; None where it has none.
    """

    name: str
    application: Any
    lockwatch: Any

    def overview(self) -> Overview:
        """Its routes. Raises: ConfigurationError, where a route asks for what the settings do not have."""
        with getattr(self.application, "app_context", nullcontext)():  # of a Flask application
            overview: Overview = self.lockwatch.overview()
        remembered.keep(self.name, overview)
        return overview


def found_at(text: str | None) -> Found:
    """The application at ``module:attribute``, imported as if from the current directory; without a text, the one that Flask has
    found. Raises: Unusable.
    """
    logging.getLogger("lockwatch").addHandler(_QUIET)
    application = _given() if text is None else application_at(text)
    return Found(text or "", application, _lockwatch(application))


def overview_of(text: str | None) -> Overview:
    """The limits of an application that has a `LockWatch`. Raises: Unusable."""
    found = found_at(text)
    if found.lockwatch is None and (own := [name for name in layers(found.application) if name in MIDDLEWARES]):
        raise Unusable(f"{text or 'this'} has {own[0]}, which limits all requests alike and knows no routes; use LockWatch(app)")
    if found.lockwatch is None:
        raise Unusable(
            f"{text or 'this'} is a {type(found.application).__name__} without lockwatch; name an application that was given to "
            f"LockWatch(app), like {EXAMPLE}"
        )
    try:
        return found.overview()
    except ConfigurationError as error:
        raise Unusable(str(error)) from None


def application_at(text: str) -> Any:
    """The application at ``module:attribute``, imported as if from the current directory. Raises: Unusable."""
    place = Place.of(text)
    with redirect_stdout(sys.stderr):  # what the application prints is no part of an answer
        return _made(_attribute(_module(place.module), place), place)


def _given() -> Any:
    load = click.get_current_context().meta.get(GIVEN)
    if load is None:
        raise Unusable(f"--app is missing: name the application, like {EXAMPLE}")
    return load()


def _module(name: str) -> Any:
    sys.path.insert(0, os.getcwd())
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise Unusable(f"there is no module {name!r} in {os.getcwd()} or on the path; {_meant(name)}") from None
        raise _failure(f"importing {name}", error) from None
    except (Exception, SystemExit) as error:
        raise _failure(f"importing {name}", error) from None


def _attribute(module: Any, place: Place) -> Any:
    found = module
    for name in place.attribute.split("."):
        if not hasattr(found, name):
            near = get_close_matches(name, [n for n in dir(found) if not n.startswith("_")], n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; {_meant(place.module)}"
            raise Unusable(f"{place.module} has no {place.attribute!r}{hint}")
        found = getattr(found, name)
    return found


def _made(found: Any, place: Place) -> Any:
    """What is at a place, made when it is a factory."""
    if not place.called and not inspect.isroutine(found):
        return found
    if inspect.iscoroutinefunction(found):
        raise Unusable(
            f"{place.module}:{place.attribute} is async; name a plain function that returns the application, or the application"
        )
    return _guarded(found, place)


def _guarded(factory: Callable[[], Any], place: Place) -> Any:
    try:
        return factory()
    except (Exception, SystemExit) as error:
        raise _failure(f"calling {place.module}:{place.attribute}()", error) from None


def _lockwatch(application: Any) -> Any:
    """The `LockWatch` of an application of either framework, or the object itself when it is one."""
    if hasattr(application, "overview"):
        return application
    extensions = getattr(application, "extensions", None)
    if isinstance(extensions, dict):
        return extensions.get("lockwatch")
    return getattr(getattr(application, "state", None), "lockwatch", None)


def _meant(text: str) -> str:
    """What a correct name looks like; the very one that was meant, where a file of Python says so. It is read, not run."""
    module = text.partition(":")[0].removesuffix(".py").replace("/", ".").strip(".")
    file = Path(*module.split(".")) if module else Path("main")
    for path in (file.with_suffix(".py"), file / "__init__.py"):
        try:
            tree = ast.parse(path.read_bytes())
        except (OSError, SyntaxError, ValueError):
            continue
        if named := [name for statement in tree.body for name in _applications(statement)]:
            return f"did you mean {module or 'main'}:{named[0]}?"
    return _CORRECT


def _applications(statement: ast.stmt) -> Iterator[str]:
    """The names under which a statement of a module makes an application."""
    if isinstance(statement, ast.FunctionDef) and statement.name in ("create_app", "make_app"):
        yield f"{statement.name}()"
    value = getattr(statement, "value", None)
    if isinstance(statement, ast.Assign | ast.AnnAssign) and isinstance(value, ast.Call):
        made = getattr(value.func, "attr", getattr(value.func, "id", ""))
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        named = [target.id for target in targets if isinstance(target, ast.Name)]
        yield from [name for name in named if made in ("FastAPI", "Flask") or name in ("app", "application")]


def _failure(doing: str, error: BaseException) -> Unusable:
    """What went wrong in the user's own code, and where."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    theirs = [frame for frame in frames if not frame.filename.startswith(_OURS)] or frames
    where = f"{os.path.relpath(theirs[-1].filename)}, line {theirs[-1].lineno}" if theirs else ""
    said = f"{doing} failed{f' ({where})' if where else ''}: {type(error).__name__}: {error}"
    if isinstance(error, ModuleNotFoundError) and (line := installing(error.name or "")):
        said += f"; {line}"
    return Misconfigured(said, where or doing, str(error)) if isinstance(error, ConfigurationError) else Unusable(said)
