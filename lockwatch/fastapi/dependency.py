"""`RateLimit`: what a route declares."""

from inspect import Parameter, Signature
from typing import Any, Unpack

from starlette.requests import HTTPConnection

from lockwatch.config import LockWatchConfig
from lockwatch.engine import Engine
from lockwatch.fastapi.guard import Guard
from lockwatch.fastapi.late import check_late
from lockwatch.fastapi.mistakes import unwrapped
from lockwatch.fastapi.refusal import ensure_handled
from lockwatch.fastapi.visit import Visit
from lockwatch.limits.declaration import Declaration, Options

_alone: list[Guard] = []
_CONNECTION = Parameter("connection", Parameter.POSITIONAL_OR_KEYWORD, annotation=HTTPConnection)


class RateLimit(Declaration):
    """A limit as a FastAPI dependency: ``Depends(RateLimit("100/minute", key=by_user))``.

    Works on routes, routers, applications, WebSocket routes and inside other dependencies. It is enforced before the body is read
    and before any dependency runs, unless its key needs the body or is a dependency itself. The arguments are those of
    `Declaration`.
    """

    def _check(self) -> None:
        super()._check()
        parameters = [_CONNECTION]
        if hasattr(self.key, "dependency"):
            parameters.append(Parameter("subject", Parameter.POSITIONAL_OR_KEYWORD, default=self.key))
        self.__signature__ = Signature(parameters)

    @property
    def dependency(self) -> Any:
        """What FastAPI asks of `Depends(...)`, and finds here where that was left out. Raises: ConfigurationError."""
        raise unwrapped("RateLimit")

    async def __call__(self, connection: HTTPConnection, subject: Any = None) -> None:
        """Do nothing when this limit was checked, else check it. Raises: RateLimited, StoreUnavailable."""
        visit = connection.scope.get("lockwatch")
        if type(visit) is Visit:
            plan = visit.plan
            if plan is not None and plan.settles(self):
                return
        else:
            visit = Visit(_guard_alone(), connection.scope)
        ensure_handled(connection.scope)
        await check_late(visit.guard, visit, self, connection, subject)


def rate_limit(limits: Any, **options: Unpack[Options]) -> RateLimit:
    """The same as `RateLimit(limits, ...)`, for those who like functions as dependencies."""
    return RateLimit(limits, **options)


def _guard_alone() -> Guard:
    """The guard of applications that have none: counts in this process's memory, and says so once."""
    if not _alone:
        _alone.append(Guard(Engine(LockWatchConfig(application_limits=None))))
        _alone[0].engine.warn(
            "RateLimit is used without LockWatch(app): it counts in this process's memory, after the body was read, "
            "without quota headers"
        )
    return _alone[0]
