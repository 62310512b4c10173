"""What is exported, whatever the exporter: names, meanings, and how each value is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple, TypeAlias

from lockwatch.engine import Engine
from lockwatch.health import Health

Value: TypeAlias = tuple[tuple[str, ...], float]
"""The values of an instrument's labels, and a number."""


class Instrument(NamedTuple):
    """One thing that is measured.

    Attributes:
        name: words, separated by ``_``; every exporter makes its own spelling of them.
        about: what the number says.
        labels: beside `namespace`, which all have.
        rises: a counter; else a gauge.
        read: the numbers of one engine.
    """

    name: str
    about: str
    labels: tuple[str, ...]
    rises: bool
    read: Callable[[Engine], Iterable[Value]]


def _decisions(engine: Engine) -> Iterator[Value]:
    return (((policy, outcome), number) for policy, outcome, number in engine.link.meter.decisions())


def _refusals(engine: Engine) -> Iterator[Value]:
    return (((policy,), number) for policy, number in engine.link.meter.refusals())


def _errors(engine: Engine) -> Iterator[Value]:
    return (((code,), number) for code, number in engine.link.meter.errors())


def _breaker(engine: Engine) -> Iterator[Value]:
    state = engine.health().breaker
    return (((name,), float(name == state)) for name in ("closed", "open", "probing"))


def _one(read: Callable[[Health], float]) -> Callable[[Engine], Iterable[Value]]:
    """An instrument without labels: a number of the health report."""
    return lambda engine: [((), read(engine.health()))]


INSTRUMENTS: Final = (
    Instrument("decisions", "Decisions by policy and outcome", ("policy", "outcome"), True, _decisions),
    Instrument("refusals", "Requests refused, by policy", ("policy",), True, _refusals),
    Instrument("store_errors", "Exchanges with the store that failed, by error", ("error",), True, _errors),
    Instrument("overflowed", "How often a full memory store had to share a bucket", (), True, _one(lambda h: h.overflowed)),
    Instrument("buckets", "Buckets in this process's memory", (), False, _one(lambda h: h.buckets)),
    Instrument("store_up", "1 while the store answers, else 0", (), False, _one(lambda h: float(h.store_ok))),
    Instrument("breaker", "1 for the state the circuit breaker is in, else 0", ("state",), False, _breaker),
    Instrument("workers", "Processes that share a quota while the store is down", (), False, _one(lambda h: h.workers)),
)

DURATION: Final = ("store_call_duration", "Seconds an exchange with the store took; one exchange may carry many calls")
"""Name and meaning of the histogram."""


def values(instrument: Instrument, engines: Iterable[Engine]) -> dict[tuple[str, ...], float]:
    """Labels, the namespace first, and numbers. Engines of one namespace count together; of gauges the highest counts."""
    found: dict[tuple[str, ...], float] = {}
    for engine in engines:
        for labels, number in instrument.read(engine):
            key = (engine.config.namespace, *labels)
            known = found.get(key, 0.0)
            found[key] = known + number if instrument.rises else max(known, number)
    return found
