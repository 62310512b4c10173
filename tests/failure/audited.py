"""An audited application in a process of its own, which is killed, starved and cut off, and clients that note what was answered."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import re
import resource
import signal
import socket
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import asyncpg

from tests import servers
from tests.audit.stored import fetch
from tests.audit.tampering import command, sql, summary

NAMESPACE = "shop"
_NEW_MOUNTS, _NEW_USER, _PRIVATE = 0x20000, 0x10000000, 0x44000
_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "tests.failure.audited",
        "uvicorn.protocols.http.auto",
        "uvicorn.lifespan.on",
        "h11",
        "fastapi",
        "pydantic.v1",
        "lockwatch.fastapi",
        "lockwatch.audit.recorder",
        "lockwatch.audit.sinks.postgres",
        "asyncpg",
    ]
)


# --------------------------------------------------------------- the application
def build(options: dict[str, Any]) -> Any:
    """The application: one route that is counted, others to look into it and to starve it."""
    from fastapi import FastAPI

    from lockwatch import LockWatch
    from lockwatch.event import HTTP, Event

    app, control = FastAPI(), FastAPI()
    lockwatch = LockWatch(app, **{"namespace": NAMESPACE, **options})

    @app.get("/p/{number}")
    async def p(number: int) -> tuple[int, int]:
        return number, os.getpid()

    @control.get("/-/health")
    async def health() -> dict[str, Any]:
        found = lockwatch.health()
        assert found.audit is not None
        names = ("problems", "written", "pending", "in_memory", "lost", "adopted", "foreign", "spool_bytes")
        rss = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
        return {"status": found.status, "rss": rss, "pid": os.getpid()} | {n: getattr(found.audit, n) for n in names}

    @control.get("/-/flush")
    async def flush() -> None:
        await lockwatch.flush()

    @control.get("/-/burst/{first}/{amount}")
    async def burst(first: int, amount: int) -> None:
        """As many requests as that, without the way through HTTP."""
        stream = lockwatch.engine.stream
        assert stream is not None
        for number in range(first, first + amount):
            stream.post(
                Event(time_us=time.time_ns() // 1000, kind=HTTP, action="request", path=f"/p/{number}", method="GET", status=200)
            )
            if number % 200 == 0:
                await asyncio.sleep(0.004)

    @control.get("/-/fork/{first}/{amount}")
    async def fork(first: int, amount: int) -> int:
        """As many requests by a child, which ends well; its exit status."""
        return await asyncio.to_thread(_forked, lockwatch.engine, first, amount)

    @control.get("/-/room/{size}")
    async def room(size: int) -> None:
        """Files of this process may have so many bytes; 0 for any."""
        most = size or resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    async def both(scope: Any, receive: Any, send: Any) -> None:
        """What looks into the application leaves no event in it."""
        aside = scope["type"] == "http" and scope["path"].startswith("/-/")
        await (control if aside else app)(scope, receive, send)

    return both


def _forked(engine: Any, first: int, amount: int) -> int:
    from lockwatch.event import HTTP, Event

    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        for number in range(first, first + amount):
            engine.stream.post(Event(time_us=time.time_ns() // 1000, kind=HTTP, action="request", path=f"/p/{number}"))
        os._exit(0 if engine.flush_sync() else 1)
    finally:
        os._exit(2)


def own_disk(place: str, size: int) -> bool:
    """Mount a file system in memory for this process alone; False where that is not permitted. Called before there are threads."""
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.getuid(), os.getgid()
    if libc.unshare(_NEW_MOUNTS) and libc.unshare(_NEW_MOUNTS | _NEW_USER):
        return False
    with contextlib.suppress(OSError):  # in a user namespace of our own; else it was root's and needs none
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    libc.mount(b"none", b"/", None, _PRIVATE, None)
    return not libc.mount(b"tmpfs", place.encode(), b"tmpfs", 0, f"size={size},mode=700,uid={uid},gid={gid}".encode())


def may_mount(place: str) -> bool:
    """Whether `own_disk` is permitted here."""
    child = _CONTEXT.Process(target=_mount_or_not, args=(place,))
    child.start()
    child.join(30)
    return child.exitcode == 0


def _mount_or_not(place: str) -> None:
    os._exit(0 if own_disk(place, 2**20) else 1)


def _serve(listener: socket.socket, options: dict[str, Any], disk: int) -> None:
    import uvicorn

    if disk:
        assert own_disk(options["spool_dir"], disk)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server = uvicorn.Server(uvicorn.Config(build(options), log_level="critical", timeout_graceful_shutdown=2))
    server.run(sockets=[listener])


# --------------------------------------------------------------- its process
class Application:
    """One process. Its port outlives it: clients come back to the next.

    Args:
        url: of the audit database.
        spool: directory of the spools.
        disk: bytes of a file system of its own that the spools are on; 0 for that of the directory.
        options: more, of `LockWatch`.
    """

    def __init__(self, url: str, spool: Path, listener: socket.socket, disk: int = 0, **options: Any) -> None:
        self.port: int = listener.getsockname()[1]
        given = {"audit_database_url": url, "spool_dir": str(spool), **options}
        self.process = _CONTEXT.Process(target=_serve, args=(listener, given, disk), daemon=True)
        self.process.start()

    def wait(self) -> Application:
        """Until it answers."""
        until(lambda: self.ask("/-/health") is not None)
        return self

    def ask(self, path: str, seconds: float = 30) -> Any:
        """The answer to one request; None when there is none."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=seconds) as answer:
                return json.loads(answer.read())
        except OSError:
            return None

    @property
    def health(self) -> dict[str, Any]:
        """How its audit log does."""
        found = self.ask("/-/health")
        assert isinstance(found, dict)
        return found

    def settled(self, seconds: float = 60) -> None:
        """Until everything has arrived, orphans included."""

        def all_there() -> bool:
            found = self.health
            return not found["pending"] and not found["problems"]

        until(all_there, seconds)

    def kill(self) -> float:
        """SIGKILL. Returns: when."""
        now = time.monotonic()
        self.process.kill()
        self.process.join(20)
        return now

    def terminate(self) -> None:
        """SIGTERM, and wait until it has ended."""
        self.process.terminate()
        self.process.join(30)
        assert self.process.exitcode is not None


