"""`LockWatchFlaskMiddleware` for any WSGI application, and `flask_jwt_required`: the names of lockwatch 0.1."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, TypeVar

from flask import Response, g, request

from lockwatch import native
from lockwatch.errors import MissingToken, RevocationUnknown, StoreError, TokenError
from lockwatch.first_release import engine_of
from lockwatch.guard import Refused
from lockwatch.limits.plan import EXEMPT, UNMATCHED
from lockwatch.tokens.bearer import bearer_token
from lockwatch.tokens.manager import JWTRotationManager
from lockwatch_flask.blocking import Blocking
from lockwatch_flask.entrance import Application, Doorman, Environ, StartResponse, is_preflight, status_line
from lockwatch_flask.refusal import rendered
from lockwatch_flask.visit import Visit
from lockwatch_flask.witness import Witness

F = TypeVar("F", bound=Callable[..., Any])


class LockWatchFlaskMiddleware:
    """Limits every request of a WSGI application, ``app.wsgi_app = LockWatchFlaskMiddleware(app.wsgi_app, redis_url=...)``, as
    lockwatch 0.1 did.

    100 requests in 60 seconds by address, unless `rate_limit_requests` and `rate_limit_window_seconds` say otherwise.
    `lockwatch_flask.LockWatch` knows routes, and limits nothing until told.

    Args:
        app: what is protected.
        options: those of `LockWatchConfig`; `key_func`: whom to count; `burst_threshold`, 0 and off by default;
            `alert_cooldown_seconds`.

    Raises: ConfigurationError.
    """

    def __init__(self, app: Application, **options: Any) -> None:
        self.app = app
        self.engine = engine_of(options, burst_threshold=0, blocking=True)
        self.guard = _Guard(self.engine)
        self._opened = False
        self._lock = native.lock()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request, or refuse it."""
        if not self._opened:
            self._open()
        before, stream = environ.get("lockwatch"), self.engine.stream
        visit = Visit(self.guard, environ)
        doorman = Doorman(visit, environ, start_response, None if stream is None else Witness(stream, visit, environ))
        try:
            refused = self._check(visit, environ)
            if refused is not None:
                visit.refusal = refused.code
                status, headers, body = rendered(refused, "off")
                doorman.start(status_line(status), headers)
                return doorman.body([b"" if environ["REQUEST_METHOD"] == "HEAD" else body])
            if before is not None:
                environ["lockwatch"] = before
            return doorman.body(self.app(environ, doorman.start))
        except BaseException as error:
            doorman.end(error)
            raise

    def close(self) -> None:
        """Settle what is left, and close every connection."""
        self.engine.close()

    def _open(self) -> None:
        with self._lock:
            if not self._opened:
                self.engine.open_sync()
                self._opened = True

    def _check(self, visit: Visit, environ: Environ) -> Refused | None:
        doorkeeper = self.guard.doorkeeper
        banned = None if doorkeeper is None else doorkeeper.turned_away(visit)
        visit.plan = EXEMPT
        if banned is not None or is_preflight(environ) or self.engine.mode == "off":
            return banned
        exempt = self.guard.is_exempt_path(environ.get("PATH_INFO") or "/")
        method = self.guard.method_of(environ)
        return self.guard.check(visit, EXEMPT if exempt else self.guard.compose((), (), method, UNMATCHED, False))


class _Guard(Blocking):
    """The engine at the doors of an application of any kind."""

    @property
    def app(self) -> _Requests:
        """What makes requests for functions of the application."""
        return _Requests()


class _Requests:
    """Makes requests of Werkzeug's."""

    @staticmethod
    def request_class(environ: Environ) -> Any:
        """A request."""
        from flask import Request

        return Request(environ)


def flask_jwt_required(manager: JWTRotationManager) -> Callable[[F], F]:
    """Require an access token that `manager` believes; `g.jwt_claims` is what it says.

    For applications without `LockWatch`, whose `jwt_required` also checks before the body is read.
    """

    def required(view: F) -> F:
        if iscoroutinefunction(view):

            @wraps(view)
            async def checked_async(*args: Any, **kwargs: Any) -> Any:
                return _refusal(manager) or await view(*args, **kwargs)

            return checked_async  # type: ignore[return-value]

        @wraps(view)
        def checked(*args: Any, **kwargs: Any) -> Any:
            return _refusal(manager) or view(*args, **kwargs)

        return checked  # type: ignore[return-value]

    return required


def _refusal(manager: JWTRotationManager) -> Response | None:
    """The answer to a request whose token is not believed; else its claims are noted."""
    try:
        token = bearer_token(request.headers.getlist("authorization"))
        if token is None:
            raise MissingToken
        g.jwt_claims = manager.verify_access_sync(token)
    except TokenError as error:
        return _response(error)
    except StoreError:
        return _response(RevocationUnknown())
    return None


def _response(error: TokenError) -> Response:
    status, headers, body = rendered(error, "off")
    return Response(body, status, headers)
