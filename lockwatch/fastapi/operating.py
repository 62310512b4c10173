"""What operators ask of a running application: who used what, why a request is refused, and to let it through."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from lockwatch import operated
from lockwatch.fastapi.guard import Guard
from lockwatch.fastapi.login import LoginAttempt
from lockwatch.fastapi.routes import mounted, routes_of
from lockwatch.keys import visit_of
from lockwatch.limiter import RateLimiter
from lockwatch.limits.explanation import Explanation
from lockwatch.limits.survey import Usage
from lockwatch.operated import detector_of, limiter_of, subjects_of
from lockwatch.overview import Overview

if TYPE_CHECKING:
    from fastapi import APIRouter

    from lockwatch.anomaly.direct import AnomalyDetector
    from lockwatch.limits.buckets import Buckets
    from lockwatch.tokens.pair import TokenPair


class Operated(operated.Operated):
    """The part of `LockWatch` that operators use, from code or through ``lockwatch limits``.

    A *subject* is ``ip:203.0.113.7``, ``user:alice``, ``key:...`` or ``custom:...`` (what a key function of yours returns), or a
    sequence of them: the address of a request, and its user. A *route* is method and template, ``GET /items/{id}``.
    """

    guards: list[Guard]

    @cached_property
    def limiter(self) -> RateLimiter:
        """The application limits, to be checked by hand; 100 requests in 60 seconds where there are none."""
        return limiter_of(self.engine)

    @cached_property
    def anomaly(self) -> AnomalyDetector:
        """Bursts, to be checked by hand, on the store and with the settings of this application."""
        return detector_of(self.engine)

    async def login_failed(self, request: Any, *, username: str | None = None, reason: str = "") -> None:
        """Say that a login failed: limits with ``count="failures"`` charge it whatever the status, and attacks are looked for.

        Args:
            username: who wanted to be logged in.
            reason: why not, for the audit log, like ``bad_password`` or ``unknown_user``.

        Raises: LookupError, for a request that did not pass lockwatch.
        """
        self.engine.logins.fail(visit_of(request), username, reason)  # type: ignore[arg-type]  # ours can be written to

    async def login_succeeded(self, request: Any, *, username: str | None = None) -> None:
        """Say that a login succeeded: the network becomes one the user is known in. Raises: as `login_failed`."""
        self.engine.logins.succeed(visit_of(request), username)  # type: ignore[arg-type]

    def login_attempt(self, request: Any, username: str, *, limits: Any = None) -> LoginAttempt:
        """An attempt, for ``async with`` around the check of the password. The arguments are those of `LoginAttempt`."""
        return LoginAttempt(self.engine, request, username, limits)

    def auth_router(self, **options: Any) -> APIRouter:
        """The endpoints of sessions, for `app.include_router`. The options are those of `lockwatch.fastapi.auth_router`.

        Raises: ConfigurationError, where `jwt` is not set.
        """
        from lockwatch.fastapi.auth_router import auth_router

        return auth_router(self.tokens, **options)

    def set_access_cookies(self, response: Response, pair: TokenPair) -> None:
        """Put the access token of a login or a refresh into a cookie, and its CSRF token into another, which scripts read.

        Raises: ConfigurationError, where `jwt` is not set.
        """
        for value in self.access_cookies(pair):
            response.headers.append("set-cookie", value)

    def unset_access_cookies(self, response: Response) -> None:
        """Take both cookies away again: the session is over."""
        for value in self.access_cookies(None):
            response.headers.append("set-cookie", value)

    def overview(self) -> Overview:
        """The routes of the application and what they declare."""
        inner = [(prefix, other.overview()) for guard in self.guards for prefix, other in mounted(guard)]
        return Overview(self.engine, [route for guard in self.guards for route in routes_of(guard)], inner)

    async def limits_of(
        self, subject: str | Sequence[str], route: str | None = None, *, tenant: str | None = None
    ) -> tuple[Usage, ...]:
        """What `subject` has used of every policy that can count it, or of those of one route.

        Raises: ConfigurationError, for a subject or a route that is none; StoreError.
        """
        overview = await run_in_threadpool(self.overview)  # many routes take a while
        flow = overview.usage(await self._names(overview, tenant), subjects_of(overview, subject), route)
        return await self.engine.link.drive(flow)

    async def reset_limits(self, subject: str | Sequence[str], route: str | None = None, *, tenant: str | None = None) -> int:
        """Forget what `subject` has used, its open reservations included; how many buckets there were.

        Raises: as `limits_of`.
        """
        overview = await run_in_threadpool(self.overview)  # many routes take a while
        flow = overview.reset(await self._names(overview, tenant), subjects_of(overview, subject), route)
        self.engine.admission.denied.known.clear()
        found = await self.engine.link.drive(flow)
        self.told_of_reset(subject, route, tenant, found)
        return found

    async def explain(self, route: str, subject: str | Sequence[str], *, tenant: str | None = None) -> Explanation:
        """What a request of `subject` on `route` would get now, policy by policy.

        Raises: as `limits_of`.
        """
        overview = await run_in_threadpool(self.overview)  # many routes take a while
        flow = overview.explain(await self._names(overview, tenant), route, subjects_of(overview, subject))
        return await self.engine.link.drive(flow)

    async def _names(self, overview: Overview, tenant: str | None) -> Buckets:
        return overview.names(await self.engine.link.buckets(), tenant)
