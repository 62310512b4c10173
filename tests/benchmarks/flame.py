"""``flame``: a picture of where the thread that serves is, while a server of its own is pressed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeAlias

from tests.benchmarks.load import press
from tests.benchmarks.machine import copy_of_tree, cores
from tests.benchmarks.server import Place, Server
from tests.benchmarks.variants import Variant
from tests.servers import start_postgres, start_redis
from tests.svg import Box, flames

Stacks: TypeAlias = Counter[tuple[str, ...]]
VARIANTS: Final = {
    "memory": Variant("one limit, memory", "ours", "ours"),
    "redis": Variant("one limit, Redis", "ours", "ours", redis=True),
    "everything": Variant("everything on", "ours", "everything", redis=True, shows=True, log="postgres"),
}
KINDS: Final = ("lockwatch", "FastAPI and Starlette", "server", "other", "Redis client", "application")
_OF: Final = {"fastapi": 1, "starlette": 1, "uvicorn": 2, "redis": 4, "apps": 5}
_ASIDE: Final = ("selectors.py", "sampled.py")
"""Where a loop waits, and where it is watched."""
LARGEST: Final = 55_000
"""Bytes that a picture has at most: what is narrowest is left out until it fits."""


def run(names: Sequence[str], seconds: float, folder: Path, environment: str = "ours") -> list[Path]:
    """Draw the named variants. Returns: the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in names:
        stacks = sampled(VARIANTS[name], seconds, environment)
        written.append(folder / f"flame-{name}.svg")
        title = f"{VARIANTS[name].name}: where the thread that serves is, {stacks.total():,} samples"
        written[-1].write_text(picture(title, stacks), "utf-8")
    return written


def sampled(variant: Variant, seconds: float, environment: str) -> Stacks:
    """Stacks of a server under load, from the event loop on, without those in which it waits."""
    with ExitStack() as running, tempfile.TemporaryDirectory() as folder:
        store = start_redis()
        running.callback(store.stop)
        log = start_postgres() if variant.log else None
        if log is not None:
            running.callback(log.stop)
        url = f"postgresql+asyncpg://postgres@127.0.0.1:{log.port}/postgres" if log else ""
        place = Place(copy_of_tree(), sys.executable, f"redis://127.0.0.1:{store.port}/0", cores(), url)
        file = Path(folder) / "stacks.json"
        served = replace(variant, environment=environment)
        with Server(served, place, under=("tests.benchmarks.sampled", str(file))) as server:
            press(server.port, served.path, min(1, seconds), place.cores.load, server.headers)
            os.kill(server.pid, signal.SIGUSR1)
            press(server.port, served.path, seconds, place.cores.load, server.headers)
        shutil.rmtree(place.tree)
        return read(json.loads(file.read_text("utf-8")))


def read(found: Iterable[tuple[list[str], int]]) -> Stacks:
    """Stacks without what is the same in all of them; those of a loop that waits have nothing left."""
    stacks: Stacks = Counter()
    for stack, times in found:
        loop = max([at for at, function in enumerate(stack) if "/asyncio/runners.py:" in function], default=-1)
        rest = tuple([function for function in stack[loop + 1 :] if not function.rpartition(":")[0].endswith(_ASIDE)])
        serving = [at for at, function in enumerate(rest) if "/asyncio/" not in function]
        if serving:
            stacks[rest[serving[0] :]] += times
    return stacks


def picture(title: str, stacks: Stacks) -> str:
    """A flame graph that is not too large."""
    least = 0.0005
    while True:
        drawn = flames(title, boxes(stacks, least), KINDS)
        if len(drawn.encode()) <= LARGEST:
            return drawn
        least *= 1.3


def boxes(stacks: Stacks, least: float) -> list[Box]:
    """What stacks have in common is one box; siblings stand by name, and none is narrower than `least`."""
    whole = stacks.total() or 1
    made: list[Box] = []

    def place(found: list[tuple[tuple[str, ...], int]], depth: int, begin: float) -> None:
        groups: dict[str, list[tuple[tuple[str, ...], int]]] = {}
        for stack, times in found:
            if stack:
                groups.setdefault(stack[0], []).append((stack[1:], times))
        for function, inside in sorted(groups.items()):
            width = sum(times for _, times in inside) / whole
            if width >= least:
                made.append(Box(begin, width, depth, label(function), KINDS[kind(function)]))
                place(inside, depth + 1, begin)
            begin += width

    place(list(stacks.items()), 0, 0.0)
    return made


def label(function: str) -> str:
    """``stores/lane.py Lane.call`` for a function of ours, module and name for others."""
    file, _, name = function.rpartition(":")
    name, parts = name.replace("<locals>.", ""), Path(file).parts
    if "lockwatch" in parts:
        return f"{'/'.join(parts[parts.index('lockwatch') + 1 :])} {name}"
    return f"{Path(file).name} {name}"


def kind(function: str) -> int:
    """Whose a function is, as a place in `KINDS`: ours, or that of its innermost folder that is known."""
    parts = Path(function.rpartition(":")[0]).parts
    known = [_OF[part] for part in parts if part in _OF]
    return 0 if "lockwatch" in parts else known[-1] if known else KINDS.index("other")
