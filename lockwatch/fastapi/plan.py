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

from lockwatch.limits.declaration import UNMATCHED, Declaration

try:
    from fastapi.routing import iter_route_contexts
except ImportError:  # FastAPI before 0.137.2: the list of routes is flat

    def iter_route_contexts(routes: Iterable[BaseRoute]) -> Iterator[Any]:  # type: ignore[misc]
        """The routes themselves."""
        return iter(routes)


MARK = "__lockwatch_limits__"
EXEMPT = "__lockwatch_exempt__"
Overrides = Mapping[Any, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """A route as the walk found it.

    Attributes:
        holder: the object whose `app` attribute runs the route.
        template: its full path template.
        methods: what it answers to; empty means any.
        dependant: its dependency tree, None for plain ASGI routes.
        endpoint: its function.
        overrides: the application whose `dependency_overrides` count for it.
    """

    holder: Any
    template: str
    methods: frozenset[str]
    dependant: Any
    endpoint: Any
    overrides: Any


def walk(routes: Iterable[BaseRoute], prefix: str = "", owner: Any = None) -> Iterator[Seen]:
    """Every route reachable from `routes`, mounted applications included."""
    for context in iter_route_contexts(list(routes)):
        holder = getattr(context, "_effective_route", context)
        if isinstance(holder, (Mount, Host)):
            inner = prefix + (str(holder.path) if isinstance(holder, Mount) else "")
            if holder.routes:
                yield from walk(holder.routes, inner, holder.app if hasattr(holder.app, "dependency_overrides") else owner)
            else:
                yield Seen(holder, f"{inner}/{{path}}", frozenset(), None, None, owner)
        elif hasattr(holder, "app"):
            yield _seen(holder, prefix, owner)


def _seen(holder: Any, prefix: str, owner: Any) -> Seen:
    methods = frozenset(getattr(holder, "methods", None) or ())
    path = str(getattr(holder, "path_format", None) or getattr(holder, "path", ""))
    overrides = getattr(holder, "dependency_overrides_provider", None) or owner
    return Seen(holder, prefix + path, methods, getattr(holder, "dependant", None), getattr(holder, "endpoint", None), overrides)


def declared(dependant: Any, endpoint: Any, overrides: Overrides) -> tuple[Declaration, ...] | None:
    """What a route declares, outermost first; None when it is exempt from everything."""
    if getattr(endpoint, EXEMPT, False):
        return None
    found = list(_in_tree(dependant, overrides)) if dependant is not None else []
    return tuple(dict.fromkeys([*found, *getattr(endpoint, MARK, ())]))


def _in_tree(dependant: Any, overrides: Overrides) -> Iterator[Declaration]:
    for sub in dependant.dependencies:
        if overrides and sub.call in overrides:
            replacement = overrides[sub.call]
            yield from _in_tree(get_dependant(path=sub.path or "", call=replacement), {})
            if isinstance(replacement, Declaration):
                yield replacement
            continue
        yield from _in_tree(sub, overrides)
        if isinstance(sub.call, Declaration):
            yield sub.call


def template_in(scope: Scope) -> str:
    """The template of the route in a scope after routing; ``<unmatched>`` when there is none."""
    context = _context_in(scope)
    path = getattr(context, "path_format", None) or getattr(context, "path", None)
    if path is None:
        return UNMATCHED
    # Inside a mount, root_path has grown by the path of the mount; app_root_path keeps the server's own.
    outer, root = scope.get("app_root_path", ""), scope.get("root_path", "")
    prefix: str = root.removeprefix(outer)
    return prefix + str(path)


def seen_in(scope: Scope) -> Seen | None:
    """The route in a scope after routing, as the walk would have found it; None when there is none."""
    context = _context_in(scope)
    if context is None:
        return None
    endpoint = getattr(context, "endpoint", None)
    dependant = getattr(context, "dependant", None)
    return Seen(context, template_in(scope), frozenset(), dependant, endpoint, scope.get("app"))


def _context_in(scope: Scope) -> Any:
    context = (scope.get("fastapi") or {}).get("effective_route_context")
    # For an included Starlette route or WebSocket the context only points at what runs.
    return getattr(context, "starlette_route", None) or context or scope.get("route")
