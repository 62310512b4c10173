"""Routes that nothing protects, limits that nothing enforces, and middlewares that count twice."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from inspect import CO_VARARGS, CO_VARKEYWORDS
from typing import Any, Final

from lockwatch.diagnosis.coverage import Coverage, coverage, unprotected
from lockwatch.diagnosis.finding import Area, Finding, counted
from lockwatch.diagnosis.patient import Patient
from lockwatch.diagnosis.serving import MIDDLEWARES, layers
from lockwatch.limits.declaration import Declaration
from lockwatch.limits.survey import Route
from lockwatch.overview import Overview

MARK: Final = "__lockwatch_limits__"
_LOGIN: Final = re.compile(r"log-?in|sign-?in|password|otp|2fa|mfa|token|verify", re.IGNORECASE)
_NAMED: Final = 5
_DEEPEST: Final = 8
_WRAP: Final = "put @functools.wraps(function) on what the decorator returns"
_ANYTHING: Final = CO_VARARGS | CO_VARKEYWORDS
"""How the code of most wrappers shows itself: it takes whatever there is."""


def routes(patient: Patient) -> Area:
    """What the routes of an application declare, and what of it counts."""
    overview = patient.overview
    if overview is None:
        return Area("routes", "")
    listed = list(coverage(overview))
    bare = unprotected(listed, ())
    found = [*_bare(bare), *_open(listed), *_believing(listed), *_lost(_every(overview), patient.lockwatch), *twice(patient)]
    return Area("routes", f"{counted(len({one.name for one in listed}), 'route')}, {len(bare)} unprotected", tuple(found))


def twice(patient: Patient) -> Iterator[Finding]:
    """What counts every request, more than once."""
    ours = [name for name in layers(patient.application) if name in MIDDLEWARES]
    if len(ours) > 1:
        what = f"{ours[0]} is there {len(ours)} times: each counts every request"
        yield Finding("routes.twice", what, patient.name, f"keep one add_middleware({ours[0]}, ...)")
    elif ours and patient.overview is not None and patient.overview.engine.application:
        what = f"{ours[0]} and application_limits of LockWatch(app) both count every request"
        yield Finding("routes.twice", what, patient.name, f"remove {ours[0]}, and keep LockWatch(app, application_limits=...)")


def _every(overview: Overview) -> Iterator[Route]:
    """The routes of an application, and of those inside that have a `LockWatch` of their own."""
    yield from overview.routes
    for _, inner in overview.inner:
        yield from _every(inner)


def _bare(bare: Sequence[Coverage]) -> Iterator[Finding]:
    if bare:
        what = f"{counted(len(bare), 'route')} {'has' if len(bare) == 1 else 'have'} neither a limit nor a token"
        more = f" and {len(bare) - _NAMED} more" if len(bare) > _NAMED else ""
        where = ", ".join([one.name for one in bare[:_NAMED]]) + more
        yield Finding("routes.unprotected", what, where, 'LockWatch(app, default_limits="100/minute")')


def _open(listed: Iterable[Coverage]) -> Iterator[Finding]:
    """Log-ins that anybody may try as often as he likes while the store is down."""
    for one in listed:
        guards = [limit for limit in one.limits if limit.refuses]
        login = any(limit.counts == "failures" for limit in guards) or (_LOGIN.search(one.path) and one.method == "POST")
        if guards and login and all(limit.on_store_error == "allow" for limit in guards):
            what = "while the store is down, every limit of it lets everybody in: passwords can be guessed"
            yield Finding("failure.open", what, one.name, 'on_store_error="local"')


def _believing(listed: Iterable[Coverage]) -> Iterator[Finding]:
    for one in listed:
        if any(token.on_store_error == "allow" for token in one.tokens):
            what = "while the store is down, tokens are believed that were revoked"
            yield Finding("failure.revoked", what, one.name, 'on_store_error="deny"')


def _lost(listed: Iterable[Route], lockwatch: Any) -> Iterator[Finding]:
    """Marks of functions that are behind no route: those a decorator hides, and those that stand on something else."""
    views = list({id(route.endpoint): route.endpoint for route in listed if route.endpoint is not None}.values())
    met = {declaration for view in views for declaration in getattr(view, MARK, ())}
    hidden = {id(inner): inner for view in views for inner in _inside(view)}
    late = not hasattr(lockwatch, "guards")  # in Flask, a decorator enforces what it declares when its function runs
    marked = {**hidden, **({} if late else {id(f): f for f in getattr(lockwatch, "marked", ())})}
    for function in marked.values():
        missing = [declaration for declaration in getattr(function, MARK, ()) if declaration not in met]
        met.update(missing)  # a decorator of Flask's edge has the marks of what it wraps
        if missing:
            yield _hidden(function, missing[0], late, id(function) in hidden)


def _hidden(function: Any, declaration: Declaration, late: bool, wrapped: bool) -> Finding:
    code = getattr(function, "__code__", None)
    where = f"{function.__qualname__}" + (f" ({code.co_filename}, line {code.co_firstlineno})" if code is not None else "")
    why = "stands below a decorator without functools.wraps" if wrapped else "stands on a function that is behind no route"
    if late:
        what = f"{declaration!r} {why}: it is decided when the function runs, after the body was read"
        return Finding("routes.late", what, where, _WRAP)
    change = _WRAP if wrapped else "put @lockwatch.limit right below @app.get"
    return Finding("routes.lost", f"{declaration!r} {why}: nothing enforces it", where, change)


def _inside(function: Any, depth: int = 0) -> Iterator[Any]:
    """The functions that a function passes its arguments on to, as far as they can be seen in its closure."""
    code = getattr(function, "__code__", None)
    if code is None or code.co_flags & _ANYTHING != _ANYTHING or depth > _DEEPEST:
        return
    for cell in function.__closure__ or ():
        try:
            inner = cell.cell_contents
        except ValueError:  # not bound yet
            continue
        if callable(inner) and hasattr(inner, "__code__"):
            yield inner
            yield from _inside(inner, depth + 1)
