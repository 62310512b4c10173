"""`--app module:attribute`: the application a command is about."""

from __future__ import annotations

import inspect
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from difflib import get_close_matches
from importlib import import_module
from typing import Any, NamedTuple

import click

from lockwatch.commands.trouble import Unusable
from lockwatch.overview import Overview

EXAMPLE = "--app main:app"
GIVEN = "lockwatch.application"
"""Where a context of click has a function that returns the application, if it has one."""


OPTION = click.option("--app", metavar="MODULE:ATTRIBUTE", help="The application, like main:app or main:create_app().")


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
            raise Unusable(f"--app {text!r} is not module:attribute; a correct one is {EXAMPLE}, or main:create_app()")
        return cls(module, attribute, called)


def overview_of(text: str | None) -> Overview:
    """The limits of the application at ``module:attribute``, imported as if from the current directory; without a text, of the one
    that Flask has found. Raises: Unusable.
    """
    application = _given() if text is None else application_at(text)
    lockwatch = _lockwatch(application)
    if lockwatch is None:
        raise Unusable(
            f"{text or 'this'} is a {type(application).__name__} without lockwatch; name an application that was given to "
            f"LockWatch(app), like {EXAMPLE}"
        )
    context = getattr(application, "app_context", nullcontext)  # of a Flask application
    with context():
        overview: Overview = lockwatch.overview()
    return overview


def application_at(text: str) -> Any:
    """The application at ``module:attribute``, imported as if from the current directory. Raises: Unusable."""
    place = Place.of(text)
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
            raise Unusable(f"there is no module {name!r} in {os.getcwd()} or on the path; a correct one is {EXAMPLE}") from None
        raise Unusable(_failure(f"importing {name}", error)) from None
    except (Exception, SystemExit) as error:
        raise Unusable(_failure(f"importing {name}", error)) from None


def _attribute(module: Any, place: Place) -> Any:
    found = module
    for name in place.attribute.split("."):
        if not hasattr(found, name):
            near = get_close_matches(name, [n for n in dir(found) if not n.startswith("_")], n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
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
        raise Unusable(_failure(f"calling {place.module}:{place.attribute}()", error)) from None


def _lockwatch(application: Any) -> Any:
    """The `LockWatch` of an application of either framework, or the object itself when it is one."""
    if hasattr(application, "overview"):
        return application
    extensions = getattr(application, "extensions", None)
    if isinstance(extensions, dict):
        return extensions.get("lockwatch")
    return getattr(getattr(application, "state", None), "lockwatch", None)


def _failure(doing: str, error: BaseException) -> str:
    """What went wrong in the user's own code, and where."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    where = f" ({os.path.relpath(frames[-1].filename)}, line {frames[-1].lineno})" if frames else ""
    return f"{doing} failed{where}: {type(error).__name__}: {error}"
