"""The routes of an application as operators see them: what each declares, and where that stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from flask import Blueprint, Flask

from lockwatch.limits.declaration import Declaration
from lockwatch.limits.plan import UNMATCHED
from lockwatch.limits.survey import Route
from lockwatch_flask import marks
from lockwatch_flask.guard import Guard, template_of

_ANY: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""The methods looked at where no route matches."""
_SETTINGS: Final = {"meta": "meta_limits", "auth-failures": "auth_failures"}


def routes_of(app: Flask) -> Iterator[Route]:
    """Every method of every route, and what applies where none matches."""
    guard = Guard(app.extensions["lockwatch"].engine_of(app), app)
    general = _general(guard)
    for rule in app.url_map.iter_rules():
        view, blueprints = app.view_functions.get(rule.endpoint), blueprints_of(rule.endpoint)
        automatic = {"HEAD", *(("OPTIONS",) if getattr(rule, "provide_automatic_options", False) else ())}
        for method in sorted((rule.methods or set()) - automatic):
            exempt = guard.is_exempt_path(rule.rule)
            plan = guard.plan(view, blueprints, method, template_of(rule), exempt)
            stack = () if view is None else marks.holders(app, blueprints, view, method)
            yield Route(method, template_of(rule), plan, general | _origins(stack), view)
    if guard.general:
        for method in _ANY:
            yield Route(method, UNMATCHED, guard.plan(None, (), method, UNMATCHED, False), general)


def blueprints_of(endpoint: str) -> list[str]:
    """The full names of the blueprints of an endpoint, the innermost first, as `request.blueprints` has them."""
    found, name = [], endpoint
    while "." in name:
        name = name.rpartition(".")[0]
        found.append(name)
    return found


def _general(guard: Guard) -> dict[Declaration, str]:
    application = {d: _SETTINGS.get(d.shared or "", "application_limits") for d in guard.engine.application}
    return application | dict.fromkeys(guard.engine.defaults, "default_limits")


def _origins(stack: Iterator[Any] | Sequence[Any]) -> dict[Declaration, str]:
    """Where each declaration stands; the outermost that has it is right."""
    found: dict[Declaration, str] = {}
    for holder in stack:
        for declaration in getattr(holder, marks.LIMITS, ()):
            where = f"blueprint {holder.name}" if isinstance(holder, Blueprint) else f"decorator of {holder.__qualname__}"
            found.setdefault(declaration, where)
    return found
