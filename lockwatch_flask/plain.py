"""Components of an application as Flask uses them: what is a coroutine elsewhere is a plain function here."""

from __future__ import annotations

from typing import Any, TypeVar, cast

T = TypeVar("T")


class _Plain:
    """A component whose methods wait: `record` is its `record_sync`. For everything else it is the component itself."""

    __slots__ = ("_component",)

    def __init__(self, component: object) -> None:
        self._component = component

    def __getattr__(self, name: str) -> Any:
        waiting = getattr(self._component, f"{name}_sync", None)
        return getattr(self._component, name) if waiting is None else waiting

    def __repr__(self) -> str:
        return repr(self._component)

    @property  # type: ignore[misc]  # isinstance asks it, and nobody writes to it
    def __class__(self) -> Any:
        return type(self._component)


def plain(component: T) -> T:
    """`component`, to be called without ``await``: a coroutine that nobody awaits would revoke no token and record nothing."""
    return cast("T", _Plain(component))
