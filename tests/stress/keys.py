"""Many distinct subjects: what they take in memory and in Redis, what a check costs beside them, and what is left of them.

Each row is measured in a process of its own. Every subject is admitted once; then some are checked again. In memory the window
ends when the program says so; in Redis it has to be waited for.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import resource
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, TypeVar

import redis

from lockwatch.limits.buckets import Buckets
from lockwatch.limits.grammar import Limit
from lockwatch.limits.policy import Policy
from lockwatch.stores.connect import address_of
from lockwatch.stores.memory import MemoryStore
from lockwatch.stores.redis_async import AsyncRedisStore
from lockwatch.stores.redis_sync import RedisStore
from tests import servers
from tests.contract.bench import SECOND, START, Ask, admit

T = TypeVar("T")
QUOTA = 10
BLOCKS, BLOCK = 60, 100
SHARED = 1024
"""Buckets that subjects without room of their own share."""
_TOGETHER = 256
_PATIENT = 30.0


@dataclass(frozen=True)
class Row:
    """What one store did with so many subjects. Sizes in bytes, times in seconds."""

    store: str
    subjects: int
    process: int
    """By how much this process grew."""
    server: int
    """By how much the server grew."""
    check: float
    """A check of a subject that is known: the median of blocks."""
    kept: int
    """Buckets when all had come."""
    most: int
    """What there may be of them: those with room of their own, and those that share."""
    left: int
    """Buckets when the window was over."""
    after: float
    """Seconds it took them to go, from the end of the window on."""


class Names:
    """Store keys as an application makes them."""

    def __init__(self, window: float) -> None:
        self._policy = Policy(Limit(QUOTA, window), "calls", "calls:GET:/items/{item}")
        self._buckets = Buckets("lockwatch", b"a secret of many subjects")
        self._span = int(window * SECOND)

    def ask(self, number: int) -> Ask:
        """The question about one subject."""
        return Ask(self._buckets.key(self._policy, f"user:{number}"), QUOTA, self._span)


def resident() -> int:
    """Bytes of this process in memory; where the system does not say, the most there ever were."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def per_check(check: Callable[[int], Any], subjects: int) -> float:
    """Seconds of one check: the median of blocks of checks, each of any subject."""
    chosen = random.Random(7)
    found = []
    for _ in range(BLOCKS):
        numbers = [chosen.randrange(subjects) for _ in range(BLOCK)]
        began = time.perf_counter()
        for number in numbers:
            check(number)
        found.append((time.perf_counter() - began) / BLOCK)
    return median(found)


def in_memory(subjects: int, window: float, most: int) -> Row:
    """The memory store, with room for `most` buckets."""
    names, now = Names(window), START
    store = MemoryStore(most, lambda: now)
    before = resident()
    for number in range(subjects):
        store.call(admit(0, names.ask(number)))
    grown, kept = resident() - before, len(store)
    check = per_check(lambda number: store.call(admit(0, names.ask(number))), subjects)
    now += int(window * SECOND)
    late = 0
    while len(store) > late:  # nobody sweeps: what has ended goes when others come
        store.call(admit(0, names.ask(subjects + late)))
        late += 1
        assert late <= 2 * subjects + 2048, "ended buckets stay"
    name = "memory" if most >= subjects else f"memory, max_buckets={most:,}"
    return Row(name, subjects, grown, 0, check, kept, min(subjects, most + SHARED), len(store) - late, 0.0)


def in_redis(subjects: int, window: float, url: str) -> Row:
    """A server."""
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        names, store = Names(window), RedisStore(address_of(url), _PATIENT)
        store.call(admit(0, names.ask(subjects)))
        client.flushdb()
        before, used, began = resident(), _used(client), time.monotonic()
        asyncio.run(_fill(url, names, subjects))
        kept, grown, server = client.dbsize(), resident() - before, _used(client) - used
        assert time.monotonic() - began < window, f"a window of {window} seconds is too short for {subjects} subjects"
        check = per_check(lambda number: store.call(admit(0, names.ask(number))), subjects)
        end = time.monotonic() + window
        time.sleep(window)
        while (left := client.dbsize()) and time.monotonic() < end + 60:
            time.sleep(0.05)
        after = time.monotonic() - end
        store.close()
    return Row("Redis", subjects, grown, server, check, kept, subjects, left, after)


