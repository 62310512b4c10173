"""Key functions: whom a request is counted against.

A key function takes the request and returns the subject as text; ``None`` or ``""`` means the client address. What the ones here
return begins with its kind (``ip:``, ``user:``, ``key:``), so that a user named like an address cannot fill that address's bucket.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias

from lockwatch.client import Client

Key: TypeAlias = "Callable[[Any], str | int | Awaitable[str | int | None] | None]"


class Visit(Protocol):
    """What lockwatch knows of a request, whatever the framework: `request.state.lockwatch`, `g.lockwatch`."""

    @property
    def client(self) -> Client:
        """Who sent it."""

    @property
    def user(self) -> str | None:
        """Whom the application says it is."""

    @property
    def request(self) -> Any:
        """The request as functions of the application take it."""

    def header(self, name: bytes) -> str | None:
        """The first header of that lower-case name."""


def by_ip(request: Any) -> str:
    """Count by client address (an IPv6 client by its /64)."""
    return visit_of(request).client.subject


def by_user(request: Any) -> str:
    """Count by user: what `LockWatch(user=...)` says, else `request.state.user_id`; anonymous requests by address."""
    visit = visit_of(request)
    user = visit.user
    return f"user:{user}" if user else visit.client.subject


def by_api_key(request: Any) -> str:
    """Count by `X-API-Key`, else by bearer value; requests without either by address.

    An unverified key is whatever the caller makes up: use it beside a limit by address.
    """
    visit = visit_of(request)
    value = visit.header(b"x-api-key") or _bearer(visit.header(b"authorization"))
    return f"key:{value}" if value else visit.client.subject


def is_prefixed(key: object) -> bool:
    """Whether a key function's results carry their kind already."""
    return key is by_ip or key is by_user or key is by_api_key


def subject_of(key: Key, value: str | int | None, client: Client) -> str:
    """The subject that a key function's `value` stands for. Raises: TypeError for a value that is not text or a number."""
    if value is None or value == "":
        return client.subject
    if not isinstance(value, (str, int)):
        raise TypeError(
            f"a key function returns a str, an int or None, not {type(value).__name__} ({getattr(key, '__qualname__', key)})"
        )
    return str(value) if is_prefixed(key) else f"custom:{value}"


def visit_of(request: Any) -> Visit:
    """The visit of a request of either framework. Raises: LookupError when lockwatch has not seen the request."""
    scope = getattr(request, "scope", None)
    visit: Visit | None = scope.get("lockwatch") if isinstance(scope, dict) else getattr(request, "lockwatch", None)
    if visit is None:
        raise LookupError("this request did not pass lockwatch: call the key function from a limit, or install LockWatch(app)")
    return visit


def _bearer(authorization: str | None) -> str | None:
    scheme, _, value = (authorization or "").partition(" ")
    return value.strip() or None if scheme.lower() == "bearer" else None
