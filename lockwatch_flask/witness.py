"""Sees how a request ends, whatever ends it, and posts that as an event. There is one only where somebody wants events."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic_ns, time_ns
from typing import Any, Final

from lockwatch.capture import Exchange
from lockwatch.client import Headers
from lockwatch.event import HTTP
from lockwatch.limits.plan import UNMATCHED
from lockwatch.stream import Stream
from lockwatch_flask.visit import Visit

_GONE: Final = (ConnectionError, BrokenPipeError)
_HEADS: Final = (
    (b"user-agent", "HTTP_USER_AGENT"),
    (b"x-request-id", "HTTP_X_REQUEST_ID"),
    (b"traceparent", "HTTP_TRACEPARENT"),
)


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
                environ.get("QUERY_STRING", "").encode("latin-1", "replace"),
                heads_of(environ),
                self._status,
                self.sent,
                visit.decisions,
                visit.made_id,
                self._user,
                None if token is None else token.family,
                self._tenant,
                None if error is None else type(error).__name__,
                isinstance(error, _GONE) or (self._status is not None and error is None and not self.complete),
                None,
                visit.refusal,
            )
        )


def path_of(environ: dict[str, Any]) -> str:
    """The path of the URL, decoded; WSGI has its bytes as Latin-1."""
    path: str = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return path if path.isascii() else path.encode("latin-1", "replace").decode("utf-8", "replace")


def heads_of(environ: dict[str, Any]) -> Headers:
    """The headers that events are made of."""
    return [(name, environ[key].encode("latin-1", "replace")) for name, key in _HEADS if key in environ]


def _asked(question: Callable[[], str | None]) -> str | None:
    """What a function of the application says; one that fails says nothing, because the answer is on its way already."""
    try:
        return question()
    except Exception:
        return None
