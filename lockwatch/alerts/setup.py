"""The alerts of an application, from its settings."""

from __future__ import annotations

from collections.abc import Callable

from lockwatch.alerts.channels import endpoints_of
from lockwatch.alerts.dispatch import Alerts
from lockwatch.alerts.keeping import Open
from lockwatch.config import LockWatchConfig


def make_alerts(config: LockWatchConfig, opens: Open | None, missing: str, warn: Callable[[str], None]) -> Alerts:
    """The alerts of an application.

    Args:
        opens: opens the outbox on disk; None for memory only.
        missing: why there is none on disk.
        warn: told what is wrong with the settings.

    Raises: ConfigurationError.
    """
    endpoints = endpoints_of(
        config.webhook_urls, config.webhook_secrets, config.slack_urls, config.alerts, config.allow_private_webhooks
    )
    for endpoint in endpoints:
        if not endpoint.signed:
            warn(
                f"webhooks to {endpoint.name} are not signed, so that anybody could have written them: "
                "set webhook_secrets, like ['whsec_...']"
            )
    return Alerts(endpoints, opens, missing, config.alerts_per_hour)
