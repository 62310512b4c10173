"""What the audit log costs where it matters: in a request, on the worker, in the database. In processor time, which other work on
the machine changes least.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import tempfile
import threading
import time
from ipaddress import ip_address
from pathlib import Path
from statistics import median
from typing import Any, Final

from lockwatch import LockWatch
from lockwatch.audit.orphans import NAME
from lockwatch.audit.pack import note_of, packed
from lockwatch.audit.row import Row
from lockwatch.capture import Exchange
from lockwatch.client import Client
from lockwatch.event import HTTP
from lockwatch.limits.decision import Decision
from lockwatch.limits.grammar import parse
from lockwatch.spool.database import Database as Spool
from lockwatch.spool.directory import Directory
from lockwatch.spool.journal import Journal
from lockwatch.stream import Stream
from tests.benchmarks.table import Table, middle, spread

EVENTS: Final = 10_000
"""Events that are posted at once; a queue has room for more."""
RECORD: Final = 128
"""Rows in a record of a spool, as the recorder writes them."""
AGENT: Final = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
_TICK: Final = os.sysconf("SC_CLK_TCK")
_HEADERS: Final = (
    (b"host", b"shop.example.com"),
    (b"user-agent", AGENT.encode()),
    (b"accept", b"*/*"),
    (b"accept-encoding", b"gzip, deflate"),
    (b"connection", b"keep-alive"),
)


def exchanges(amount: int) -> list[tuple[Any, ...]]:
    """What an edge knows about as many requests."""
    limit = parse("100/minute")[0]
    decisions = [Decision(True, "default", limit, 99, 0.0, 1.0, 1, False, False, f"{i:016x}", 0.1) for i in range(amount)]
    texts = [f"203.0.{i % 250}.{i // 250 % 250}" for i in range(amount)]
    clients = [Client(ip_address(text), text, text) for text in texts]
    began = time.time_ns() // 1000
    head = ("GET", "/items/{id}")
    return [
        (HTTP, "request", began + i * 200, 1234, client, *head, f"/items/{i}", b"", _HEADERS, 200, 512, (decision,), decision.id)
        for i, (client, decision) in enumerate(zip(clients, decisions, strict=True))
    ]


def costs(url: str, rounds: int) -> Table:
    """Microseconds of processor time for each event: in the request, and on the worker, with everything it does."""
    known = exchanges(EVENTS)
    found = [("in the request: made and handed over", *_figures(_in_request(known, rounds)))]
    for name, options in (("on the worker: row, chain, COPY", {}), ("the same, through the spool", {"audit_synchronous": "full"})):
        with tempfile.TemporaryDirectory() as place:
            found.append((name, *_figures(asyncio.run(_on_worker(known, rounds, url, place, options)))))
    return Table("What an event costs, microseconds of our processor time", ("where", "median", "middle half"), tuple(found))


def _figures(values: list[float]) -> tuple[str, str]:
    return middle(values, "{:.1f}"), spread(values, "{:.1f}")


def _in_request(known: list[tuple[Any, ...]], rounds: int) -> list[float]:
    found = []
    for _ in range(rounds):
        stream = Stream()
        began = time.thread_time()
        for values in known:
            stream.post(Exchange(*values))
        found.append((time.thread_time() - began) / len(known) * 1e6)
    return found


async def _on_worker(known: list[tuple[Any, ...]], rounds: int, url: str, place: str, options: dict[str, Any]) -> list[float]:
    lockwatch = LockWatch(audit_database_url=url, spool_dir=place, **options)
    engine = lockwatch.engine
    assert engine.stream is not None
    found = []
    for _ in range(rounds + 1):
        for values in known:
            engine.stream.post(Exchange(*values))
        before, began = _written(lockwatch), _of_worker()
        while (health := lockwatch.health().audit) is not None and health.pending:
            await asyncio.sleep(0.1)
        found.append((_of_worker() - began) / max(_written(lockwatch) - before, 1) * 1e6)
    await lockwatch.aclose()
    return found[1:]  # the first one loads what is needed


def _of_worker() -> float:
    """Seconds of processor time of the thread in the background."""
    idents = [thread.ident for thread in threading.enumerate() if thread.name.startswith("lockwatch")]
    return sum(time.clock_gettime(time.pthread_getcpuclockid(ident)) for ident in idents if ident is not None)


def _written(lockwatch: LockWatch) -> int:
    health = lockwatch.health().audit
    return 0 if health is None else health.written


async def drained(url: str, connection: Any, server: int, made: list[Row], rounds: int) -> Table:
    """Rows per second from the spools of dead processes, by the command: its start and the deleting included."""
    took, ours, theirs = [], [], []
    with tempfile.TemporaryDirectory() as place:
        for _ in range(rounds):
            await asyncio.to_thread(_spool, Path(place), made)
            began, own, other = time.perf_counter(), _children(), processor_time(server)
            command = [sys.executable, "-m", "lockwatch.cli", "audit", "drain", "--database", url, "--spool-dir", place]
            process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
            assert await process.wait() == 0
            took.append(time.perf_counter() - began)
            ours.append((_children() - own) / len(made) * 1e6)
            theirs.append((processor_time(server) - other) / len(made) * 1e6)
            assert await connection.fetchval("SELECT count(*) FROM lockwatch_audit_log") == len(made)
            await connection.execute("TRUNCATE lockwatch_audit_log")
    rates = (f"{len(made) / median(took):,.0f}", f"{len(made) / min(took):,.0f}")
    row = (f"{len(made):,}", *rates, middle(ours, "{:.1f}"), middle(theirs, "{:.1f}"))
    columns = ("rows", "rows/s", f"best of {rounds}", "our CPU, us/row", "the server's")
    return Table("`lockwatch audit drain` into Postgres", columns, (row,))


def _spool(place: Path, made: list[Row]) -> None:
    """A spool that nobody has open."""
    journal = Journal(Spool(Directory(place, "lockwatch").claim(NAME), most=2**31))
    records = [made[i : i + RECORD] for i in range(0, len(made), RECORD)]
    journal.append([(n, note_of(rows), packed(rows)) for n, rows in enumerate(records, 1)], {})
    journal.close()


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def processor_time(pid: int) -> float:
    """Seconds of processor time of a process and its children, also of those that have ended."""
    with_ended, own = _times(pid, 4), sum(_times(child, 2) for child in _living(pid))
    return (with_ended + own) / _TICK


def _times(pid: int, amount: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(map(int, fields[11 : 11 + amount]))


def _living(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
