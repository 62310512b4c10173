"""What operators ask of a running application: who used what, why a request is refused, and to let it through."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from lockwatch.engine import Engine
from lockwatch.errors import ConfigurationError
from lockwatch.event import ADMIN
from lockwatch.fastapi.guard import Guard
from lockwatch.fastapi.login import LoginAttempt
from lockwatch.fastapi.routes import mounted, routes_of
from lockwatch.keys import visit_of
from lockwatch.limiter import RateLimitConfig, RateLimiter
from lockwatch.limits.explanation import Explanation
from lockwatch.limits.survey import Usage
from lockwatch.overview import Overview
from lockwatch.tokens.access_cookie import drop, session_of

if TYPE_CHECKING:
    from fastapi import APIRouter

    from lockwatch.alerts.dispatch import Alerts
    from lockwatch.anomaly.bans import Bans
    from lockwatch.anomaly.direct import AnomalyDetector
    from lockwatch.audit.logger import AuditLogger
    from lockwatch.limits.buckets import Buckets
    from lockwatch.tokens.manager import JWTRotationManager
    from lockwatch.tokens.pair import TokenPair


class Operated:
    """The part of `LockWatch` that operators use, from code or through ``lockwatch limits``.

    A *subject* is ``ip:203.0.113.7``, ``user:alice``, ``key:...`` or ``custom:...`` (what a key function of yours returns), or a
    sequence of them: the address of a request, and its user. A *route* is method and template, ``GET /items/{id}``.
    """

    engine: Engine
    guards: list[Guard]

    @cached_property
    def limiter(self) -> RateLimiter:
        """The application limits, to be checked by hand; 100 requests in 60 seconds where there are none."""
        return RateLimiter(
            config=RateLimitConfig(on_store_error=self.engine.config.on_redis_failure or "allow"), engine=self.engine
        )

    @cached_property
    def anomaly(self) -> AnomalyDetector:
        """Bursts, to be checked by hand, on the store and with the settings of this application."""
        from lockwatch.anomaly.direct import AnomalyDetector

        return AnomalyDetector(config=self.engine.anomaly, engine=self.engine)

    @property
    def bans(self) -> Bans:
        """Who is banned: `add`, `lift`, `list`. Raises: ConfigurationError, where nobody may be."""
        if self.engine.bans is None:
            raise ConfigurationError(
                "nobody is banned here; set bans=True, or anomaly, like LockWatch(app, anomaly=AnomalyConfig())"
            )
        return self.engine.bans

    @property
    def audit(self) -> AuditLogger:
        """The audit log: `record`, `query`, `flush`. Raises: ConfigurationError, where there is none."""
        return self.engine.audit

    @property
    def tokens(self) -> JWTRotationManager:
        """Issues, rotates, checks and revokes tokens, on the store and with the keys of this application.

        Raises: ConfigurationError, where `jwt` is not set.
        """
        identity = self.engine.identity
        if identity is None or identity.manager is None:
            raise ConfigurationError("no tokens are issued here; set jwt, like LockWatch(app, jwt=JWTConfig(jwt_secret=...))")
        return identity.manager

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

    @property
    def alerts(self) -> Alerts:
        """Tells operators: `raise_` takes an `Alert` of your own; it writes to a disk, so call it from a thread.

        Raises: ConfigurationError, where nobody is to be told.
        """
        if self.engine.alerts is None:
            raise ConfigurationError("nobody is alerted here; set webhook_urls, like ['https://hooks.example.com/lockwatch']")
        return self.engine.alerts

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
        session = session_of(self.tokens.read(pair.access_token))
        for value in self.tokens.cookie.keep(pair.access_token, session, pair.access_expires_at):
            response.headers.append("set-cookie", value)

    def unset_access_cookies(self, response: Response) -> None:
        """Take both cookies away again: the session is over."""
        for value in drop():
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
        flow = overview.usage(await self._names(overview, tenant), _subjects(overview, subject), route)
        return await self.engine.link.drive(flow)

    async def reset_limits(self, subject: str | Sequence[str], route: str | None = None, *, tenant: str | None = None) -> int:
        """Forget what `subject` has used, its open reservations included; how many buckets there were.

        Raises: as `limits_of`.
        """
        overview = await run_in_threadpool(self.overview)  # many routes take a while
        flow = overview.reset(await self._names(overview, tenant), _subjects(overview, subject), route)
        self.engine.admission.denied.known.clear()
        found = await self.engine.link.drive(flow)
        told = subject if isinstance(subject, str) else ", ".join(subject)
        self.engine.report(ADMIN, "limit.reset", target=told, route=route, tenant=tenant, details={"buckets": found})
        return found

    async def explain(self, route: str, subject: str | Sequence[str], *, tenant: str | None = None) -> Explanation:
        """What a request of `subject` on `route` would get now, policy by policy.

        Raises: as `limits_of`.
        """
        overview = await run_in_threadpool(self.overview)  # many routes take a while
        flow = overview.explain(await self._names(overview, tenant), route, _subjects(overview, subject))
        return await self.engine.link.drive(flow)

    async def _names(self, overview: Overview, tenant: str | None) -> Buckets:
        return overview.names(await self.engine.link.buckets(), tenant)


def _subjects(overview: Overview, subject: str | Sequence[str]) -> tuple[str, ...]:
    return tuple([overview.subject(text) for text in ([subject] if isinstance(subject, str) else subject)])
