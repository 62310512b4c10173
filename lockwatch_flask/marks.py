"""What routes declare: read from views, classes of views, their methods, and blueprints. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from lockwatch.limits.declaration import Declaration
from lockwatch.tokens.requirement import Access, Requirement

LIMITS: Final = "__lockwatch_limits__"
EXEMPT: Final = "__lockwatch_exempt__"
ACCESS: Final = "__lockwatch_access__"


def holders(app: Any, blueprints: Sequence[str], view: Callable[..., Any], method: str) -> Iterator[Any]:
    """Everything a route may declare something on, outermost first.

    Args:
        blueprints: their full names, the innermost first, as Flask has them.
        method: of the request.
    """
    for name in reversed(blueprints):
        yield app.blueprints[name]
    found = getattr(view, "view_class", None)
    if found is not None:
        yield found
    yield view
    if found is not None:
        handler = getattr(found, method.lower(), None) or (getattr(found, "get", None) if method == "HEAD" else None)
        yield handler or getattr(found, "dispatch_request", None)


def declared(stack: Sequence[Any]) -> tuple[Declaration, ...] | None:
    """The limits on a stack of holders, outermost first; None when the innermost exemption leaves none.

    An exemption lifts what stands on it and outside of it; what is declared further in still counts.
    """
    found: list[Declaration] = []
    exempt = False
    for holder in stack:
        if getattr(holder, EXEMPT, False):
            exempt, found = True, []
            continue
        found += getattr(holder, LIMITS, ())
    if exempt and not found:
        return None
    return tuple(dict.fromkeys(found))


def lifts_outer(stack: Sequence[Any]) -> bool:
    """Whether an exemption lifts what stands before every route."""
    return any(getattr(holder, EXEMPT, False) for holder in stack)


def required(stack: Sequence[Any]) -> tuple[Access, ...]:
    """The tokens that a stack of holders requires, outermost first."""
    found: list[Requirement] = [r for holder in stack for r in getattr(holder, ACCESS, ())]
    return tuple([Access(r, r.demands) for r in dict.fromkeys(found)])
