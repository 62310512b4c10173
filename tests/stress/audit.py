"""What the audit log loses: an application under load whose database, disk or life is taken away.

Clients note which requests were answered. Then rows are counted.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tests.failure.audited import Application, Found, Load, Postgres, listening, may_mount, until, verified
from tests.failure.proxy import Proxy


class Outcome(NamedTuple):
    """What a scenario cost.

    Attributes:
        answered: requests that were.
        rows: of requests, in the database.
        twice: requests with more than one row.
        missing: answered requests without a row.
        gaps: events that gaps declare lost.
        window: seconds from the answer of the earliest request missing to the kill that took its row, at the worst kill.
        usual: the same at the median kill.
        memory: bytes the process grew by.
        as_written: what `lockwatch audit verify` says.
        seconds: how long until everything had arrived after the trouble.
    """

    scenario: str
    answered: int
    rows: int
    twice: int
    missing: int
    gaps: int
    window: float
    usual: float
    memory: int
    as_written: bool
    seconds: float


@asynccontextmanager
async def loaded(load: Load) -> AsyncIterator[None]:
    """Clients at work in the background."""
    task = asyncio.create_task(load.run())
    try:
        yield
    finally:
        load.stopped = True
        await task


async def stopped(postgres: Postgres, seconds: float) -> None:
    """The database is away for the whole of the load."""
    await asyncio.to_thread(postgres.stop)
    await asyncio.sleep(seconds)


async def crashing(postgres: Postgres, seconds: float) -> None:
    """The database dies again and again, without a word."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        await asyncio.to_thread(postgres.stop, signal.SIGQUIT)
        await asyncio.sleep(0.3)
        await asyncio.to_thread(postgres.start)
        await asyncio.sleep(1.5)


async def cut_off(proxy: Proxy, seconds: float) -> None:
    """The way to the database stalls, hangs up and loses answers."""
    ends = time.monotonic() + seconds
    modes = ("reset", "drop", "half-close", "stall")
    for i in range(10_000):
        if time.monotonic() > ends:
            break
        proxy.become(modes[i % len(modes)])
        await asyncio.sleep(0.5)
        proxy.become("reset")  # whoever was stalled comes again
        proxy.become("pass")
        await asyncio.sleep(1.0)
    proxy.become("pass")


async def trouble(name: str, postgres: Postgres, port: int, what: Callable[[], Awaitable[None]], pause: float = 0.005) -> Outcome:
    """Load while something happens, and what arrived in the end."""
    with tempfile.TemporaryDirectory() as spool, listening() as listener:
        application = Application(postgres.url_at(port), Path(spool), listener).wait()
        before = application.health["rss"]
        load = Load(application.port, pause=pause)
        async with loaded(load):
            await asyncio.sleep(0.5)
            await what()
        memory = await asyncio.to_thread(lambda: application.health["rss"]) - before
        with suppress(AssertionError):
            postgres.stop()
        postgres.start()
        began = time.monotonic()
        await asyncio.to_thread(application.settled, 120)
        seconds = time.monotonic() - began
        await asyncio.to_thread(application.terminate)
        return await counted(name, postgres.url, load, memory=memory, seconds=seconds)


async def counted(
    name: str, url: str, load: Load, windows: Sequence[float] = (0.0,), memory: int = 0, seconds: float = 0.0
) -> Outcome:
    """Count."""
    found = await asyncio.to_thread(Found.at, url)
    as_written = bool((await asyncio.to_thread(verified, url))["as_written"])
    missing, rows = len(found.missing(load)), found.rows.total()
    worst, usual = max(windows), median(windows)
    return Outcome(name, len(load.answered), rows, len(found.twice), missing, found.lost, worst, usual, memory, as_written, seconds)


async def kills(postgres: Postgres, amount: int, dice: random.Random) -> Outcome:
    """The application is killed at random moments, and the next one adopts what it left."""
    load = Load(0)
    killed: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as spool, listening() as listener:
        load.port = listener.getsockname()[1]
        await asyncio.to_thread(made, Application(postgres.url, Path(spool), listener))
        async with loaded(load):
            for _ in range(amount):
                began = time.monotonic()
                application = Application(postgres.url, Path(spool), listener)
                before = len(load.answered)
                while len(load.answered) == before and time.monotonic() < began + 30:
                    await asyncio.sleep(0.005)
                await asyncio.sleep(dice.uniform(0, 0.4))
                killed[application.process.pid or 0] = await asyncio.to_thread(application.kill)
            last = await asyncio.to_thread(lambda: Application(postgres.url, Path(spool), listener).wait())  # also for who waits
        began = time.monotonic()
        await asyncio.to_thread(adopted, last, Path(spool))
        seconds = time.monotonic() - began
        await asyncio.to_thread(last.terminate)
    missing = (await asyncio.to_thread(Found.at, postgres.url)).missing(load)
    windows = dict.fromkeys(killed, 0.0)
    for number in missing:
        process = load.answered[number]
        windows[process] = max(windows[process], killed[process] - load.times[number])
    return await counted(f"{amount} kills", postgres.url, load, list(windows.values()), seconds=seconds)


