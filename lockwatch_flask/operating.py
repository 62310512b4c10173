"""What operators ask of a running application, in blocking code: who used what, why a request is refused, and to let it through.

The components that are handed out wait by themselves: no method of theirs is awaited, with ``_sync`` behind its name or without.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask, Response, current_app

from lockwatch import operated
from lockwatch.keys import visit_of
from lockwatch.limiter import RateLimiter
from lockwatch.limits.explanation import Explanation
from lockwatch.limits.survey import Usage
from lockwatch.operated import detector_of, limiter_of, subjects_of
from lockwatch.overview import Overview
from lockwatch_flask.login import LoginAttempt
from lockwatch_flask.plain import plain
from lockwatch_flask.routes import routes_of

if TYPE_CHECKING:
    from weakref import WeakKeyDictionary

    from lockwatch.anomaly.bans import Bans
    from lockwatch.anomaly.direct import AnomalyDetector
    from lockwatch.audit.logger import AuditLogger
    from lockwatch.engine import Engine
    from lockwatch.limits.buckets import Buckets
    from lockwatch.tokens.manager import JWTRotationManager
    from lockwatch.tokens.pair import TokenPair


class Operated(operated.Operated):
    """The part of `LockWatch` that operators use, from code or through ``flask lockwatch limits``.

    A *subject* is ``ip:203.0.113.7``, ``user:alice``, ``key:...`` or ``custom:...`` (what a key function of yours returns), or a
    sequence of them: the address of a request, and its user. A *route* is method and template, ``GET /items/<int:id>``.
    """

    _engines: WeakKeyDictionary[Flask, Engine]

    @property
    def limiter(self) -> RateLimiter:
        """The application limits, to be checked by hand; 100 requests in 60 seconds where there are none."""
        return plain(limiter_of(self.engine))

    @property
    def audit(self) -> AuditLogger:
        """The audit log: `record`, `query`, `flush`. Raises: ConfigurationError, where there is none."""
        return plain(super().audit)

    @property
    def tokens(self) -> JWTRotationManager:
        """Issues, rotates, checks and revokes tokens, on the store and with the keys of the application.

        Raises: ConfigurationError, where `jwt` is not set.
        """
        return plain(super().tokens)

    @property
    def bans(self) -> Bans:
        """Who is banned: `add`, `lift`, `list`. Raises: ConfigurationError, where nobody may be."""
        return plain(super().bans)

    @property
    def anomaly(self) -> AnomalyDetector:
        """Bursts, to be checked by hand, on the store and with the settings of the current application."""
        return plain(detector_of(self.engine))

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

    def auth_blueprint(self, **options: Any) -> Blueprint:
        """The endpoints of sessions, for `app.register_blueprint`. The options are those of `lockwatch_flask.blueprint`."""
        from lockwatch_flask.blueprint import auth_blueprint

        return auth_blueprint(self, **options)  # type: ignore[arg-type]  # every Operated is a LockWatch

    def set_access_cookies(self, response: Response, pair: TokenPair) -> None:
        """Put the access token of a login or a refresh into a cookie, and its CSRF token into another, which scripts read.

        Raises: ConfigurationError, where `jwt` is not set.
        """
        for value in self.access_cookies(pair):
            response.headers.add("Set-Cookie", value)

    def unset_access_cookies(self, response: Response) -> None:
        """Take both cookies away again: the session is over."""
        for value in self.access_cookies(None):
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
        return self.engine.link.drive_sync(overview.usage(self._names(overview, tenant), subjects_of(overview, subject), route))

    def reset_limits(self, subject: str | Sequence[str], route: str | None = None, *, tenant: str | None = None) -> int:
        """Forget what `subject` has used, its open reservations included; how many buckets there were.

        Raises: as `limits_of`.
        """
        overview = self.overview()
        self.engine.admission.denied.known.clear()
        found = self.engine.link.drive_sync(overview.reset(self._names(overview, tenant), subjects_of(overview, subject), route))
        self.told_of_reset(subject, route, tenant, found)
        return found

    def explain(self, route: str, subject: str | Sequence[str], *, tenant: str | None = None) -> Explanation:
        """What a request of `subject` on `route` would get now, policy by policy.

        Raises: as `limits_of`.
        """
        overview = self.overview()
        return self.engine.link.drive_sync(overview.explain(self._names(overview, tenant), route, subjects_of(overview, subject)))

    def _names(self, overview: Overview, tenant: str | None) -> Buckets:
        return overview.names(self.engine.link.buckets_sync(), tenant)
