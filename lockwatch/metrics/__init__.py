"""Metrics: what lockwatch decided and how its store does, for Prometheus and OpenTelemetry.

Counting is always on and costs next to nothing. The exporters are imported when they are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from lockwatch.errors import ConfigurationError
from lockwatch.metrics.meter import Meter

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider

    from lockwatch.engine import Engine
    from lockwatch.metrics.prometheus import Collector

__all__ = ["Meter", "observe", "register"]


class Measured(Protocol):
    """What has metrics: a `LockWatch` of either framework, a `RateLimiter`."""

    @property
    def engine(self) -> Engine:
        """What decides for it."""


def register(*measured: Measured, registry: Any = None) -> Collector:
    """Export the metrics of `measured` with prometheus-client; a registry takes one collector, so name all at once.

    Args:
        registry: a `prometheus_client.CollectorRegistry`, the global one by default.

    Returns: the collector, for `registry.unregister`.
    Raises: ConfigurationError, without prometheus-client; ValueError, from a registry that has one already.
    """
    try:
        from prometheus_client import REGISTRY
    except ModuleNotFoundError:
        raise ConfigurationError("register() needs prometheus-client: install 'lockwatch[metrics]'") from None
    from lockwatch.metrics.prometheus import Collector

    collector = Collector(_engines(measured))
    (registry or REGISTRY).register(collector)
    return collector


def observe(*measured: Measured, provider: MeterProvider | None = None) -> None:
    """Export the metrics of `measured` with OpenTelemetry, whose API has to be installed, and whose SDK does the exporting.

    Args:
        provider: a meter provider, the global one by default.

    Raises: ConfigurationError, without the API of OpenTelemetry.
    """
    try:
        import opentelemetry.metrics  # noqa: F401
    except ModuleNotFoundError:
        raise ConfigurationError("observe() needs the API of OpenTelemetry: install 'opentelemetry-api'") from None
    from lockwatch.metrics.opentelemetry import observe as create

    create(_engines(measured), provider)


def _engines(measured: Sequence[Measured]) -> tuple[Engine, ...]:
    if not measured:
        raise ConfigurationError("nothing to measure was given; a correct call is register(lockwatch)")
    return tuple(one.engine for one in measured)