@contextlib.contextmanager
def listening() -> Iterator[socket.socket]:
    """A port for one application after another."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        yield listener


def until(true: Callable[[], object], seconds: float = 30, pause: float = 0.05) -> None:
    """Wait until something is true. Raises: AssertionError."""
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends, f"not within {seconds} s"
        time.sleep(pause)


# --------------------------------------------------------------- its clients
@dataclass
class Load:
    """What clients sent and when the answers were there.

    Attributes:
        answered: number of the request, and the process that answered it.
        times: when the client had the answer, on the monotonic clock.
        failed: requests that got no answer, or none that is whole: they may have left a row, or not.
    """

    port: int
    clients: int = 8
    pause: float = 0.0
    sent: int = 0
    answered: dict[int, int] = field(default_factory=dict)
    times: dict[int, float] = field(default_factory=dict)
    failed: int = 0
    stopped: bool = False

    async def run(self, seconds: float | None = None) -> None:
        """Send until the time is over, or `stopped`."""
        ends = time.monotonic() + (seconds if seconds is not None else 3600)
        await asyncio.gather(*[self._client(ends) for _ in range(self.clients)])

    async def _client(self, ends: float) -> None:
        while not self.stopped and time.monotonic() < ends:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            try:
                while not self.stopped and time.monotonic() < ends:
                    await self._send(reader, writer)
                    if self.pause:
                        await asyncio.sleep(self.pause)
            except (OSError, asyncio.IncompleteReadError):
                self.failed += 1
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    async def _send(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.sent += 1
        number = self.sent
        writer.write(b"GET /p/%d HTTP/1.1\r\nHost: test\r\n\r\n" % number)
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        assert length is not None
        told, process = json.loads(await reader.readexactly(int(length[1])))
        assert (head[9:12], told) == (b"200", number)
        self.answered[number], self.times[number] = process, time.monotonic()


# --------------------------------------------------------------- what was found
@dataclass(frozen=True)
class Found:
    """Rows of a database, by the number of their request."""

    rows: Counter[int]
    gaps: tuple[dict[str, Any], ...]

    @classmethod
    def at(cls, url: str) -> Found:
        """Read all of it."""
        requests = fetch(url, "SELECT endpoint FROM lockwatch_audit_log WHERE kind = 'http'")
        gaps = fetch(url, "SELECT details FROM lockwatch_audit_log WHERE action = 'gap'")
        return cls(Counter(int(path.rpartition("/")[2]) for (path,) in requests), tuple(json.loads(d) for (d,) in gaps))

    @property
    def twice(self) -> list[int]:
        """Requests with more than one row."""
        return [number for number, count in self.rows.items() if count > 1]

    @property
    def lost(self) -> int:
        """How many events gaps declare."""
        return sum(gap["count"] for gap in self.gaps)

    def missing(self, load: Load) -> list[int]:
        """Requests that were answered and have no row."""
        return [number for number in load.answered if number not in self.rows]


def verified(url: str, *words: str) -> dict[str, Any]:
    """The summary of `lockwatch audit verify`."""
    return summary(command("verify", url, "--json", *words))


# --------------------------------------------------------------- its database
class Postgres:
    """A PostgreSQL that keeps what it has acknowledged, and is stopped and started again at the same place."""

    def __init__(self) -> None:
        self._proc = servers.start_postgres(options=["synchronous_commit=on", "fsync=on", "full_page_writes=on"])
        self.port = self._proc.port
        self.url = self.url_at(self.port)

    def url_at(self, port: int) -> str:
        """The URL, through a port that leads here."""
        return f"postgresql://postgres@127.0.0.1:{port}/postgres"

    def forget(self) -> None:
        """Drop what tests left; it may be stopped or running."""
        if self.stopped:
            self.start()
        until(self.answers)
        sql(self.url, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")

    @property
    def stopped(self) -> bool:
        """Whether it does not run."""
        return self._proc.popen.poll() is not None

    def answers(self) -> bool:
        """Whether it can be asked."""
        try:
            sql(self.url, "SELECT 1")
        except (OSError, asyncpg.PostgresError):
            return False
        return True

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT is ``stop -m fast``, SIGQUIT ``stop -m immediate``."""
        self._proc.popen.send_signal(how)
        self._proc.popen.wait(60)

    def start(self) -> None:
        """Start it again; it recovers by itself."""
        self._proc.restart()

    def close(self) -> None:
        """Stop it for good."""
        self._proc.stop()
