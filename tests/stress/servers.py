"""Two application servers ask for the last request of a quota at the same time, again and again.

Each round has a bucket of its own with one request left. Counted are the rounds in which both were admitted, and none was. For
comparison the same is asked with a lock around a counter; in some rounds its holder pauses for longer than the lock lives.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Any

import redis
from redis.exceptions import LockError

from lockwatch.flow import Call
from lockwatch.stores.connect import address_of
from lockwatch.stores.redis_async import AsyncRedisStore
from lockwatch.stores.redis_sync import RedisStore
from tests import servers
from tests.contract.bench import SECOND, Ask, admit
from tests.topology import sites

QUOTA = 10
LIFE = 0.05
"""Seconds a lock lives when its holder does not come back."""
_PATIENT = 10.0
_HOUR = 3600 * SECOND
_EVERY = 20


@dataclass
class Outcome:
    """What two servers were told."""

    rounds: int
    both: int
    neither: int
    median: float
    """Seconds one decision takes."""

    def line(self, name: str) -> str:
        """One line of a table."""
        return f"{name:<44}{self.rounds:>8}{self.both:>8}{self.neither:>9}{self.median * 1e6:>12.0f}"


HEAD = f"{'':<44}{'rounds':>8}{'both':>8}{'neither':>9}{'median, us':>12}"


def play(url: str, rounds: int, locked: bool = False, pause: float = 0.0) -> Outcome:
    """Let two processes ask for the last request of `rounds` buckets."""
    (_lay_out_counters if locked else _lay_out)(url, rounds)
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    pipes, processes = [], []
    for who in range(2):
        here, there = context.Pipe(duplex=False)
        target = (_ask_locked, (url, rounds, pause * (not who))) if locked else (_ask, (url, rounds, bool(who)))
        processes.append(context.Process(target=target[0], args=(barrier, there, *target[1])))
        processes[-1].start()
        there.close()
        pipes.append(here)
    told: list[list[tuple[bool, float]]] = [pipe.recv() for pipe in pipes]
    for pipe, process in zip(pipes, processes, strict=True):
        pipe.close()
        process.join()
        process.close()
    admitted = [first[0] + second[0] for first, second in zip(*told, strict=True)]
    median = statistics.median(seconds for answers in told for _, seconds in answers)
    return Outcome(rounds, admitted.count(2), admitted.count(0), median)


def _call(turn: int, cost: int = 1) -> Call:
    return admit(0, Ask(f"{{round-{turn}}}", QUOTA, _HOUR, cost))


def _lay_out(url: str, rounds: int) -> None:
    store = RedisStore(address_of(url), _PATIENT)
    for turn in range(rounds):
        store.call(_call(turn, QUOTA - 1))
    store.close()


def _ask(barrier: Barrier, told: Connection, url: str, rounds: int, on_a_loop: bool) -> None:
    """One application server, with blocking code or an event loop."""
    told.send(asyncio.run(_ask_on_a_loop(barrier, url, rounds)) if on_a_loop else _ask_blocking(barrier, url, rounds))
    told.close()


def _ask_blocking(barrier: Barrier, url: str, rounds: int) -> list[tuple[bool, float]]:
    store = RedisStore(address_of(url), _PATIENT)
    store.call(Call("peek", (), (0,)))

    def decide(turn: int) -> bool:
        return store.call(_call(turn))[0] == 1

    told = [_timed(barrier, decide, turn) for turn in range(rounds)]
    store.close()
    return told


async def _ask_on_a_loop(barrier: Barrier, url: str, rounds: int) -> list[tuple[bool, float]]:
    store = AsyncRedisStore(address_of(url), _PATIENT)
    await store.call(Call("peek", (), (0,)))
    told = []
    for turn in range(rounds):
        barrier.wait()
        began = time.perf_counter()
        reply = await store.call(_call(turn))
        told.append((reply[0] == 1, time.perf_counter() - began))
    await store.aclose()
    return told


def _timed(barrier: Barrier, decide: Callable[[int], bool], turn: int) -> tuple[bool, float]:
    barrier.wait()
    began = time.perf_counter()
    return decide(turn), time.perf_counter() - began


# ----------------------------------------------------------------- for comparison
def _lay_out_counters(url: str, rounds: int) -> None:
    with redis.Redis.from_url(url) as client:
        for turn in range(rounds):
            client.set(f"counter-{turn}", QUOTA - 1, px=3_600_000)


def _ask_locked(barrier: Barrier, told: Connection, url: str, rounds: int, pause: float) -> None:
    with redis.Redis.from_url(url) as client:

        def decide(turn: int) -> bool:
            lock: Any = client.lock(f"lock-{turn}", timeout=LIFE, sleep=0.001)
            lock.acquire()
            used = int(client.get(f"counter-{turn}") or 0)
            if pause and not turn % _EVERY:
                time.sleep(pause)  # a collection of garbage, a swapped page, a stolen core
            if used < QUOTA:
                client.incr(f"counter-{turn}")
            try:
                lock.release()
            except LockError:
                pass  # it had lapsed
            return used < QUOTA

        told.send([_timed(barrier, decide, turn) for turn in range(rounds)])
    told.close()


# ------------------------------------------------------------------------ program
def describe(parser: argparse.ArgumentParser) -> None:
    """The options of this program."""
    parser.add_argument("--rounds", type=int, default=2000)


def run(options: argparse.Namespace) -> int:
    """Print what became of every way to decide. 1 when both servers were admitted by a script."""
    print(HEAD)
    outcomes = [*_scripts(options.rounds)]
    single = servers.start_redis()
    url = f"redis://127.0.0.1:{single.port}/0"
    for name, pause in (("a lock around a counter", 0.0), ("the same, its holder pauses in 1 of 20", 2 * LIFE)):
        print(play(url, options.rounds, locked=True, pause=pause).line(name), flush=True)
    single.stop()
    return int(any(outcome.both for outcome in outcomes))


def _scripts(rounds: int) -> Sequence[Outcome]:
    outcomes = []
    single = sites.Site([servers.start_redis()])
    for name, site in (("one server", single), ("cluster", sites.start_cluster()), ("sentinel", sites.start_sentinels())):
        with sites.running(site):
            url = f"redis://127.0.0.1:{site.nodes[0].port}/0" if site is single else site.url
            outcomes.append(play(url, rounds))
            print(outcomes[-1].line(f"one script, {name}"), flush=True)
    return outcomes
