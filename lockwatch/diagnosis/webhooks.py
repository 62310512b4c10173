"""Receivers of alerts, as far as settings say. Nobody is called: `lockwatch alerts test` does that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from lockwatch.alerts.channels import Endpoint, endpoints_of
from lockwatch.anomaly.config import alerting, settings_of
from lockwatch.config import LockWatchConfig
from lockwatch.diagnosis.finding import Area, Finding
from lockwatch.diagnosis.patient import Patient
from lockwatch.errors import ConfigurationError

_EXAMPLE: Final = "LOCKWATCH_WEBHOOK_URLS=https://hooks.example.com/lockwatch"


def webhooks(patient: Patient) -> Area:
    """Who is alerted."""
    try:
        anomaly = settings_of(patient.config)
        config = alerting(patient.config, anomaly)
        endpoints = endpoints_of(
            config.webhook_urls, config.webhook_secrets, config.slack_urls, config.alerts, config.allow_private_webhooks
        )
    except ConfigurationError as error:
        return Area("webhooks", "", (Finding("configuration.invalid", str(error), "webhook_urls", _EXAMPLE),))
    if endpoints:
        return Area("webhooks", ", ".join(e.name for e in endpoints), tuple(_judged(endpoints, config)))
    if anomaly is None:
        return Area("webhooks", "none, and nothing is looked for")
    what = "attacks are looked for, and nobody is told but the log"
    return Area("webhooks", "none", (Finding("webhooks.nobody", what, "webhook_urls", _EXAMPLE),))


def _judged(endpoints: tuple[Endpoint, ...], config: LockWatchConfig) -> Iterator[Finding]:
    for endpoint in endpoints:
        if not endpoint.signed:
            what = "its messages are not signed, so that anybody could have written them"
            yield Finding("webhooks.unsigned", what, endpoint.name, "LOCKWATCH_WEBHOOK_SECRETS=whsec_...")
    if config.allow_private_webhooks:
        what = "alerts may go to private addresses and over http: a name that is taken over leads into your own network"
        change = "alerts=[WebhookChannel(url, allow_private=True)] for the one that needs it"
        yield Finding("webhooks.private", what, "allow_private_webhooks", change)
