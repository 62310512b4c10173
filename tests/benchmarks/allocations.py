"""``allocations``: what one request allocates, stage by stage, how much it holds at once, and what of it survives."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from tests.benchmarks.inside import APPS, ROOT, Requests, shown
from tests.benchmarks.machine import description
from tests.benchmarks.table import Report, Table
from tests.benchmarks.tally import Codes, Spent, Tally, installed, staged
from tests.servers import start_postgres, start_redis


class Measured(NamedTuple):
    """An application, where its limit stands, whether it counts on Redis, shows a token, and has an audit log on PostgreSQL."""

    app: str
    place: str = "route"
    redis: bool = False
    shows: bool = False
    log: bool = False


VARIANTS: Final = {
    "bare FastAPI": Measured("bare"),
    "lockwatch, no limit": Measured("ours", "none"),
    "one limit, memory": Measured("ours"),
    "one limit, Redis": Measured("ours", redis=True),
    "limit and token, Redis": Measured("everything", redis=True, shows=True),
    "everything on": Measured("everything", redis=True, shows=True, log=True),
}
STAGES: Final = (
    ("application and framework", ()),
    ("event loop", ()),
    ("waiting", ()),
    (
        "entrance",
        ("fastapi/entrance.py", "fastapi/visit.py", "visit.py", "client.py", "passerby.py", "subjects.py", "doorkeeper.py"),
    ),
    ("plan", ("fastapi/guard.py", "fastapi/plan.py", "guard.py", "limits/plan.py", "fastapi/dependency.py", "fastapi/late.py")),
    ("token", ("tokens/", "identity.py", "inspection.py", "fastapi/auth.py", "fastapi/checkpoint.py")),
    ("decision", ("admission.py", "limits/", "flow.py", "keys.py", "settlement.py")),
    ("store", ("stores/", "link.py")),
    ("headers", ("headers.py", "fastapi/entrance.py:Doorman", "fastapi/visit.py:Visit.start")),
    ("event for the audit log", ("fastapi/witness.py", "capture.py", "stream.py", "event.py")),
    ("counters", ("metrics/", "notes.py")),
    ("elsewhere in lockwatch", ()),
)
"""What a request goes through, and the modules that do it. What libraries do is on the account of whoever calls them."""
LOOP = 1
WAITING = 2
COLUMNS: Final = ("", "allocations", "more", "kB asked for", "kB at once", "in cycles", "left behind", "gc in 1,000", "us of CPU")
BY_STAGE: Final = ("", "stage", "frames", "allocations", "kB asked for", "us of CPU", "share")
_WARM, _BLOCK, _PEAKS = 300, 25, 20
Found: TypeAlias = dict[str, Any]


def run(requests: int, python: Path, variants: Sequence[str] = tuple(VARIANTS)) -> Report:
    """Each variant in a process of its own, run by `python`, with a store and a database beside it where it needs them."""
    store = start_redis() if any(VARIANTS[name].redis for name in variants) else None
    log = start_postgres() if any(VARIANTS[name].log for name in variants) else None
    with tempfile.TemporaryDirectory() as spool:
        urls = (f"redis://127.0.0.1:{store.port}/0" if store else "", "")
        if log is not None:
            urls = (urls[0], f"postgresql+asyncpg://postgres@127.0.0.1:{log.port}/postgres")
        found = {name: _elsewhere(name, requests, python, urls, spool) for name in variants}
    for server in (store, log):
        if server is not None:
            server.stop()
    least = next(iter(found.values()))["allocations"]
    runs = next(iter(found.values()))
    facts = (*description(ROOT), f"python: {runs['python']}, {runs['loop']}; {requests} requests counted of each")
    whole = Table("One request", COLUMNS, tuple([_row(name, one, least) for name, one in found.items()]))
    parts = [row for name, one in found.items() for row in _stages(name, one)]
    return Report(facts, (whole, Table("By stage", BY_STAGE, tuple(parts))) if parts else (whole,))


def _row(name: str, one: Found, least: float | None) -> tuple[str, ...]:
    counted = ("-",) * 3
    if one["allocations"] is not None and least is not None:
        counted = (f"{one['allocations']:.0f}", f"{one['allocations'] - least:.0f}", f"{one['bytes'] / 1000:.1f}")
    rest = (f"{one['peak'] / 1000:.1f}", f"{one['cycles']:.2f}", f"{one['left']:.2f}", f"{one['runs']:.1f}", f"{one['cpu']:.0f}")
    return (name, *counted, *rest)


def _stages(name: str, one: Found) -> list[tuple[str, ...]]:
    """The stages a variant goes through; those that do nothing there are left out."""
    computing = sum(us for _, _, _, us in one["stages"]) or 1.0
    rows: list[tuple[str, ...]] = []
    for (stage, _), (made, size, frames, us) in zip(STAGES, one["stages"], strict=False):
        if max(made, frames) > 0.5:
            cost = (f"{us / computing * one['cpu']:.1f}", f"{100 * us / computing:.0f} %")
            rows.append((name, stage, f"{frames:.1f}", f"{made:.1f}", f"{size / 1000:.2f}", *cost))
    return rows


def _elsewhere(name: str, requests: int, python: Path, urls: tuple[str, str], spool: str) -> Found:
    one = VARIANTS[name]
    more = {"BENCH_LIMIT": "1000000/minute", "BENCH_PLACE": one.place, "BENCH_REDIS": urls[0] if one.redis else ""}
    more |= {"BENCH_AUDIT": urls[1] if one.log else "", "BENCH_SPOOL": spool}
    done = subprocess.run(
        [str(python), "-m", "tests.benchmarks.allocations", name, str(requests)],
        env={**os.environ, **more},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    measured: Found = json.loads(done.stdout)
    return measured


# ------------------------------------------------------------------ in the process measured
async def measured(name: str, count: int) -> Found:
    """The figures of one variant."""
    tally = installed()
    sys.path.insert(0, str(APPS))
    application = import_module(VARIANTS[name].app)
    requests = Requests(application.app, await shown(application) if VARIANTS[name].shows else "")
    await requests.send(_WARM)
    if set(requests.statuses) != {200}:
        raise RuntimeError(f"{name}: answered {set(requests.statuses)}")
    loop = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    found: Found = {"python": sys.version.split()[0], "loop": loop, "cpu": await _cpu(requests, count)}
    found |= {"allocations": None, "bytes": None, "stages": []}
    if tally is not None:
        found |= await _counted(requests, count, tally)
    return found | await _kept(requests, count) | {"peak": await _peak(requests)}


async def _cpu(requests: Requests, count: int) -> float:
    """Microseconds of one request: the lowest of blocks."""
    blocks = []
    for _ in range(max(4, count // _BLOCK)):
        began = time.thread_time_ns()
        await requests.send(_BLOCK)
        blocks.append((time.thread_time_ns() - began) / 1000 / _BLOCK)
    return min(blocks)


async def _counted(requests: Requests, count: int, tally: Tally) -> Found:
    gc.collect()
    before = tally.read()
    await requests.send(count)
    after = tally.read()
    with Codes() as codes:
        await requests.send(_BLOCK)
    tally.learn(staged(codes.seen, STAGES, ROOT / "lockwatch", WAITING))
    blocks = [await _block(requests, tally) for _ in range(max(4, count // _BLOCK))]
    stages = [_together(list(of_stage), tally.overhead()) for of_stage in zip(*blocks, strict=True)][: len(STAGES)]
    return {"allocations": (after[0] - before[0]) / count, "bytes": (after[1] - before[1]) / count, "stages": stages}


async def _block(requests: Requests, tally: Tally) -> list[Spent]:
    tally.begin(LOOP)
    await requests.send(_BLOCK)
    return tally.end()


def _together(blocks: Sequence[Spent], overhead: float) -> tuple[float, ...]:
    """Per request: means of what is counted, and the least time, without what counting adds."""
    each = len(blocks) * _BLOCK
    counted = [sum(getattr(block, name) for block in blocks) / each for name in ("allocations", "bytes", "frames")]
    least = min((block.ns - overhead * block.frames) / _BLOCK for block in blocks)
    return (*counted, max(0.0, least) / 1000)


async def _kept(requests: Requests, count: int) -> Found:
    """Objects that only the collector of cycles frees, objects that are there afterwards, and how often the collector ran."""
    await asyncio.sleep(0.3)
    gc.collect()
    before = len(gc.get_objects())
    gc.disable()
    await requests.send(count)
    cycles = gc.collect()
    gc.enable()
    await asyncio.sleep(0.3)  # what is told in the background has been told then
    gc.collect()
    left = len(gc.get_objects()) - before
    ran = sum(generation["collections"] for generation in gc.get_stats())
    await requests.send(count)
    ran = sum(generation["collections"] for generation in gc.get_stats()) - ran
    return {"cycles": cycles / count, "left": max(0, left) / count, "runs": 1000 * ran / count}


async def _peak(requests: Requests) -> float:
    """The most bytes that one request holds at once: the least of many, because the background may be at work at the same time."""
    tracemalloc.start()
    await requests.send(_PEAKS)
    found = []
    for _ in range(_PEAKS):
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        await requests.send(1)
        found.append(tracemalloc.get_traced_memory()[1] - before)
    tracemalloc.stop()
    return min(found)


def _loop() -> asyncio.AbstractEventLoop:
    """The event loop that servers run, where it is installed."""
    try:
        import uvloop  # type: ignore[import-not-found]  # in the environments of the benchmarks
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=_loop) as runner:
        print(json.dumps(runner.run(measured(sys.argv[1], int(sys.argv[2])))))
