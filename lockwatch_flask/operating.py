"""What operators ask of a running application, in blocking code: who used what, why a request is refused, and to let it through.

The components that are handed out wait by themselves: no method of theirs is awaited, with ``_sync`` behind its name or without.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask, Response, current_app

from lockwatch.engine import Engine
from lockwatch.errors import ConfigurationError
from lockwatch.event import ADMIN
from lockwatch.keys import visit_of
from lockwatch.limiter import RateLimitConfig, RateLimiter
from lockwatch.limits.explanation import Explanation
from lockwatch.limits.survey import Usage
from lockwatch.overview import Overview
from lockwatch.tokens.access_cookie import drop, session_of
from lockwatch_flask.login import LoginAttempt
from lockwatch_flask.plain import plain
from lockwatch_flask.routes import routes_of

if TYPE_CHECKING:
    from weakref import WeakKeyDictionary

    from lockwatch.alerts.dispatch import Alerts
    from lockwatch.anomaly.bans import Bans
    from lockwatch.anomaly.direct import AnomalyDetector
    from lockwatch.audit.logger import AuditLogger
    from lockwatch.limits.buckets import Buckets
    from lockwatch.tokens.manager import JWTRotationManager
    from lockwatch.tokens.pair import TokenPair


class Operated:
    """The part of `LockWatch` that operators use, from code or through ``flask lockwatch limits``.

    A *subject* is ``ip:203.0.113.7``, ``user:alice``, ``key:...`` or ``custom:...`` (what a key function of yours returns), or a
    sequence of them: the address of a request, and its user. A *route* is method and template, ``GET /items/<int:id>``.
    """

    _engines: WeakKeyDictionary[Flask, Engine]

    @property
    def engine(self) -> Engine:
        """The engine of the current application."""
        raise NotImplementedError

    @property
    def limiter(self) -> RateLimiter:
        """The application limits, to be checked by hand; 100 requests in 60 seconds where there are none."""
        engine = self.engine
        config = RateLimitConfig(on_store_error=engine.config.on_redis_failure or "allow")
        return plain(RateLimiter(config=config, engine=engine))

    @property
    def audit(self) -> AuditLogger:
        """The audit log of the current application: `record`, `query`, `flush`. Raises: ConfigurationError, where there is none."""
        return plain(self.engine.audit)

    @property
    def tokens(self) -> JWTRotationManager:
        """Issues, rotates, checks and revokes tokens, on the store and with the keys of the current application.

        Raises: ConfigurationError, where `jwt` is not set.
        """
        identity = self.engine.identity
        if identity is None or identity.manager is None:
            raise ConfigurationError("no tokens are issued here; set jwt, like LockWatch(app, jwt=JWTConfig(jwt_secret=...))")
        return plain(identity.manager)

    @property
    def anomaly(self) -> AnomalyDetector:
        """Bursts, to be checked by hand, on the store and with the settings of the current application."""
        from lockwatch.anomaly.direct import AnomalyDetector

        return plain(AnomalyDetector(config=self.engine.anomaly, engine=self.engine))

    @property
    def bans(self) -> Bans:
        """Who is banned: `add`, `lift`, `list`. Raises: ConfigurationError, where nobody may be."""
        if self.engine.bans is None:
            raise ConfigurationError(
                "nobody is banned here; set bans=True, or anomaly, like LockWatch(app, anomaly=AnomalyConfig())"
            )
        return plain(self.engine.bans)

    def login_failed(self, request: Any, *, username: str | None = None, reason: str = "") -> None:
        """Say that a login failed: limits with ``count="failures"`` charge it whatever the status, and attacks are looked for.

        Args:
            username: who wanted to be logged in.
            reason: why not, for the audit log, like ``bad_password`` or ``unknown_user``.

        Raises: LookupError, for a request that did not pass lockwatch.
        """
        self.engine.logins.fail(visit_of(request), username, reason)  # type: ignore[arg-type]  # ours can be written to

    def login_succeeded(self, request: Any, *, username: str | None = None) -> None:
        """Say that a login succeeded: the network becomes one the user is known in. Raises: as `login_failed`."""
        self.engine.logins.succeed(visit_of(request), username)  # type: ignore[arg-type]

    def login_attempt(self, request: Any, username: str, *, limits: Any = None) -> LoginAttempt:
        """An attempt, for ``with`` around the check of the password. The arguments are those of `LoginAttempt`."""
        return LoginAttempt(self.engine, request, username, limits)

    @property
    def alerts(self) -> Alerts:
        """Tells operators: `raise_` takes an `Alert` of your own.

        Raises: ConfigurationError, where nobody is to be told.
        """
        if self.engine.alerts is None:
            raise ConfigurationError("nobody is alerted here; set webhook_urls, like ['https://hooks.example.com/lockwatch']")
        return self.engine.alerts

    def auth_blueprint(self, **options: Any) -> Blueprint:
        """The endpoints of sessions, for `app.register_blueprint`. The options are those of `lockwatch_flask.blueprint`."""
        from lockwatch_flask.blueprint import auth_blueprint

        return auth_blueprint(self, **options)  # type: ignore[arg-type]  # every Operated is a LockWatch

    def set_access_cookies(self, response: Response, pair: TokenPair) -> None:
        """Put the access token of a login or a refresh into a cookie, and its CSRF token into another, which scripts read.

        Raises: ConfigurationError, where `jwt` is not set.
        """
        session = session_of(self.tokens.read(pair.access_token))
        for value in self.tokens.cookie.keep(pair.access_token, session, pair.access_expires_at):
            response.headers.add("Set-Cookie", value)

    def unset_access_cookies(self, response: Response) -> None:
        """Take both cookies away again: the session is over."""
        for value in drop():
            response.headers.add("Set-Cookie", value)

    def overview(self) -> Overview:
        """The routes of the current application and what they declare."""
        app = current_app._get_current_object() if current_app else next(iter(self._engines))  # type: ignore[attr-defined]
        return Overview(self.engine, list(routes_of(app)))

    def limits_of(self, subject: str | Sequence[str], route: str | None = None, *, tenant: str | None = None) -> tuple[Usage, ...]:
        """What `subject` has used of every policy that can count it, or of those of one route.

        Raises: ConfigurationError, for a subject or a route that is none; StoreError.
        """
        overview = self.overview()
        return self.engine.link.drive_sync(overview.usage(self._names(overview, tenant), _subjects(overview, subject), route))

    def reset_limits(self, subject: str | Sequence[str], route: str | None = None, *, tenant: str | None = None) -> int:
        """Forget what `subject` has used, its open reservations included; how many buckets there were.

        Raises: as `limits_of`.
        """
        overview = self.overview()
        self.engine.admission.denied.known.clear()
        found = self.engine.link.drive_sync(overview.reset(self._names(overview, tenant), _subjects(overview, subject), route))
        told = subject if isinstance(subject, str) else ", ".join(subject)
        self.engine.report(ADMIN, "limit.reset", target=told, route=route, tenant=tenant, details={"buckets": found})
        return found

    def explain(self, route: str, subject: str | Sequence[str], *, tenant: str | None = None) -> Explanation:
        """What a request of `subject` on `route` would get now, policy by policy.

        Raises: as `limits_of`.
        """
        overview = self.overview()
        return self.engine.link.drive_sync(overview.explain(self._names(overview, tenant), route, _subjects(overview, subject)))

    def _names(self, overview: Overview, tenant: str | None) -> Buckets:
        return overview.names(self.engine.link.buckets_sync(), tenant)


def _subjects(overview: Overview, subject: str | Sequence[str]) -> tuple[str, ...]:
    return tuple([overview.subject(text) for text in ([subject] if isinstance(subject, str) else subject)])
