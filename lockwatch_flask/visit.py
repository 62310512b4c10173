"""One request of a WSGI application: `environ["lockwatch"]` and `g.lockwatch`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from flask import g, has_request_context, request

from lockwatch import visit
from lockwatch.client import Headers
from lockwatch.errors import Banned
from lockwatch.headers import NAMES, quota_headers
from lockwatch.keys import by_ip
from lockwatch.limits.decision import Decision, tightest
from lockwatch.limits.plan import Plan
from lockwatch_flask.blocking import variable_of

if TYPE_CHECKING:
    from lockwatch_flask.blocking import Blocking

_FORWARDED: Final = (
    (b"x-forwarded-for", "HTTP_X_FORWARDED_FOR"),
    (b"forwarded", "HTTP_FORWARDED"),
    (b"x-real-ip", "HTTP_X_REAL_IP"),
)
_NAMES: Final = {name.lower().encode(): name.lower() for name in NAMES}
_ENDED: Final[dict[str, Any]] = {"REQUEST_METHOD": "GET", "PATH_INFO": ""}


class Visit(visit.Visit):
    """What is known and decided about one request.

    Attributes:
        waiting: the plan of its route, while functions of the application that it asks have not run.
        template: of the route it matched, empty while that is not known.
        outer: another visit began within this one.
        error: what the application failed with.
        banned: why it is turned away, in the application's own way of answering.
    """

    guard: Blocking
    waiting: Plan | None = None
    template = ""
    outer = False
    error: BaseException | None = None
    banned: Banned | None = None

    def __init__(self, guard: Blocking, environ: dict[str, Any]) -> None:
        self.guard = guard
        self._environ = environ
        within = environ.get("lockwatch")
        if within is not None and isinstance(within, Visit):
            within.outer = True
        environ["lockwatch"] = self

    def settle(self, actual: int) -> None:
        """Set the real cost of this request, for the limits that declare a `cost`: tokens, bytes, rows.

        It takes effect when the response has ended; until then the last call counts. Less than was charged is given back, more is
        charged whatever the quota.

        Raises: LookupError when no limit of the route has a cost to settle, ValueError.
        """
        self.cost_really(actual)

    def take(self, limits: Any, *, key: Any = by_ip, cost: int = 1, name: str = "message") -> Decision:
        """Charge a limit of your own on this route, for example for each part of a stream.

        Returns the decision that refuses, else the one with the least left; nothing is refused for you.
        """
        plan = self.plan_by_hand(limits, key, cost, name)
        return tightest(self.guard.pursue(self.guard.admission.deciding, plan, self).decisions)

    @property
    def request(self) -> Any:
        """The request as functions of the application take it."""
        return request if self._is_current() else self.guard.app.request_class(self._environ)

    @property
    def method(self) -> str:
        """The method of the request."""
        return str(self._environ["REQUEST_METHOD"])

    def header(self, name: bytes) -> str | None:
        """The header of that lower-case name. Servers join headers that came twice."""
        found: str | None = self._environ.get(variable_of(name))
        return found

    def headers(self, name: bytes) -> list[str]:
        """The same as a list."""
        found = self.header(name)
        return [] if found is None else [found]

    def announce(self, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """The headers of a response with the quota headers."""
        if not self.decisions:
            return headers
        told = quota_headers(self.decisions, self.guard.engine.config.headers, self.guard.engine.clock.time())
        added = [(_NAMES[name], str(value, "latin-1")) for name, value in told]
        if self.outer:  # an application mounted in another, each with a LockWatch: the inner one speaks first
            said = {name.lower() for name, _ in headers}
            added = [header for header in added if header[0] not in said]
        return [*headers, *added]

    def end(self) -> None:
        """Conclude, and let go of the request."""
        super().end()
        self._environ = _ENDED

    def _peer(self) -> tuple[str | None, Headers, bool]:
        environ = self._environ
        return environ.get("REMOTE_ADDR") or None, forwarded(environ), False

    def _said(self, name: str) -> Any:
        return g.get(name) if self._is_current() else None

    def _is_current(self) -> bool:
        return has_request_context() and request.environ is self._environ


def forwarded(environ: dict[str, Any]) -> Headers:
    """The headers that speak of clients behind proxies."""
    return [(name, environ[key].encode("latin-1", "replace")) for name, key in _FORWARDED if key in environ]


def visit_in(environ: dict[str, Any]) -> Visit | None:
    """The visit of a request, None when no LockWatch has seen it."""
    found = environ.get("lockwatch")
    return found if isinstance(found, Visit) else None