def made(application: Application) -> None:
    """Have the tables made, as a deployment does before anything counts."""
    application.wait().ask("/p/0")
    application.settled()
    application.terminate()


def adopted(application: Application, spool: Path) -> None:
    """Wait until no spool but its own is left, and everything has arrived."""
    own = f".{application.health['pid']}-"
    until(lambda: all(own in path.name for path in spool.glob("*/audit.*.db")), 120)
    application.settled()


async def full_disk(postgres: Postgres, amount: int, limit: int = 600_000, small: int = 0) -> Outcome:
    """The database is away and the disk is full; then both come back. Files get `limit` bytes, or the disk itself has `small` ones,
    where we may mount one.
    """
    with tempfile.TemporaryDirectory() as directory, listening() as listener:
        small = small if small and await asyncio.to_thread(may_mount, directory) else 0
        application = Application(postgres.url, Path(directory), listener, disk=small).wait()
        load = Load(application.port)
        await load.run(0.5)
        await asyncio.to_thread(application.ask, "/-/flush")
        if not small:
            application.ask(f"/-/room/{limit}")
        await asyncio.to_thread(postgres.stop)
        step, sent = 2000, 1_000_000
        while sent < 1_000_000 + amount:
            assert await asyncio.to_thread(application.ask, f"/-/burst/{sent}/{step}") is None
            load.answered.update(dict.fromkeys(range(sent, sent + step), 0))
            sent += step
            await load.run(0.1)
        assert application.health["status"] == "degraded"
        if not small:
            application.ask("/-/room/0")
        await asyncio.to_thread(postgres.start)
        began = time.monotonic()
        await asyncio.to_thread(until, lambda: not application.health["pending"], 120)
        seconds = time.monotonic() - began
        await load.run(0.5)
        await asyncio.to_thread(application.terminate)
    return await counted("small disk" if small else "full disk", postgres.url, load, seconds=seconds)


HEAD = "Scenario | answered | rows | twice | missing | in gaps | window, ms | median, ms | MiB more | s to arrive | as written"
LINE = (
    "| {0.scenario} | {0.answered} | {0.rows} | {0.twice} | {0.missing} | {0.gaps} | "
    "{1:.0f} | {2:.0f} | {3:.1f} | {0.seconds:.1f} | {4} |"
)


def line(found: Outcome) -> str:
    """A row of the table in the documentation."""
    return LINE.format(found, found.window * 1000, found.usual * 1000, found.memory / 2**20, "yes" if found.as_written else "NO")


def describe(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("scenario", nargs="*", help="stopped, crashing, proxy, kills or disk; all by default")
    parser.add_argument("--seconds", type=float, default=60.0, help="of load, for each of the first three")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)


def run(options: argparse.Namespace) -> int:
    """Print a table; 1 when something is lost that nothing tells of."""
    print(f"| {HEAD} |")
    print("|---" * (HEAD.count("|") + 1) + "|")
    bad = 0
    for name, scenario in scenarios(options).items():
        if not options.scenario or name in options.scenario:
            found = asyncio.run(with_postgres(scenario))
            print(line(found), flush=True)
            bad += found.twice > 0 or not found.as_written or (name != "kills" and found.missing != found.gaps)
    return int(bad > 0)


def scenarios(options: argparse.Namespace) -> dict[str, Callable[[Postgres], Awaitable[Outcome]]]:
    """All of them."""
    seconds = options.seconds
    return {
        "stopped": lambda pg: trouble("database stopped", pg, pg.port, partial(stopped, pg, seconds)),
        "crashing": lambda pg: trouble("database crashing", pg, pg.port, partial(crashing, pg, seconds)),
        "proxy": lambda pg: behind_proxy(pg, seconds),
        "kills": lambda pg: kills(pg, options.kills, random.Random(options.seed)),
        "disk": lambda pg: full_disk(pg, 60_000),
        "small disk": lambda pg: full_disk(pg, 60_000, small=1_200_000),
    }


async def behind_proxy(postgres: Postgres, seconds: float) -> Outcome:
    """`cut_off`, through a proxy of its own."""
    proxy = Proxy(postgres.port)
    try:
        return await trouble("proxy", postgres, proxy.port, partial(cut_off, proxy, seconds))
    finally:
        proxy.close()


async def with_postgres(scenario: Callable[[Postgres], Awaitable[Outcome]]) -> Outcome:
    """A scenario with a database of its own."""
    postgres = await asyncio.to_thread(Postgres)
    try:
        return await scenario(postgres)
    finally:
        await asyncio.to_thread(postgres.close)
