"""From routes to declarations. Pure: reads dependants, changes nothing.

FastAPI since 0.137 keeps included routers as a tree: the effective context of a route knows the prefixes and the dependencies of
the application and its routers, the route itself does not. Routes are walked through `iter_route_contexts` only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi.dependencies.utils import get_dependant
from starlette.routing import BaseRoute, Host, Mount
from starlette.types import Scope

from lockwatch.fastapi.spare import branches, scopes_of
from lockwatch.limits.declaration import Declaration
from lockwatch.tokens.requirement import Access, Requirement

try:
    from fastapi.routing import iter_route_contexts
except ImportError:  # FastAPI before 0.137.2: the list of routes is flat

    def iter_route_contexts(routes: Iterable[BaseRoute]) -> Iterator[Any]:  # type: ignore[misc]
        """The routes themselves."""
        return iter(routes)


MARK = "__lockwatch_limits__"
EXEMPT = "__lockwatch_exempt__"
BELOW = "/{path}"
"""What the template of a mount ends in that is one route."""
Overrides = Mapping[Any, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """A route as the walk found it.

    Attributes:
        holder: the object whose `app` attribute runs the route.
        prefix: the templates of the mounts it was reached through.
        path: its path template below them.
        methods: what it answers to; empty means any.
        dependant: its dependency tree, None for plain ASGI routes.
        endpoint: its function.
        overrides: the application whose `dependency_overrides` count for it.
        passage: it leads on to other routes and is none itself.
    """

    holder: Any
    prefix: str
    path: str
    methods: frozenset[str] = frozenset()
    dependant: Any = None
    endpoint: Any = None
    overrides: Any = None
    passage: bool = False


def walk(routes: Iterable[BaseRoute], prefix: str = "", owner: Any = None) -> Iterator[Seen]:
    """Every route reachable from `routes`, and the mounts on the way to them."""
    for context in iter_route_contexts(list(routes)):
        holder = getattr(context, "_effective_route", context)
        if isinstance(holder, (Mount, Host)):
            yield from _walk_mount(holder, prefix, owner)
        elif hasattr(holder, "app"):
            yield _seen(holder, prefix, owner)


def _walk_mount(mount: Any, prefix: str, owner: Any) -> Iterator[Seen]:
    path = str(getattr(mount, "path", None) or getattr(mount, "host", ""))
    inside = innermost(mount.app)
    routes = routes_of(inside)
    if routes is None:
        yield Seen(mount, prefix, f"{path}{BELOW}", overrides=owner)
        return
    yield Seen(mount, prefix, path, passage=True)
    yield from walk(routes, prefix + path, inside if hasattr(inside, "dependency_overrides") else owner)


def innermost(app: Any) -> Any:
    """The application with routes inside middlewares, else what is inside them all."""
    while not hasattr(app, "routes") and hasattr(app, "app"):
        app = app.app
    return app


def routes_of(app: Any) -> list[BaseRoute] | None:
    """The routes of an application that can be walked into.

    None where there are none, or of another framework, or where the application has a LockWatch of its own.
    """
    routes = getattr(app, "routes", None)
    if not isinstance(routes, list) or not all(isinstance(route, BaseRoute) for route in routes):
        return None
    return None if getattr(getattr(app, "state", None), "lockwatch", None) is not None else routes


def tables(routes: list[BaseRoute]) -> Iterator[list[BaseRoute]]:
    """The lists that `walk` finds its routes in: one of them grows when a route is added, however deep."""
    yield routes
    for route in routes:
        if isinstance(route, (Mount, Host)):
            inner = routes_of(innermost(route.app))
        else:
            inner = getattr(getattr(route, "original_router", None), "routes", None)
        if inner is not None:
            yield from tables(inner)


def _seen(holder: Any, prefix: str, owner: Any) -> Seen:
    return Seen(
        holder,
        prefix,
        _path_of(holder),
        frozenset(getattr(holder, "methods", None) or ()),
        getattr(holder, "dependant", None),
        getattr(holder, "endpoint", None),
        getattr(holder, "dependency_overrides_provider", None) or owner,
    )


def _path_of(route: Any) -> str:
    return str(getattr(route, "path_format", None) or getattr(route, "path", ""))


def declared(dependant: Any, endpoint: Any, overrides: Overrides) -> tuple[Declaration, ...] | None:
    """What a route declares, outermost first; None when it is exempt from everything."""
    if getattr(endpoint, EXEMPT, False):
        return None
    found = [sub.call for sub in _in_tree(dependant, overrides, Declaration)] if dependant is not None else []
    return tuple(dict.fromkeys([*found, *getattr(endpoint, MARK, ())]))


def required(dependant: Any, overrides: Overrides) -> tuple[Access, ...]:
    """The tokens a route requires, outermost first, each with the scopes that `Security` adds."""
    found = [] if dependant is None else _in_tree(dependant, overrides, Requirement)
    return tuple(dict.fromkeys([Access(sub.call, sub.call.demanded(scopes_of(sub))) for sub in found]))


def _in_tree(dependant: Any, overrides: Overrides, kind: type) -> Iterator[Any]:
    """The dependencies of a route that are of a kind, as FastAPI would solve them."""
    for sub in branches(dependant):
        if overrides and sub.call in overrides:
            replacement = get_dependant(path=sub.path or "", call=overrides[sub.call])
            yield from _in_tree(replacement, {}, kind)
            if isinstance(replacement.call, kind):
                yield replacement
            continue
        yield from _in_tree(sub, overrides, kind)
        if isinstance(sub.call, kind):
            yield sub


def seen_in(scope: Scope, prefix: str) -> Seen | None:
    """The route in a scope after routing, as the walk would have found it; None when there is none."""
    context = (scope.get("fastapi") or {}).get("effective_route_context")
    # For an included Starlette route or WebSocket the context only points at what runs.
    holder = getattr(context, "starlette_route", None) or context
    if holder is None or isinstance(holder, (Mount, Host)):
        holder = scope.get("route")
    return None if holder is None else _seen(holder, prefix, scope.get("app"))
