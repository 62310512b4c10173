"""What operators ask of a running application, where it is the same in both frameworks. Nothing here waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lockwatch.engine import Engine
from lockwatch.errors import ConfigurationError
from lockwatch.event import ADMIN
from lockwatch.limiter import RateLimitConfig, RateLimiter
from lockwatch.overview import Overview
from lockwatch.tokens.access_cookie import drop, session_of

if TYPE_CHECKING:
    from lockwatch.alerts.dispatch import Alerts
    from lockwatch.anomaly.bans import Bans
    from lockwatch.anomaly.direct import AnomalyDetector
    from lockwatch.audit.logger import AuditLogger
    from lockwatch.tokens.manager import JWTRotationManager
    from lockwatch.tokens.pair import TokenPair


class Operated:
    """The parts of an application's protection that operators use.

    Attributes:
        engine: of the application.
    """

    engine: Engine

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
        """Issues, rotates, checks and revokes tokens, on the store and with the keys of the application.

        Raises: ConfigurationError, where `jwt` is not set.
        """
        identity = self.engine.identity
        if identity is None or identity.manager is None:
            raise ConfigurationError("no tokens are issued here; set jwt, like LockWatch(app, jwt=JWTConfig(jwt_secret=...))")
        return identity.manager

    @property
    def alerts(self) -> Alerts:
        """Tells operators: `raise_` takes an `Alert` of your own; it writes to a disk, so call it from a thread.

        Raises: ConfigurationError, where nobody is to be told.
        """
        if self.engine.alerts is None:
            raise ConfigurationError("nobody is alerted here; set webhook_urls, like ['https://hooks.example.com/lockwatch']")
        return self.engine.alerts

    def access_cookies(self, pair: TokenPair | None) -> Sequence[str]:
        """The ``Set-Cookie`` headers that keep the access token of `pair`, and its CSRF token; those that drop both for None."""
        if pair is None:
            return drop()
        session = session_of(self.tokens.read(pair.access_token))
        return self.tokens.cookie.keep(pair.access_token, session, pair.access_expires_at)

    def told_of_reset(self, subject: str | Sequence[str], route: str | None, tenant: str | None, found: int) -> None:
        """Note that an operator has let `subject` through."""
        told = subject if isinstance(subject, str) else ", ".join(subject)
        self.engine.report(ADMIN, "limit.reset", target=told, route=route, tenant=tenant, details={"buckets": found})


def limiter_of(engine: Engine) -> RateLimiter:
    """The application limits, to be checked by hand; 100 requests in 60 seconds where there are none."""
    return RateLimiter(config=RateLimitConfig(on_store_error=engine.config.on_redis_failure or "allow"), engine=engine)


def detector_of(engine: Engine) -> AnomalyDetector:
    """Bursts, to be checked by hand, on the store and with the settings of the application."""
    from lockwatch.anomaly.direct import AnomalyDetector

    return AnomalyDetector(config=engine.anomaly, engine=engine)


def subjects_of(overview: Overview, subject: str | Sequence[str]) -> tuple[str, ...]:
    """Whom an operator means. Raises: ConfigurationError, for what is no subject."""
    return tuple([overview.subject(text) for text in ([subject] if isinstance(subject, str) else subject)])
