"""A collector for prometheus-client: reads the counters when it is scraped, costs nothing before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

from lockwatch.engine import Engine
from lockwatch.metrics.readings import DURATION, INSTRUMENTS, Instrument, values


class Collector:
    """The metrics of some engines, for a `prometheus_client.CollectorRegistry`."""

    def __init__(self, engines: Sequence[Engine]) -> None:
        self._engines = tuple(engines)

    def describe(self) -> Iterator[Metric]:
        """The families without numbers; a registry asks when the collector is registered."""
        for instrument in INSTRUMENTS:
            yield _family(instrument)
        yield _histogram()

    def collect(self) -> Iterator[Metric]:
        """The families with their numbers."""
        for instrument in INSTRUMENTS:
            family = _family(instrument)
            for labels, number in values(instrument, self._engines).items():
                family.add_metric(labels, number)
            yield family
        yield self._durations()

    def _durations(self) -> Metric:
        family = _histogram()
        for namespace in dict.fromkeys(engine.config.namespace for engine in self._engines):
            read = [e.link.meter.durations() for e in self._engines if e.config.namespace == namespace]
            bounds = [bound for bound, _ in read[0][0]]
            counts = [sum(column) for column in zip(*([number for _, number in pairs] for pairs, _ in read), strict=True)]
            buckets = [(_spelled(bound), number) for bound, number in zip(bounds, counts, strict=True)]
            family.add_metric([namespace], buckets, sum(seconds for _, seconds in read))
        return family


def _family(instrument: Instrument) -> CounterMetricFamily | GaugeMetricFamily:
    kind = CounterMetricFamily if instrument.rises else GaugeMetricFamily
    return kind(f"lockwatch_{instrument.name}", instrument.about, labels=("namespace", *instrument.labels))


def _spelled(bound: float) -> str:
    text: str = floatToGoString(bound)  # type: ignore[no-untyped-call]  # prometheus-client's
    return text


def _histogram() -> HistogramMetricFamily:
    name, about = DURATION
    return HistogramMetricFamily(f"lockwatch_{name}_seconds", about, labels=("namespace",))
