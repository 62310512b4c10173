"""What Prometheus and OpenTelemetry get to see."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, generate_latest

from lockwatch import metrics
from lockwatch.config import LockWatchConfig
from lockwatch.engine import Engine
from lockwatch.errors import ConfigurationError, StoreTimeout
from tests.operators.test_meter import decision


class Measured:
    """Anything with an engine."""

    def __init__(self, namespace: str = "shop") -> None:
        self.engine = Engine(LockWatchConfig(namespace=namespace))

    def work(self) -> Measured:
        meter = self.engine.link.meter
        meter.decided([decision("login"), decision('odd"name', allowed=False)])
        meter.decided([decision("login", allowed=False, degraded=True)])
        meter.called(0.0004)
        meter.called(0.03)
        meter.called(0.05)
        meter.failed(StoreTimeout("late"))
        return self


def exposed(*measured: Measured) -> dict[str, float]:
    registry = CollectorRegistry()
    metrics.register(*measured, registry=registry)
    lines = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
    return {name: float(number) for name, _, number in (line.rpartition(" ") for line in lines)}


def test_prometheus_gets_every_number_as_text() -> None:
    assert exposed(Measured().work()) == {
        'lockwatch_decisions_total{namespace="shop",outcome="allowed",policy="login"}': 1,
        'lockwatch_decisions_total{namespace="shop",outcome="refused",policy="login"}': 0,
        'lockwatch_decisions_total{namespace="shop",outcome="shadow_refused",policy="login"}': 0,
        'lockwatch_decisions_total{namespace="shop",outcome="degraded",policy="login"}': 1,
        'lockwatch_decisions_total{namespace="shop",outcome="allowed",policy="odd\\"name"}': 0,
        'lockwatch_decisions_total{namespace="shop",outcome="refused",policy="odd\\"name"}': 1,
        'lockwatch_decisions_total{namespace="shop",outcome="shadow_refused",policy="odd\\"name"}': 0,
        'lockwatch_decisions_total{namespace="shop",outcome="degraded",policy="odd\\"name"}': 0,
        'lockwatch_refusals_total{namespace="shop",policy="login"}': 1,
        'lockwatch_refusals_total{namespace="shop",policy="odd\\"name"}': 1,
        'lockwatch_store_errors_total{error="store_timeout",namespace="shop"}': 1,
        'lockwatch_overflowed_total{namespace="shop"}': 0,
        'lockwatch_buckets{namespace="shop"}': 0,
        'lockwatch_store_up{namespace="shop"}': 1,
        'lockwatch_breaker{namespace="shop",state="closed"}': 1,
        'lockwatch_breaker{namespace="shop",state="open"}': 0,
        'lockwatch_breaker{namespace="shop",state="probing"}': 0,
        'lockwatch_workers{namespace="shop"}': 1,
        **{
            f'lockwatch_store_call_duration_seconds_bucket{{le="{bound}",namespace="shop"}}': number
            for bound, number in {
                "0.00025": 0, "0.0005": 1, "0.001": 1, "0.0025": 1, "0.005": 1, "0.01": 1, "0.025": 1, "0.05": 3, "0.1": 3,
                "0.25": 3, "1.0": 3, "+Inf": 3,
            }.items()
        },
        'lockwatch_store_call_duration_seconds_count{namespace="shop"}': 3,
        'lockwatch_store_call_duration_seconds_sum{namespace="shop"}': pytest.approx(0.0804),
    }  # fmt: skip


def test_the_text_explains_itself() -> None:
    registry = CollectorRegistry()
    metrics.register(Measured().work(), registry=registry)
    text = generate_latest(registry).decode()
    assert "# HELP lockwatch_decisions_total Decisions by policy and outcome\n# TYPE lockwatch_decisions_total counter\n" in text
    assert "# TYPE lockwatch_store_call_duration_seconds histogram\n" in text
    assert "# TYPE lockwatch_store_up gauge\n" in text


def test_the_collector_is_read_when_it_is_scraped() -> None:
    measured, registry = Measured(), CollectorRegistry()
    collector = metrics.register(measured, registry=registry)
    labels = {"namespace": "shop", "policy": "login", "outcome": "allowed"}
    assert registry.get_sample_value("lockwatch_decisions_total", labels) is None
    measured.work()
    assert registry.get_sample_value("lockwatch_decisions_total", labels) == 1
    registry.unregister(collector)
    assert registry.get_sample_value("lockwatch_decisions_total", labels) is None


def test_several_applications_share_a_collector_and_one_namespace_is_summed() -> None:
    seen = exposed(Measured("shop").work(), Measured("shop").work(), Measured("blog"))
    assert seen['lockwatch_decisions_total{namespace="shop",outcome="allowed",policy="login"}'] == 2
    assert seen['lockwatch_store_call_duration_seconds_count{namespace="shop"}'] == 6
    assert seen['lockwatch_store_call_duration_seconds_bucket{le="0.0005",namespace="shop"}'] == 2
    assert seen['lockwatch_store_call_duration_seconds_count{namespace="blog"}'] == 0
    assert seen['lockwatch_store_up{namespace="shop"}'] == 1


def test_a_registry_takes_one_collector() -> None:
    registry = CollectorRegistry()
    metrics.register(Measured(), registry=registry)
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        metrics.register(Measured(), registry=registry)


def points(reader: InMemoryMetricReader) -> Iterator[tuple[str, Any, Any]]:
    data = reader.get_metrics_data()
    for resource in data.resource_metrics if data else ():
        for scope in resource.scope_metrics:
            assert scope.scope.name == "lockwatch"
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    yield metric.name, tuple(sorted((point.attributes or {}).items())), point


@pytest.fixture
def reader() -> Iterator[InMemoryMetricReader]:
    reader = InMemoryMetricReader()
    yield reader
    reader.shutdown()


def test_opentelemetry_observes_the_counters_and_records_durations(reader: InMemoryMetricReader) -> None:
    provider, measured = MeterProvider([reader]), Measured()
    metrics.observe(measured, provider=provider)
    measured.work()
    found = {(name, attributes): point for name, attributes, point in points(reader)}
    shop = ("namespace", "shop")
    assert found["lockwatch.decisions", (shop, ("outcome", "allowed"), ("policy", "login"))].value == 1
    assert found["lockwatch.refusals", (shop, ("policy", "login"))].value == 1
    assert found["lockwatch.store.errors", (("error", "store_timeout"), shop)].value == 1
    assert found["lockwatch.store.up", (shop,)].value == 1
    durations = found["lockwatch.store.call_duration", (shop,)]
    assert (durations.count, durations.sum) == (3, pytest.approx(0.0804))
    assert durations.explicit_bounds[:3] == (0.00025, 0.0005, 0.001)
    provider.shutdown()


def test_opentelemetry_without_a_provider_does_nothing_and_does_no_harm() -> None:
    measured = Measured()
    metrics.observe(measured)
    assert dict(measured.work().engine.link.meter.refusals())["login"] == 1


@pytest.mark.parametrize("export", [metrics.register, metrics.observe])
def test_nothing_to_measure_is_an_error(export: Any) -> None:
    with pytest.raises(ConfigurationError, match="nothing to measure"):
        export()


@pytest.mark.parametrize(
    ("missing", "call", "says"),
    [
        ("prometheus_client", "register", "install 'lockwatch[metrics]'"),
        ("opentelemetry.metrics", "observe", "install 'opentelemetry-api'"),
    ],
)
def test_a_missing_library_is_named_with_what_to_install(missing: str, call: str, says: str) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from lockwatch import metrics\nfrom lockwatch.config import LockWatchConfig\nfrom lockwatch.engine import Engine\n"
        "class M: engine = Engine(LockWatchConfig())\n"
        f"try: metrics.{call}(M())\nexcept ValueError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert says in done.stdout
