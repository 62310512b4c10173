"""``requests`` and ``flask``: requests per second of one route under each limiter, in interleaved rounds."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Final

from tests.benchmarks import environments
from tests.benchmarks.load import CONNECTIONS, Outcome, generator_name, press
from tests.benchmarks.machine import copy_of_tree, cores, description, pin
from tests.benchmarks.neighbours import busy_seconds, least_disturbed
from tests.benchmarks.server import Place, Server, prove
from tests.benchmarks.table import Report, Table, middle, spread
from tests.benchmarks.variants import Variant
from tests.servers import Proc, start_postgres, start_redis

_COLUMNS: Final = ("variant", "requests/s", "of bare", "middle half", "server us/request", "by CPU time", "server busy")
_SHOWN: Final = {
    "ours": ("fastapi", "starlette", "uvicorn", "uvloop", "httptools", "redis", "pydantic"),
    "flask": ("flask", "werkzeug", "gunicorn", "redis"),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One server pressed once; `cpu` is how many seconds it computed, 0 where the system does not say."""

    rate: float
    total: int
    seconds: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Pair:
    """A sample of a variant, and the one of its base taken just before: a shared machine changes its speed within seconds."""

    own: Sample
    base: Sample

    @property
    def by_cpu(self) -> float | None:
        """The base's CPU time per request over the variant's: what `requests/s` would say on a machine without neighbours."""
        if not self.own.cpu or not self.base.cpu:  # 0 where the system does not say
            return None
        return (self.base.cpu / self.base.total) / (self.own.cpu / self.own.total)


def run(rounds: int, seconds: int, variants: tuple[Variant, ...], interpreter: str, patience: float) -> Report:
    """Measure `variants`, each `rounds` times for some seconds, each right after what it is compared with."""
    store = start_redis()
    log = start_postgres() if any(variant.log == "postgres" for variant in variants) else None
    url = "" if log is None else f"postgresql+asyncpg://postgres@127.0.0.1:{log.port}/postgres"
    place = Place(copy_of_tree(), interpreter, f"redis://127.0.0.1:{store.port}/0", cores(), url)
    for server in (store, log):
        if server is not None:
            pin(server.popen.pid, place.cores.load)
    for variant in variants:
        if variant.counts:
            prove(variant, place)
    with ExitStack() as running:
        servers = {variant.name: running.enter_context(Server(variant, place)) for variant in variants}
        for running_server in servers.values():
            press(running_server.port, running_server.variant.path, 1, place.cores.load, running_server.headers)
        pairs: dict[str, list[Pair]] = {variant.name: [] for variant in variants}
        for turn in range(rounds):
            for variant in variants if turn % 2 == 0 else reversed(variants):
                pairs[variant.name].append(least_disturbed(partial(pair, servers, variant, seconds, place), patience))
            print(f"round {turn + 1} of {rounds}", file=sys.stderr)
    facts = (*description(place.tree), *versions(variants, interpreter, store, seconds, rounds))
    for server in (store, log):
        if server is not None:
            server.stop()
    table = Table("Requests per second of one route", _COLUMNS, tuple([_row(v, pairs[v.name]) for v in variants]))
    return Report(facts, (table,))


def pair(
    servers: Mapping[str, Server], variant: Variant, seconds: float, place: Place, connections: int = CONNECTIONS
) -> tuple[Pair, float]:
    """The base of a variant and then the variant, pressed by so many connections; and which share others took of the core."""
    base, taken = _measure(servers[variant.against], seconds, place, connections)
    if variant.name == variant.against:
        return Pair(base, base), taken
    own, also_taken = _measure(servers[variant.name], seconds, place, connections)
    return Pair(own, base), max(taken, also_taken)


def _measure(server: Server, seconds: float, place: Place, connections: int) -> tuple[Sample, float]:
    """One sample, and which share of the server's core others took meanwhile."""
    core = min(place.cores.server, default=-1)
    used, busy = server.cpu_seconds(), busy_seconds().get(core, 0)
    outcome = press(server.port, server.variant.path, seconds, place.cores.load, server.headers, connections)
    used, busy = server.cpu_seconds() - used, busy_seconds().get(core, 0) - busy
    _check(server, outcome)
    return Sample(outcome.rate, outcome.total, outcome.seconds, used), max(0.0, busy - used) / outcome.seconds


def _check(server: Server, outcome: Outcome) -> None:
    """Say when a sample measured something else than its name, refuse it when most of it did."""
    variant = server.variant
    wrong = outcome.total - outcome.odd if variant.refuses else outcome.odd
    if wrong > 1:
        print(f"{variant.name}: {wrong} of {outcome.total} answers were not what it is about", file=sys.stderr)
    if wrong > outcome.total // 10:
        raise RuntimeError(f"{variant.name}: the sample means nothing")
    if variant.app in ("ours", "flask_ours") and variant.counts and not variant.refuses:
        _, headers = server.get()
        counted = int(headers["x-ratelimit-limit"]) - int(headers["x-ratelimit-remaining"])
        if counted < outcome.total * 0.99:
            print(f"{variant.name}: {counted} of {outcome.total} requests were counted", file=sys.stderr)


def _row(variant: Variant, pairs: Sequence[Pair]) -> tuple[str, ...]:
    ratios = [pair.own.rate / pair.base.rate for pair in pairs]
    costs = [pair.own.cpu / pair.own.total * 1e6 for pair in pairs if pair.own.cpu]
    by_cpu = [pair.by_cpu for pair in pairs if pair.by_cpu is not None]
    busy = [pair.own.cpu / pair.own.seconds * 100 for pair in pairs if pair.own.cpu]
    return (
        variant.name,
        f"{median(pair.own.rate for pair in pairs):,.0f}",
        middle(ratios),
        spread(ratios),
        middle(costs, "{:.1f}") if costs else "-",
        middle(by_cpu) if by_cpu else "-",
        middle(busy, "{:.0f} %") if busy else "-",
    )


def versions(
    variants: Sequence[Variant], interpreter: str, store: Proc, seconds: float, rounds: int, connections: str = str(CONNECTIONS)
) -> tuple[str, ...]:
    """What took part in a run."""
    base = "flask" if variants[0].forks else "here" if variants[0].environment == "here" else "ours"
    held = environments.versions(environments.python_of(base, interpreter))
    peers = sorted({v.environment for v in variants} - {base})
    found = [(p, environments.versions(environments.python_of(p, interpreter))) for p in peers]
    named = [f"{name} {held[name]}" for name in _SHOWN["flask" if variants[0].forks else "ours"] if name in held]
    named += [f"{peer} {packages.get(peer, '')}".strip() for peer, packages in found]
    return (
        f"python: {_python(interpreter)}; " + ", ".join(named),
        f"store: {store.origin}; load: {generator_name()}, {connections} keep-alive connections, {rounds} rounds of {seconds:g} s",
    )


def _python(interpreter: str) -> str:
    from subprocess import run as execute

    done = execute(
        [interpreter, "-c", "import platform; print(platform.python_version())"], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
