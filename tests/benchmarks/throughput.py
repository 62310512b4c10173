"""``requests``: requests per second of one FastAPI route under each limiter, in interleaved rounds."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from typing import Final

import redis

from tests.benchmarks import environments
from tests.benchmarks.load import CONNECTIONS, Outcome, generator_name, press
from tests.benchmarks.machine import copy_of_tree, cores, cpu_seconds, description, pin
from tests.benchmarks.server import Place, Server, prove
from tests.benchmarks.table import Table, middle, spread
from tests.benchmarks.variants import Variant, chosen
from tests.servers import Proc, start_redis

_COLUMNS: Final = ("variant", "requests/s", "of bare", "spread", "server us/request", "server busy")
_SHOWN: Final = ("fastapi", "starlette", "uvicorn", "uvloop", "httptools", "redis", "pydantic")


@dataclass(frozen=True, slots=True)
class Sample:
    """One variant in one round: requests per second, and seconds of the server's CPU (None where unknown)."""

    rate: float
    total: int
    seconds: float
    cpu: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """A finished run."""

    facts: tuple[str, ...]
    table: Table


def run(rounds: int, seconds: int, only: tuple[str, ...], interpreter: str) -> Report:
    """Measure the chosen variants, each `rounds` times for some seconds."""
    variants = chosen(only)
    store = start_redis()
    place = Place(copy_of_tree(), interpreter, f"redis://127.0.0.1:{store.port}/0", cores())
    pin(store.popen.pid, place.cores.load)
    with redis.Redis(port=store.port) as client, ExitStack() as open_servers:
        for variant in variants:
            if variant.counts:
                prove(variant, place)
        client.flushall()
        servers = [open_servers.enter_context(Server(variant, place)) for variant in variants]
        samples: dict[str, list[Sample]] = {variant.name: [] for variant in variants}
        for server in servers:
            press(server.port, server.variant.path, 1, place.cores.load)
        for turn in range(rounds):
            for server in servers if turn % 2 == 0 else reversed(servers):
                client.flushall()
                samples[server.variant.name].append(_measure(server, seconds, place))
    facts = (*description(place.tree), *_versions(variants, interpreter, store, seconds, rounds))
    store.stop()
    return Report(facts, _table(variants, samples))


def _measure(server: Server, seconds: int, place: Place) -> Sample:
    server.get()
    before = cpu_seconds(server.pid)
    outcome = press(server.port, server.variant.path, seconds, place.cores.load)
    after = cpu_seconds(server.pid)
    _check(server, outcome)
    used = None if before is None or after is None else after - before
    return Sample(outcome.rate, outcome.total, outcome.seconds, used)


def _check(server: Server, outcome: Outcome) -> None:
    """Refuse a sample that measured something else than its name says."""
    variant = server.variant
    wrong = outcome.total - outcome.odd if variant.refuses else outcome.odd
    if wrong > 1:
        raise RuntimeError(f"{variant.name}: {wrong} of {outcome.total} answers were not what this variant is about")
    _, headers = server.get()
    if variant.app == "ours" and variant.counts and not variant.refuses:
        counted = int(headers["x-ratelimit-limit"]) - int(headers["x-ratelimit-remaining"])
        if counted < outcome.total * 0.99:
            print(f"  {variant.name}: only {counted} of {outcome.total} requests were counted", flush=True)


def _table(variants: Sequence[Variant], samples: dict[str, list[Sample]]) -> Table:
    return Table("Requests per second of one route", _COLUMNS, tuple([_row(v, samples) for v in variants]))


def _row(variant: Variant, samples: dict[str, list[Sample]]) -> tuple[str, ...]:
    own, base = samples[variant.name], samples[variant.against]
    ratios = [mine.rate / theirs.rate for mine, theirs in zip(own, base, strict=True)]
    costs = [s.cpu / s.total * 1e6 for s in own if s.cpu is not None]
    busy = [s.cpu / s.seconds * 100 for s in own if s.cpu is not None]
    return (
        variant.name,
        f"{median(s.rate for s in own):,.0f}",
        middle(ratios),
        spread(ratios),
        middle(costs, "{:.1f}") if costs else "-",
        middle(busy, "{:.0f} %") if busy else "-",
    )


def _versions(variants: Sequence[Variant], interpreter: str, store: Proc, seconds: int, rounds: int) -> tuple[str, ...]:
    held = environments.versions(environments.python_of("ours", interpreter))
    peers = sorted({v.environment for v in variants} - {"ours"})
    found = [(p, environments.versions(environments.python_of(p, interpreter))) for p in peers]
    named = [f"{name} {held[name]}" for name in _SHOWN]
    named += [f"{peer} {packages.get(peer, '')}".strip() for peer, packages in found]
    return (
        f"python: {_python(interpreter)}; " + ", ".join(named),
        f"store: {store.origin}; load: {generator_name()}, {CONNECTIONS} keep-alive connections, {rounds} rounds of {seconds} s",
    )


def _python(interpreter: str) -> str:
    from subprocess import run as execute

    done = execute(
        [interpreter, "-c", "import platform; print(platform.python_version())"], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
