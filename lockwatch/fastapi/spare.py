"""What FastAPI is spared of a route because its gate has done it: limits, and tokens, whose claims the gate has in hand.

FastAPI solves each dependency anew for every request, which takes longer than what ours then do. What it runs a route with is one
`Dependant`; what a route shows (to OpenAPI, to whoever else reads it) is another, which is whole.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from copy import copy
from functools import wraps
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Final

from fastapi.security import SecurityScopes
from starlette.requests import HTTPConnection

from lockwatch.fastapi.refusal import ensure_handled
from lockwatch.limits.declaration import Declaration
from lockwatch.tokens.requirement import Requirement

if TYPE_CHECKING:
    from lockwatch.fastapi.plan import Seen

_CONNECTION: Final = "lockwatch-connection"
"""What an endpoint's own parameters are never called."""


class Spared(list[Any]):
    """The dependencies of a route without those its gate decides; `whole` has them too."""

    def __init__(self, kept: Iterable[Any], whole: list[Any]) -> None:
        super().__init__(kept)
        self.whole = whole


class Shown(list[Any]):
    """All dependencies of a route, where it is shown and not run."""


def spare(seen: Seen) -> None:
    """Spare FastAPI the solving of limits that a gate decides and that give the endpoint nothing, and of tokens."""
    dependant = seen.dependant
    whole = getattr(dependant, "dependencies", [])
    if isinstance(whole, Spared | Shown):
        return
    tokens = [sub for sub in whole if _is_token(sub)]
    handed = tokens if tokens and _hands(seen.holder, dependant) else []
    kept = [sub for sub in whole if not _is_spare(sub) and all(sub is not one for one in handed)]
    if handed:
        seen.holder.dependant = shown = copy(dependant)
        shown.dependencies = Shown(whole)
        _hand(dependant, handed, seen.overrides)
    if len(kept) < len(whole):  # last: who sees a short list has everything else, too
        dependant.dependencies = Spared(kept, whole)


def restore(dependant: Any) -> None:
    """Have FastAPI solve them again: it may be that no gate decides."""
    if isinstance(getattr(dependant, "dependencies", None), Spared):
        dependant.dependencies = dependant.dependencies.whole


def branches(dependant: Any) -> list[Any]:
    """Everything a route or a dependency depends on, what FastAPI is spared included."""
    found: list[Any] = getattr(dependant.dependencies, "whole", dependant.dependencies)
    return found


def scopes_of(sub: Any) -> list[str]:
    """What `Security(..., scopes=[...])` says, there and above; FastAPI has called it differently over time."""
    names = ("parent_oauth_scopes", "own_oauth_scopes", "security_scopes")
    return [scope for name in names for scope in getattr(sub, name, None) or ()]


def _is_spare(sub: Any) -> bool:
    return isinstance(sub.call, Declaration) and not sub.call.late and sub.name is None and _is_ours(sub)


def _is_token(sub: Any) -> bool:
    return isinstance(sub.call, Requirement) and _is_ours(sub)


def _is_ours(sub: Any) -> bool:
    """Whether a dependency does what we know, and no more: a class of the application's may do something else."""
    return type(sub.call).__call__.__module__.startswith("lockwatch.") and getattr(sub, "concurrency", None) is None


def _hands(holder: Any, dependant: Any) -> bool:
    """Whether claims can be handed to an endpoint. One that is not async runs in a thread; beside that this would hardly show."""
    return iscoroutinefunction(dependant.call) and getattr(holder, "dependant", None) is dependant


def _hand(dependant: Any, handed: Sequence[Any], overrides: Any) -> None:
    """Give the endpoint of `dependant` the claims itself. It stays so: a request that is being solved now may see either list."""
    own = dependant.http_connection_param_name
    dependant.call = _handing(dependant.call, own, handed, overrides)
    dependant.http_connection_param_name = own or _CONNECTION


def _handing(
    call: Callable[..., Awaitable[Any]], own: str | None, handed: Sequence[Any], overrides: Any
) -> Callable[..., Awaitable[Any]]:
    """An endpoint that takes its claims from the visit. FastAPI has given those it has solved; whoever no gate has asked (in mode
    ``off``, or where the gate was passed by) is asked now.
    """
    asked = tuple([(sub.name, sub.call, sub) for sub in handed])

    @wraps(call)
    def handing(**values: Any) -> Awaitable[Any]:
        connection = values.pop(_CONNECTION, None) if own is None else values[own]
        if connection is None:  # begun when there was no gate yet
            return call(**values)
        visit = connection.scope.get("lockwatch")
        believed = {} if visit is None else visit.believed
        for name, requirement, _ in asked:
            if requirement in believed:
                if name is not None and name not in values:
                    values[name] = believed[requirement]
            elif name not in values and requirement not in getattr(overrides, "dependency_overrides", ()):
                return _asking(call, values, connection, handed)
        if visit is not None and connection.scope.get("app") is not visit.guard.app:
            ensure_handled(connection.scope)
        return call(**values)

    return handing


async def _asking(
    call: Callable[..., Awaitable[Any]], values: dict[str, Any], connection: HTTPConnection, handed: Sequence[Any]
) -> Any:
    """Run an endpoint that is reached around its gate. Raises: TokenError, ConfigurationError."""
    for sub in handed:
        claims = await sub.call(connection, SecurityScopes(scopes_of(sub)))
        if sub.name is not None:
            values.setdefault(sub.name, claims)
    return await call(**values)
