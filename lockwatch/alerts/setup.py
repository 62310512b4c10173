"""The alerts of an application, from its settings."""

from __future__ import annotations

from collections.abc import Callable

from lockwatch.alerts.channels import endpoints_of
from lockwatch.alerts.dispatch import Alerts
from lockwatch.alerts.shelf import SpoolShelf
from lockwatch.config import LockWatchConfig
from lockwatch.spool.directory import Directory


def make_alerts(config: LockWatchConfig, directory: Directory | None, warn: Callable[[str], None]) -> Alerts:
    """The alerts of an application.

    Args:
        directory: where the outbox is; None for memory only.
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
    shelf = None if directory is None else SpoolShelf(directory)
    return Alerts(endpoints, shelf, "" if shelf else "spool_dir is None", config.alerts_per_hour)
