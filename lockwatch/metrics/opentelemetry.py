"""Instruments of the OpenTelemetry API: the counters are observed when a reader asks, durations are recorded as they happen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter_provider

from lockwatch import __version__
from lockwatch.engine import Engine
from lockwatch.metrics.meter import BOUNDS
from lockwatch.metrics.readings import DURATION, INSTRUMENTS, Instrument, values

Callback: TypeAlias = Callable[[CallbackOptions], Iterable[Observation]]


def observe(engines: Sequence[Engine], provider: MeterProvider | None) -> None:
    """Create the instruments with the meter ``lockwatch`` of `provider`, the global one by default."""
    meter = (provider or get_meter_provider()).get_meter("lockwatch", __version__)
    for instrument in INSTRUMENTS:
        create: Any = meter.create_observable_counter if instrument.rises else meter.create_observable_gauge
        create(_dotted(instrument.name), callbacks=[_callback(instrument, engines)], description=instrument.about)
    name, about = DURATION
    durations = meter.create_histogram(_dotted(name), "s", about, explicit_bucket_boundaries_advisory=BOUNDS)
    for engine in engines:
        engine.link.meter.listen(_recorder(durations, engine.config.namespace))


def _callback(instrument: Instrument, engines: Sequence[Engine]) -> Callback:
    names = ("namespace", *instrument.labels)

    def read(_: CallbackOptions) -> Iterable[Observation]:
        found = values(instrument, engines).items()
        return [Observation(number, dict(zip(names, labels, strict=True))) for labels, number in found]

    return read


def _recorder(histogram: Any, namespace: str) -> Callable[[float], None]:
    attributes = {"namespace": namespace}
    return lambda seconds: histogram.record(seconds, attributes)


def _dotted(name: str) -> str:
    return f"lockwatch.{name.replace('_', '.', 1)}"
