"""What detection costs: processor time on the path of a request, and memory under a flood of keys."""

from __future__ import annotations

import asyncio
import resource
import time
from statistics import median
from typing import Any

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from lockwatch import AnomalyConfig, LockWatch
from lockwatch.anomaly.detector import Detector
from lockwatch.anomaly.names import Names
from lockwatch.anomaly.tally import Tally
from tests.edges.asgi import http
from tests.simulation.world import HOUR, MONDAY, login

BLOCK, BLOCKS, RATE = 200, 30, 1000


async def _home(request: object) -> PlainTextResponse:
    return PlainTextResponse("hello")


def cost() -> str:
    """Requests of an application with and without detection, in turns, a thousand a second: the median difference."""
    return asyncio.run(_cost())


async def _cost() -> str:
    apps = [Starlette(routes=[Route("/", _home)]) for _ in range(3)]
    secret: dict[str, Any] = {"secret_key": "0123456789abcdef"}
    locks = [LockWatch(apps[0], **secret), LockWatch(apps[1], **secret), LockWatch(apps[2], **secret, anomaly=AnomalyConfig())]
    locks[1].engine.listen(_nobody)
    found: list[list[tuple[float, float]]] = [[], [], []]
    for _ in range(BLOCKS):
        for app, times in zip(apps, found, strict=True):
            times.append(await _block(app))
    for lock in locks:
        await lock.aclose()
    here = [median([1e6 * spent for spent, _ in times[2:]]) for times in found]
    behind = [median([1e6 * spent for _, spent in times[2:]]) for times in found]
    more = sorted(1e6 * (watched[0] - seen[0]) for seen, watched in zip(found[1], found[2], strict=True))
    return (
        f"us of the thread that answers, per request: {here[0]:.1f} without, {here[1]:.1f} where events are wanted (audit log), "
        f"{here[2]:.1f} with detection: {median(more):+.1f} more than those (half of {len(more)} blocks from "
        f"{more[len(more) // 4]:+.1f} to {more[-len(more) // 4]:+.1f}); us of the worker: {behind[1]:.1f} and {behind[2]:.1f}"
    )


async def _nobody(events: object) -> None:
    """Wants events and does nothing with them."""


async def _block(app: Starlette) -> tuple[float, float]:
    """Seconds of this thread, and of all others, for a request."""
    spent = 0.0
    begun, process, thread = time.perf_counter(), time.process_time(), time.thread_time()
    for number in range(BLOCK):
        before = time.thread_time()
        await http(app, "GET", "/", peer="203.0.113.7")
        spent += time.thread_time() - before
        await asyncio.sleep(max(0.0, begun + (number + 1) / RATE - time.perf_counter()))
    others = time.process_time() - process - (time.thread_time() - thread)
    return spent / BLOCK, others / BLOCK


def flood(keys: int, step: int = 4000) -> None:
    """Print the memory of a process whose detector sees so many addresses, each with a user and, one in 200, a tool of its own."""
    detector, names = Detector(), Names(b"flood")
    before = _most()
    for begin in range(0, keys, step):
        tally = Tally()
        for n in range(begin, min(begin + step, keys)):
            ip = f"{11 + n % 190}.{n // 190 % 250}.{n // 47_500 % 250}.{1 + n % 250}"
            tally.add(login(MONDAY + n * HOUR // 10_000, f"x{n}", ip, f"tool {n % 5000}", "failure"), names)
        detector.feed(tally)
        if (begin // step) % 25 == 24 or begin + step >= keys:
            print(f"{begin + step:>9,} addresses: {_most() - before:.0f} MB more than before, {detector.health()}", flush=True)
    print(f"the state is {len(detector.dump()) / 2**20:.1f} MB")


def _most() -> float:
    """Megabytes of the process at most, until now."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
