"""The routes of an application as operators see them: what each declares, and where that stands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from starlette.routing import Host, Mount, WebSocketRoute

from lockwatch.fastapi.guard import Guard
from lockwatch.fastapi.plan import BELOW, MARK, Seen, innermost, walk
from lockwatch.fastapi.spare import branches
from lockwatch.limits.declaration import Declaration
from lockwatch.limits.plan import UNMATCHED
from lockwatch.limits.survey import Route

_ANY: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""The methods looked at where a route answers to all."""
_SETTINGS: Final = {"meta": "meta_limits", "auth-failures": "auth_failures"}


def routes_of(guard: Guard) -> Iterator[Route]:
    """Every method of every route, and what applies where none matches."""
    for seen in walk(guard.app.router.routes, owner=guard.app):
        if not seen.passage:
            origins, overrides = _origins(guard, seen), getattr(seen.overrides, "dependency_overrides", {})
            for method in methods_of(seen):
                plan = guard.plan(seen, _scope(method, seen.path), seen.prefix, overrides)
                yield Route(method, seen.prefix + seen.path, plan, origins, seen.endpoint)
    if guard.general:
        for method in _ANY:
            yield Route(method, UNMATCHED, guard.plan(None, _scope(method, "/"), "", {}), _general(guard))


def mounted(guard: Guard) -> Iterator[tuple[str, Any]]:
    """The `LockWatch` of each application inside that has its own, with the template of its mount."""
    for seen in walk(guard.app.router.routes, owner=guard.app):
        if isinstance(seen.holder, Mount | Host) and not seen.passage:
            own = getattr(getattr(innermost(seen.holder.app), "state", None), "lockwatch", None)
            if own is not None:
                yield seen.prefix + seen.path.removesuffix(BELOW), own


def methods_of(seen: Seen) -> tuple[str, ...]:
    """The methods under which a route's buckets are named."""
    if isinstance(getattr(seen.holder, "starlette_route", None) or seen.holder, WebSocketRoute):
        return ("WEBSOCKET",)
    return tuple(sorted(method for method in seen.methods if method != "HEAD")) or _ANY


def _scope(method: str, path: str) -> dict[str, Any]:
    return {"type": "websocket" if method == "WEBSOCKET" else "http", "method": method, "path": path}


def _general(guard: Guard) -> dict[Declaration, str]:
    application = {d: _SETTINGS.get(d.shared or "", "application_limits") for d in guard.engine.application}
    return application | dict.fromkeys(guard.engine.defaults, "default_limits")


def _origins(guard: Guard, seen: Seen) -> dict[Declaration, str]:
    """Where each declaration of a route stands; the first that says so is right."""
    found = _general(guard)
    of_application = _listed(guard.app.router)
    original = getattr(seen.holder, "original_route", None)
    of_route = _listed(original or seen.holder)
    of_routers = _listed(seen.holder)
    for declaration in getattr(seen.endpoint, MARK, ()):
        found.setdefault(declaration, f"decorator of {seen.endpoint.__qualname__}")
    for declaration, trail in _in_tree(seen.dependant, ()):
        if trail:
            found.setdefault(declaration, f"dependency of {' > '.join(trail)}")
        elif declaration in of_application:
            found.setdefault(declaration, "dependencies of the application")
        elif declaration in of_route:
            found.setdefault(declaration, "dependencies of the route or its router")
        elif declaration in of_routers:
            found.setdefault(declaration, "dependencies of an including router")
        else:
            found.setdefault(declaration, f"parameter of {getattr(seen.endpoint, '__qualname__', 'the endpoint')}")
    return found


def _listed(holder: Any) -> set[Any]:
    """What stands in a list of `dependencies`."""
    return {depends.dependency for depends in getattr(holder, "dependencies", None) or ()}


def _in_tree(dependant: Any, trail: tuple[str, ...]) -> Iterator[tuple[Declaration, tuple[str, ...]]]:
    for sub in branches(dependant) if dependant is not None else ():
        if isinstance(sub.call, Declaration):
            yield sub.call, trail
        else:
            yield from _in_tree(sub, (*trail, getattr(sub.call, "__qualname__", type(sub.call).__name__)))
