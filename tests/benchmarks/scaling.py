"""``scaling``: what becomes of the requests per second with more connections, limits and workers, and of a check with more keys.

Each sample of ours is taken right after one of the bare application that is served in the same way, and each is written to a file
as soon as it is there: what the file has is not measured again.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.benchmarks.load import CONNECTIONS, press
from tests.benchmarks.machine import Cores, copy_of_tree, cores, description, pin
from tests.benchmarks.neighbours import least_disturbed
from tests.benchmarks.records import Record, append, read
from tests.benchmarks.server import Place, Server
from tests.benchmarks.throughput import Pair, pair, versions
from tests.benchmarks.variants import BARE, Variant
from tests.servers import Proc, start_redis
from tests.stress import keys

MEMORY: Final = Variant("lockwatch, memory", "ours", "ours")
REDIS: Final = Variant("lockwatch, Redis", "ours", "ours", redis=True)
ALONE: Final = Variant(BARE, "ours", "bare")


class Served(NamedTuple):
    """A curve of requests per second: how long it is, what is measured along it, and how a variant is served at one point."""

    points: tuple[int, ...]
    variants: tuple[Variant, ...]
    served: Callable[[Variant, int], Variant]
    connections: Callable[[int], int]
    spread_out: bool = False
    """Whether servers and load may use all cores, because there are more servers than one."""


def _more_limits(variant: Variant, point: int) -> Variant:
    return replace(variant, limits=point)


def _more_workers(variant: Variant, point: int) -> Variant:
    return replace(variant, workers=point)


CURVES: Final = {
    "concurrency": Served((1, 2, 4, 8, 16, 32, 64, 128, 256, 512), (REDIS,), lambda variant, _: variant, lambda point: point),
    "limits": Served((1, 2, 3, 4, 6, 8), (MEMORY, REDIS), _more_limits, lambda _: CONNECTIONS),
    "workers": Served((1, 2, 4, 8), (REDIS,), _more_workers, lambda _: 2 * CONNECTIONS, True),
}
KEYS: Final = (1_000, 10_000, 100_000, 1_000_000)
ALL: Final = (*CURVES, "keys")


class Amount(NamedTuple):
    """How much is measured.

    Attributes:
        rounds: per point.
        seconds: per sample.
        largest: no point of a curve is beyond it; 0: all points.
        patience: seconds to wait for a quiet machine before each sample.
        environment: of the servers, a key of `environments.WANTED` or ``here``.
    """

    rounds: int
    seconds: float
    largest: int
    patience: float = 0
    environment: str = "ours"


def run(chosen: Sequence[str], amount: Amount, file: Path | None) -> list[Record]:
    """Measure curves. Returns: all records of the file, or of this run where there is none."""
    found = read([file] if file else [])
    store = start_redis()
    place = Place(copy_of_tree(), sys.executable, f"redis://127.0.0.1:{store.port}/0", cores())
    for record in _measured(chosen, amount, place, store, frozenset(map(_place_of, found))):
        append(file, record)
        found.append(record)
    store.stop()
    shutil.rmtree(place.tree)
    return found


def _measured(chosen: Sequence[str], amount: Amount, place: Place, store: Proc, done: frozenset[object]) -> Iterator[Record]:
    for name in chosen:
        yield {"curve": name, "facts": _facts(name, amount, place, store)}
        if name == "keys":
            yield from _keys(amount, place, done)
        else:
            pin(store.popen.pid, _spread().load if CURVES[name].spread_out else place.cores.load)
            yield from _served(name, amount, place, done)


def _facts(name: str, amount: Amount, place: Place, store: Proc) -> tuple[str, ...]:
    pressed = [CURVES[name].connections(point) for point in CURVES[name].points] if name in CURVES else [1]
    many = f"{pressed[0]} to {pressed[-1]}" if pressed[0] != pressed[-1] else str(pressed[0])
    held = versions([replace(ALONE, environment=amount.environment)], place.interpreter, store, amount.seconds, amount.rounds, many)
    if name == "keys":
        held = (held[0], f"store: {store.origin}, its load the program itself")
    return (*description(place.tree), *held)


def _place_of(record: Record) -> object:
    return tuple(record.get(part) for part in ("curve", "point", "variant", "round"))


# ------------------------------------------------------------------ served by uvicorn
def _served(name: str, amount: Amount, place: Place, done: frozenset[object]) -> Iterator[Record]:
    curve = CURVES[name]
    place = replace(place, cores=_spread()) if curve.spread_out else place
    for point in [point for point in curve.points if point <= (amount.largest or point)]:
        missing = [
            (turn, variant.name)
            for turn in range(amount.rounds)
            for variant in curve.variants
            if (name, point, variant.name, turn) not in done
        ]
        if missing:
            print(f"{name}: {point}", file=sys.stderr)
            yield from _point(name, curve, point, missing, amount, place)


def _point(
    name: str, curve: Served, point: int, missing: Sequence[tuple[int, str]], amount: Amount, place: Place
) -> Iterator[Record]:
    served = [replace(variant, environment=amount.environment) for variant in (ALONE, *curve.variants)]
    variants = {variant.name: curve.served(variant, point) for variant in served}
    connections = curve.connections(point)
    with ExitStack() as running:
        servers = {own: running.enter_context(Server(variant, place)) for own, variant in variants.items()}
        for server in servers.values():
            press(server.port, server.variant.path, min(1, amount.seconds), place.cores.load, (), connections)
        for turn, own in missing:
            measure = partial(pair, servers, variants[own], amount.seconds, place, connections)
            yield _sample(name, point, own, turn, _answered(measure, amount.patience), connections)


def _answered(measure: Callable[[], tuple[Pair, float]], patience: float) -> Pair:
    """A pair of samples that were both answered: on a busy machine a short one may not be. Raises: RuntimeError."""
    for _ in range(10):
        found = least_disturbed(measure, patience)
        if found.own.total and found.base.total:
            return found
    raise RuntimeError("a server answers nothing in the time of a sample")


def _sample(name: str, point: int, variant: str, turn: int, taken: Pair, connections: int) -> Record:
    return {
        "curve": name,
        "point": point,
        "variant": variant,
        "round": turn,
        "connections": connections,
        "rate": taken.own.rate,
        "bare": taken.base.rate,
        "cpu": taken.own.cpu / taken.own.total * 1e6,
        "bare_cpu": taken.base.cpu / taken.base.total * 1e6,
    }


def _spread() -> Cores:
    every = frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else frozenset[int]()
    return Cores(every, every)


# ---------------------------------------------------------------------- many keys
def _keys(amount: Amount, place: Place, done: frozenset[object]) -> Iterator[Record]:
    stores: dict[str, tuple[Callable[..., keys.Pace], tuple[Any, ...]]] = {
        "memory": (keys.pace_in_memory, ()),
        "Redis": (keys.pace_in_redis, (place.redis,)),
    }
    for point in [point for point in KEYS if point <= (amount.largest or point)]:
        for name, (measure, options) in stores.items():
            if ("keys", point, name, 0) not in done:
                print(f"keys: {point:,} in {name}", file=sys.stderr)
                yield {
                    "curve": "keys",
                    "point": point,
                    "variant": name,
                    "round": 0,
                    **keys.apart(measure, point, *options)._asdict(),
                }