class Pace(NamedTuple):
    """Seconds of one check beside so many subjects: of new ones, of known ones, and of a `PING` in turns with these."""

    new: float
    known: float
    ping: float


def pace_in_memory(subjects: int) -> Pace:
    """The memory store, one check after the other."""
    names, store = Names(3600), MemoryStore(subjects, lambda: START)
    began = time.perf_counter()
    for number in range(subjects):
        store.call(admit(0, names.ask(number)))
    new = (time.perf_counter() - began) / subjects
    return Pace(new, per_check(lambda number: store.call(admit(0, names.ask(number))), subjects), 0.0)


def pace_in_redis(subjects: int, url: str) -> Pace:
    """A server: new subjects come 256 at a time, known ones are checked one at a time."""
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        names, store = Names(3600), RedisStore(address_of(url), _PATIENT)
        began = time.perf_counter()
        asyncio.run(_fill(url, names, subjects))
        new = (time.perf_counter() - began) / subjects
        pings, known = [], []
        for _ in range(3):
            pings.append(per_check(lambda _: client.ping(), subjects))
            known.append(per_check(lambda number: store.call(admit(0, names.ask(number))), subjects))
        store.close()
        client.flushdb()
    return Pace(new, median(known), median(pings))


def _used(client: Any) -> int:
    return int(client.info("memory")["used_memory"])


async def _fill(url: str, names: Names, subjects: int) -> None:
    store = AsyncRedisStore(address_of(url), _PATIENT)
    for first in range(0, subjects, _TOGETHER):
        numbers = range(first, min(first + _TOGETHER, subjects))
        await asyncio.gather(*[store.call(admit(0, names.ask(number))) for number in numbers])
    await store.aclose()


def apart(measure: Callable[..., T], *options: Any) -> T:
    """Measure in a process of its own, so that its memory says something."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(measure, *options).result()


HEAD = (
    "| Store | Subjects | Process grew by, bytes each | Redis grew by, bytes each | A check, us | To the first "
    "| Buckets kept | Left after the window |\n|---|---|---|---|---|---|---|---|"
)


def line(row: Row, first: Row) -> str:
    """One line of the table."""
    each = f"{row.process / row.subjects:,.0f}", f"{row.server / row.subjects:,.0f}" if row.server else ""
    times = f"{row.check * 1e6:.1f}", f"{row.check / first.check:.2f}"
    gone = f"{row.left:,}" + (f", {row.after:.1f} s after it" if row.server else "")
    cells = (row.store, f"{row.subjects:,}", *each, *times, f"{row.kept:,}", gone)
    return "| " + " | ".join(cells) + " |"


def measure(sizes: Sequence[int], window: float, most: int, url: str) -> list[Row]:
    """All rows, each printed as soon as it is there."""
    print(HEAD, flush=True)
    rows: list[Row] = []
    largest = max(sizes)
    plan: list[tuple[Callable[..., Row], int, Any]] = [(in_memory, size, largest) for size in sizes]
    plan += [(in_memory, largest, most), *[(in_redis, size, url) for size in sizes]]
    for one, size, option in plan:
        rows.append(apart(one, size, max(5.0, window * size / largest), option))
        print(line(rows[-1], next(row for row in rows if row.store[:6] == rows[-1].store[:6])), flush=True)
    return rows


def broken(row: Row) -> bool:
    """Whether a promise was: ended buckets left, or other buckets kept than those there may be."""
    return row.left != 0 or row.kept > row.most or (row.most == row.subjects and row.kept < row.most)


def describe(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 100_000, 1_000_000])
    parser.add_argument("--window", type=float, default=300, help="seconds; longer than it takes to admit all subjects")
    parser.add_argument("--max-buckets", type=int, default=200_000)


def run(options: argparse.Namespace) -> int:
    """Print the table of docs/benchmarks.md; 1 when a promise was broken."""
    server = servers.start_redis()
    rows = measure(options.sizes, options.window, options.max_buckets, f"redis://127.0.0.1:{server.port}/0")
    server.stop()
    return int(any(broken(row) for row in rows))
