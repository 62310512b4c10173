"""Many processes on one key of a real server: no window of any position may hold more than the quota."""

from __future__ import annotations

import argparse
import time
from bisect import bisect_left
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import redis

from lockwatch.stores.connect import address_of
from lockwatch.stores.redis_sync import RedisStore
from tests import servers
from tests.contract.bench import CONCURRENT, FLAGS, LOOSE, NAMES, SECOND, SET, WINDOW, Ask, admit, settle

QUOTA = 500
IN_FLIGHT = 20
PATIENT = 30.0
MODES = {
    NAMES[WINDOW]: WINDOW * FLAGS,
    f"{NAMES[WINDOW]}, may be given back": WINDOW * FLAGS + LOOSE,
    NAMES[SET]: SET * FLAGS,
    NAMES[CONCURRENT]: CONCURRENT * FLAGS,
}


@dataclass(frozen=True)
class Seen:
    """One admission: the server's clock showed something between these (microseconds). A lease was held all that time."""

    since: int
    until: int


@dataclass(frozen=True)
class Outcome:
    """What one algorithm admitted."""

    name: str
    quota: int
    asked: int
    admitted: int
    most: int

    @property
    def over(self) -> int:
        """How much more than the quota was admitted in the worst window."""
        return max(0, self.most - self.quota)


def work(url: str, mode: int, workers: int, seconds: float) -> tuple[int, list[Seen]]:
    """One process: when all are there, ask as fast as the server answers."""
    store, asked, seen = RedisStore(address_of(url), PATIENT, 1), 0, []
    ask = Ask("stress", IN_FLIGHT if mode // FLAGS == CONCURRENT else QUOTA, SECOND * (30 if mode // FLAGS == CONCURRENT else 1))
    ask = ask._replace(mode=mode)
    with redis.Redis.from_url(url) as client:
        client.incr("stress:ready")
        while int(client.get("stress:ready") or 0) < workers:
            time.sleep(0.01)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        since = time.time_ns() // 1000
        reply = store.call(admit(0, ask))
        until = time.time_ns() // 1000
        asked += 1
        if reply[0] != 1:
            continue
        if mode // FLAGS == CONCURRENT:
            time.sleep(0.002)
            seen.append(Seen(until, time.time_ns() // 1000))
            store.call(settle(0, (ask, reply[5], 0)))
        else:
            seen.append(Seen(since, until))
    store.close()
    return asked, seen


def most_in_a_window(seen: Sequence[Seen], span: int) -> int:
    """How many were, beyond doubt, admitted within one window, wherever it begins: it may begin at any `since`."""
    ends = sorted((s.until, s.since) for s in seen)
    begins = sorted(s.since for s in seen)
    most = 0
    for begin in begins:
        inside = bisect_left(ends, (begin + span, 0))
        # Those that ended in time, less those of them that may have been admitted before.
        most = max(most, inside - bisect_left(begins, begin))
    return most


def most_at_once(seen: Sequence[Seen]) -> int:
    """How many leases were held at the same time."""
    changes = sorted([(s.since, 1) for s in seen] + [(s.until, -1) for s in seen])
    held = most = 0
    for _, change in changes:
        held += change
        most = max(most, held)
    return most


def race(url: str, name: str, workers: int, seconds: float) -> Outcome:
    """All processes on one key."""
    mode, context = MODES[name], get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(workers, context) as pool:
        futures = [pool.submit(work, url, mode, workers, seconds) for _ in range(workers)]
        found = [future.result() for future in futures]
    seen = [s for _, some in found for s in some]
    leases = mode // FLAGS == CONCURRENT
    quota, most = (IN_FLIGHT, most_at_once(seen)) if leases else (QUOTA, most_in_a_window(seen, SECOND))
    return Outcome(name, quota, sum(asked for asked, _ in found), len(seen), most)


def describe(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60, help="per algorithm")


def run(options: argparse.Namespace) -> int:
    """Print a table; 1 if more than a quota was admitted."""
    workers, seconds = options.workers, options.seconds
    server = servers.start_redis()
    outcomes = []
    print(f"{workers} processes, one key, {seconds:g} seconds each, {server.origin}")
    print(f"{'algorithm':40} {'asked':>9} {'admitted':>9} {'quota':>6} {'most in a window':>17} {'over':>5}")
    for name in MODES:
        found = race(f"redis://127.0.0.1:{server.port}/{len(outcomes)}", name, workers, seconds)
        outcomes.append(found)
        print(f"{found.name:40} {found.asked:9,} {found.admitted:9,} {found.quota:6,} {found.most:17,} {found.over:5,}", flush=True)
    server.stop()
    return int(any(found.over or not found.admitted for found in outcomes))
