"""The example applications under full load for minutes, while store, database and workers are taken away and come back.

Time is made short where it can be: access tokens live for 20 seconds, and are refreshed every ten. What is told in the end: memory
over time, whether each answered request has its row in the audit log, and the most that was admitted in any window between two
faults of the store. A store that dies forgets what it counted, so windows are not looked at across its faults.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.audit.tampering import command, summary
from tests.stress.admission import Seen, most_in_a_window
from tests.stress.soak_clients import ADDRESSES, Author, Chatter, Notes, Wire, burst, forever, guesser, read, talk
from tests.stress.soak_site import NAMES, Found, Site

MINUTE: Final = 60_000_000
CALM: Final = 8.0
"""Seconds after a fault of the store until every process asks it again."""
FLAT: Final = 2048.0
"""KiB a minute that a process may grow by at most: rows that waited for a database leave the heap a little larger."""
FREE: Final = [f"free-{n}" for n in range(10)]
PRO: Final = [f"pro-{n}" for n in range(2)]
TALKERS: Final = [f"talker-{n}" for n in range(3)]
AUTHORS: Final = [f"author-{n}" for n in range(8)]
VICTIMS: Final = {name: f"victim-of-{name}" for name in NAMES}
QUOTAS: Final = {"messages": 20, "messages of sockets": 20, "writing": 10, "guesses": 5}
TOKENS: Final = 2000


class Sample(NamedTuple):
    """Memory of the processes that last, some seconds after the beginning."""

    at: float
    memory: dict[str, int]


class Judged(NamedTuple):
    """The most that was taken from one kind of quota in any window, by whoever took most."""

    what: str
    admitted: int
    most: int
    quota: int


# ---------------------------------------------------------------------- the load
async def load(site: Site, notes: Notes, seed: int) -> None:
    """All clients, until they are stopped."""
    bot, stories = site.ports["chronobot"], site.ports["livestotell"]

    def wire(port: int, number: int) -> Wire:
        return Wire(port, notes, random.Random(seed * 1000 + number))

    clients = []
    for number, name in enumerate([*FREE, *FREE[5:], *PRO, *PRO]):
        dice = random.Random(seed * 1000 + 500 + number)
        clients.append(forever(notes, wire(bot, number), Chatter(name, number < 5, dice).turn))
    for number, name in enumerate([*AUTHORS, *AUTHORS[4:]], 100):
        dice = random.Random(seed * 1000 + 500 + number)
        clients.append(forever(notes, wire(stories, number), Author(name, number < 104, dice).turn))
    clients += [talk(notes, bot, name, random.Random(seed * 1000 + 200 + number)) for number, name in enumerate(TALKERS)]
    clients += [forever(notes, wire(stories, 300 + number), read) for number in range(4)]
    clients += [forever(notes, wire(bot, 400), burst)]
    clients += [forever(notes, wire(port, 401 + port), guesser(VICTIMS[name])) for name, port in site.ports.items()]
    await asyncio.gather(*clients)


async def trouble(site: Site, notes: Notes, cycle: float, calm: list[tuple[int, int]]) -> None:
    """Faults, cycle after cycle. Notes when the store was whole."""
    turn, since = 0, _now()
    try:
        while True:
            for _ in range(2):
                await asyncio.sleep(cycle * 0.15)
                await site.renew_bot()
                await asyncio.sleep(cycle * 0.1)
                await site.renew_worker()
                notes.counts["processes renewed"] += 2
            await asyncio.sleep(cycle * 0.1)
            await site.without_postgres(cycle * 0.1)
            notes.counts["times without PostgreSQL"] += 1
            await asyncio.sleep(cycle * 0.2)
            calm.append((since, _now()))
            if turn % 2:
                await site.freeze_store(cycle / 50)
                notes.counts["times the store froze"] += 1
            else:
                await site.kill_store(cycle / 50)
                notes.counts["times the store was killed"] += 1
            await asyncio.sleep(min(CALM, cycle * 0.1))
            turn, since = turn + 1, _now()
    finally:
        calm.append((since, _now()))


async def peace(calm: list[tuple[int, int]]) -> None:
    """No faults at all."""
    since = _now()
    try:
        await asyncio.Event().wait()
    finally:
        calm.append((since, _now()))


async def watch(site: Site, samples: list[Sample], every: float) -> None:
    """Note what memory is used, and have it looked into."""
    began = time.monotonic()
    while True:
        await asyncio.sleep(every)
        samples.append(Sample(time.monotonic() - began, site.memory()))
        site.look()


async def soak(
    site: Site, minutes: float, seed: int, calm_only: bool = False, addresses: int = ADDRESSES
) -> tuple[Notes, list[Sample], list[tuple[int, int]]]:
    """Load and faults for so long."""
    notes, samples, calm = Notes(addresses=addresses), list[Sample](), list[tuple[int, int]]()
    loading = asyncio.create_task(load(site, notes, seed))
    others = [
        asyncio.create_task(peace(calm) if calm_only else trouble(site, notes, min(150.0, minutes * 30), calm)),
        asyncio.create_task(watch(site, samples, minutes * 1.5)),
    ]
    done, _ = await asyncio.wait([loading, *others], timeout=minutes * 60, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
    notes.stopped = True
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.wait_for(loading, 120)
    await asyncio.to_thread(site.mend)
    return notes, samples, calm


def _now() -> int:
    return time.time_ns() // 1000


# ------------------------------------------------------------------------ judging
def judged(notes: Notes, calm: Sequence[tuple[int, int]]) -> list[Judged]:
    """What was taken from each kind of quota."""
    found = []
    for what, quota in QUOTAS.items():
        admitted = {name: seen for (kind, name), seen in notes.admitted.items() if kind == what and not name.startswith("pro-")}
        most = [most_in_a_window(_within(seen, span), MINUTE) for seen in admitted.values() for span in calm]
        found.append(Judged(f"{what} a minute", sum(map(len, admitted.values())), max(most, default=0), quota))
    spent = {name: taken for name, taken in notes.spent.items() if not name.startswith("pro-")}
    sums = [sum(cost for seen, cost in taken if _inside(seen, span)) for taken in spent.values() for span in calm]
    everything = sum(cost for taken in spent.values() for _, cost in taken)
    return [*found, Judged("tokens a day, as settled", everything, max(sums, default=0), TOKENS)]


def _within(seen: Iterable[Seen], span: tuple[int, int]) -> list[Seen]:
    return [one for one in seen if _inside(one, span)]


def _inside(seen: Seen, span: tuple[int, int]) -> bool:
    return span[0] <= seen.since and seen.until <= span[1]


def slope(samples: Sequence[Sample], name: str) -> float:
    """KiB a minute by least squares, over the last two thirds: the first is for what fills up once."""
    points = [(sample.at / 60, sample.memory[name] / 1024) for sample in samples[len(samples) // 3 :]]
    if len(points) < 2:
        return 0.0
    middle = sum(x for x, _ in points) / len(points)
    return sum((x - middle) * y for x, y in points) / sum((x - middle) ** 2 for x, _ in points)


def unaccounted(notes: Notes, found: Found) -> int:
    """Answered requests that no row, no row for several and no gap stands for."""
    missing = sum(name not in found.statuses for name in notes.answered)
    return max(0, missing - found.folded - found.gaps)


# ------------------------------------------------------------------------ program
def describe(parser: argparse.ArgumentParser) -> None:
    """Options."""
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--calm", action="store_true", help="without faults")
    parser.add_argument("--addresses", type=int, default=ADDRESSES, help="from which clients come; few fill every table soon")


def run(options: argparse.Namespace) -> int:
    """Print what was counted; 1 when anything was lost, admitted beyond a quota, a 500, or memory grew."""
    with tempfile.TemporaryDirectory(prefix="lw-soak-") as place:
        site = Site(Path(place))
        try:
            free = dict.fromkeys([*FREE, *TALKERS, *VICTIMS.values()], "free")
            site.people(free | dict.fromkeys(PRO, "pro"), [*AUTHORS, *VICTIMS.values()])
            site.start()
            began = os.getloadavg()[0]
            notes, samples, calm = asyncio.run(soak(site, options.minutes, options.seed, options.calm, options.addresses))
            print(f"{options.minutes:g} minutes; load of the machine {began:.1f} before, {os.getloadavg()[0]:.1f} after")
            site.stop()
            found, looked = site.found(), site.looked()
            whole = {name: bool(summary(command("verify", site.url(name), "--json"))["as_written"]) for name in NAMES}
            said = site.said() if notes.wrong else ""
        finally:
            site.close()
    code = report(notes, samples, calm, found, whole)
    print("".join([f"\n{name}: {anatomy(lines)}\n" for name, lines in looked.items()]) + said)
    return code


def report(notes: Notes, samples: Sequence[Sample], calm: Sequence[tuple[int, int]], found: Found, whole: dict[str, bool]) -> int:
    """Print everything. Returns: 1 when something is wrong."""
    for what, number in sorted(notes.counts.items()):
        print(f"{what:32} {number:9,}")
    print(f"\nanswered {len(notes.answered):,}, without a whole answer {notes.failed:,}")
    ours = sum(name in notes.answered for name in found.statuses)
    lost, other = unaccounted(notes, found), _different(notes, found)
    print(f"rows of answered requests {ours:,}, of others {len(found.statuses) - ours:,}, folded into others {found.folded:,}")
    print(f"in gaps {found.gaps:,}, rows twice {found.twice:,}, statuses that differ {other:,}, unaccounted for {lost:,}")
    kinds = ", ".join(f"{kind} {number:,}" for kind, number in sorted(found.kinds.items()))
    if lost:
        print(_missing(notes, found))
    print(f"events by kind: {kinds}; as written: {whole}\n")
    print(f"{'quota':28} {'admitted':>9} {'most in a window':>17} {'quota':>6}")
    quotas = judged(notes, calm)
    for row in quotas:
        print(f"{row.what:28} {row.admitted:9,} {row.most:17,} {row.quota:6,}")
    growing = [_told(samples, name) for name in NAMES]
    print("\n".join(notes.wrong[:20]))
    over = any(row.most > row.quota for row in quotas)
    return int(bool(lost or other or found.twice or over or notes.wrong or not all(whole.values()) or any(growing)))


def _told(samples: Sequence[Sample], name: str) -> bool:
    """Print the memory of a process; whether it grows."""
    series = " ".join(f"{sample.memory[name] / 2**20:.0f}" for sample in samples)
    growth = slope(samples, name)
    print(f"\nMiB of the {name} process that lasts: {series}\nslope over the last two thirds: {growth:+.0f} KiB a minute")
    return growth > FLAT


def anatomy(looked: Sequence[dict[str, Any]]) -> str:
    """What the memory of a process was made of over time, as a table: MiB, thousands, and the kinds of objects that became more."""
    sizes, counts = ("resident", "trimmed", "used", "free"), ("blocks", "objects")
    rows = []
    for one in looked:
        cells = [one.get(name, 0) / 2**20 for name in sizes] + [one[name] / 1000 for name in counts]
        rows.append("".join([f"{cell:10.1f}" for cell in cells]) + f"{one['threads']:9}")
    head = "".join([name.rjust(10) for name in (*sizes, *counts)]) + "  threads"
    middle, last = looked[len(looked) // 2]["kinds"], looked[-1]["kinds"]
    more = sorted([(number - middle.get(kind, 0), kind) for kind, number in last.items()], reverse=True)[:8]
    return "\n".join(["", head, *rows, f"in the second half more: {', '.join([f'{kind} {grown:+,}' for grown, kind in more])}"])


def _missing(notes: Notes, found: Found) -> str:
    """Where and when requests were answered that left no row: port, ten seconds, how many."""
    begun = min([at for _, at in notes.places.values()], default=0.0)
    gone = [(*notes.places.get(name, (0, begun)), status) for name, status in notes.answered.items() if name not in found.statuses]
    places = Counter((port, int(at - begun) // 10 * 10) for port, at, _ in gone)
    statuses = Counter(status for *_, status in gone)
    return f"missing: {statuses}; " + ", ".join(f"{port} at {at} s: {number}" for (port, at), number in sorted(places.items()))


def _different(notes: Notes, found: Found) -> int:
    return sum(notes.answered.get(name, status) != status for name, status in found.statuses.items())
