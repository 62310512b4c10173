"""A request that no `LockWatch` has seen, as key functions take it: for the standalone classes.

Reads what both frameworks agree on, the ASGI scope or the WSGI environment, and imports neither.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lockwatch.client import Client, Clients, Headers
from lockwatch.keys import Visit, visit_of


class Passerby:
    """What can be said of such a request.

    Args:
        request: a Starlette or FastAPI request or WebSocket, or a Flask or Werkzeug request.
        clients: resolves its address.
        warn: told once when forwarded headers come from a peer that is not trusted.

    Raises: TypeError, for something that is no request.
    """

    __slots__ = ("_clients", "_headers", "_peer", "_user", "_warn", "request")

    def __init__(self, request: Any, clients: Clients, warn: Callable[[str], None]) -> None:
        self.request = request
        self._clients = clients
        self._warn = warn
        self._peer: str | None
        self._headers: Headers
        if isinstance(scope := getattr(request, "scope", None), dict):
            self._peer, self._headers = (scope.get("client") or (None, None))[0], scope["headers"]
            self._user = (scope.get("state") or {}).get("user_id")
        elif isinstance(environ := getattr(request, "environ", None), dict):
            self._peer, self._headers = environ.get("REMOTE_ADDR"), _headers_in(environ)
            self._user = _user_in_flask(request)
        else:
            raise TypeError(f"a request of Starlette, FastAPI or Flask was expected, not {type(request).__name__}")

    @property
    def lockwatch(self) -> Passerby:
        """Itself: key functions take this as well as a request."""
        return self

    @property
    def client(self) -> Client:
        """Who sent it."""
        client = self._clients.resolve(self._peer, self._headers)
        if client.warning is not None:
            self._warn(client.warning)
        return client

    @property
    def user(self) -> str | None:
        """Whom the application says it is: `request.state.user_id`, `g.user_id`."""
        return str(self._user) if self._user else None

    @property
    def claims(self) -> None:
        """None: a token is verified by a `LockWatch`, and it has not seen this request."""

    def header(self, name: bytes) -> str | None:
        """The first header of that lower-case name."""
        return next((value.decode("latin-1") for key, value in self._headers if key == name), None)


def visit_to(request: Any, clients: Clients, warn: Callable[[str], None]) -> Visit:
    """The visit of `request`: what a `LockWatch` noted, else what can be said without one. Raises: TypeError."""
    try:
        return visit_of(request)
    except LookupError:
        return Passerby(request, clients, warn)


def _headers_in(environ: dict[str, Any]) -> Headers:
    return [
        (name[5:].replace("_", "-").lower().encode("latin-1"), str(value).encode("latin-1"))
        for name, value in environ.items()
        if name.startswith("HTTP_")
    ]


def _user_in_flask(request: Any) -> Any:
    """`g.user_id`, where the request is the one Flask is working on."""
    import sys

    flask = sys.modules.get("flask")
    return flask.g.get("user_id") if flask is not None and flask.has_app_context() else None
