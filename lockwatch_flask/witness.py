"""Sees how a request ends, whatever ends it, and posts that as an event. There is one only where somebody wants events."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, monotonic_ns, time_ns
from typing import Any, Final

from lockwatch.capture import DECIDED, Exchange
from lockwatch.client import Client, Headers
from lockwatch.errors import RateLimited
from lockwatch.event import HTTP
from lockwatch.limits.plan import UNMATCHED
from lockwatch.shortcut import Turned
from lockwatch.stream import Stream
from lockwatch_flask.blocking import Blocking
from lockwatch_flask.visit import Visit

_GONE: Final = (ConnectionError, BrokenPipeError)


class Witness:
    """What one request received and sent.

    Args:
        stream: where the event goes.
        visit: of the request.
        environ: of the request.

    Attributes:
        sent: bytes of the body; None when a server sends a file by itself.
        complete: whether the whole answer was handed to the server.
        error: what ended it.
    """

    __slots__ = ("_began", "_environ", "_status", "_stream", "_tenant", "_user", "_visit", "complete", "error", "sent")

    def __init__(self, stream: Stream, visit: Visit, environ: dict[str, Any]) -> None:
        self._stream, self._visit, self._environ = stream, visit, environ
        self._began = monotonic_ns()
        self._status: int | None = None
        self._user: str | None = None
        self._tenant: str | None = None
        self.sent: int | None = 0
        self.complete = environ["REQUEST_METHOD"] == "HEAD"
        self.error: BaseException | None = None

    def started(self, status: int) -> None:
        """The answer starts; the application still knows whose request it is."""
        self._status = status
        self._user, self._tenant = _asked(self._visit.known_user), _asked(self._visit.tenant)

    def tell(self) -> None:
        """The request is over."""
        visit, environ, error = self._visit, self._environ, self.error
        token, plan = visit.trusted, visit.plan
        route = plan.scope.partition(":")[2] if plan is not None and plan.scope and "~" not in plan.scope else visit.template
        self._stream.post(
            Exchange(
                HTTP,
                "request",
                time_ns() // 1000,
                (monotonic_ns() - self._began) // 1000,
                visit.client,
                environ["REQUEST_METHOD"],
                route or UNMATCHED,
                path_of(environ),
                query_of(environ),
                heads_of(environ, visit.guard),
                self._status,
                self.sent,
                visit.decisions,
                visit.made_id,
                self._user,
                None if token is None else token.family,
                self._tenant,
                None if error is None else type(error).__name__,
                isinstance(error, _GONE) or (self._status is not None and error is None and not self.complete),
                DECIDED.get(visit.refusal),
                visit.refusal,
            )
        )


def noted(environ: dict[str, Any], client: Client, turned: Turned, guard: Blocking) -> Exchange:
    """The refusal of a known offender, for those that want events."""
    return Exchange(
        HTTP,
        "request",
        time_ns() // 1000,
        int((monotonic() - turned.began) * 1e6),
        client,
        environ["REQUEST_METHOD"],
        turned.route,
        path_of(environ),
        query_of(environ),
        heads_of(environ, guard),
        RateLimited.status,
        0 if environ["REQUEST_METHOD"] == "HEAD" else len(turned.body),
        turned.decisions,
        turned.decision_id,
        refusal=RateLimited.code,
    )


def query_of(environ: dict[str, Any]) -> bytes:
    """The query of the URL, as sent."""
    query: str = environ.get("QUERY_STRING", "")
    return query.encode("latin-1", "replace")


def path_of(environ: dict[str, Any]) -> str:
    """The path of the URL, decoded; WSGI has its bytes as Latin-1."""
    path: str = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return path if path.isascii() else path.encode("latin-1", "replace").decode("utf-8", "replace")


def heads_of(environ: dict[str, Any], guard: Blocking) -> Headers:
    """The headers that events are made of."""
    return [(name, environ[key].encode("latin-1", "replace")) for name, key in guard.heads if key in environ]


def _asked(question: Callable[[], str | None]) -> str | None:
    """What a function of the application says; one that fails says nothing, because the answer is on its way already."""
    try:
        return question()
    except Exception:
        return None
