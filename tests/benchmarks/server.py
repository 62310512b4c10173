"""One server per variant: started, proven to count, measured, stopped."""

from __future__ import annotations

import http.client
import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.benchmarks import environments
from tests.benchmarks.machine import Cores, children, cpu_seconds, pin
from tests.benchmarks.variants import Variant
from tests.servers import free_port

# uvicorn takes uvloop and httptools where they are, as they are in the environments of the benchmarks.
_UVICORN: Final = ("--no-access-log", "--log-level", "warning")
_GUNICORN: Final = ("-k", "gthread", "-w", "1", "--threads", "4", "--keep-alive", "75", "--log-level", "warning")
_START: Final = 60.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where servers run: the copied sources, the interpreter, the URL of Redis, the cores, the URL of PostgreSQL."""

    tree: Path
    interpreter: str
    redis: str
    cores: Cores
    postgres: str = ""


class Server:
    """A running application. Use it in a ``with`` block.

    Args:
        variant: what to run.
        place: where.
        limit: instead of the variant's own limit.
        under: words of a program that runs the server: a module and its options.
    """

    def __init__(self, variant: Variant, place: Place, limit: str | None = None, under: tuple[str, ...] = ()) -> None:
        self.variant = variant
        self.port = free_port()
        self.headers: tuple[str, ...] = ()
        self._process = subprocess.Popen(
            [str(environments.python_of(variant.environment, place.interpreter)), "-m", *under, *_command(variant, self.port)],
            env=_environment(variant, place, limit or variant.limit),
            cwd=place.tree / "tests/benchmarks/apps",
        )
        pin(self._process.pid, place.cores.server)

    @property
    def pid(self) -> int:
        """The process that serves: of a server that forks, its worker."""
        if not self.variant.forks:
            return self._process.pid
        return next(iter(children(self._process.pid)), self._process.pid)

    def cpu_seconds(self) -> float:
        """How long the processes that serve have computed so far; 0 where /proc does not say."""
        pids = children(self._process.pid) if self.variant.workers > 1 else [self.pid]
        return sum(map(cpu_seconds, pids))

    def __enter__(self) -> Server:
        self._await_answer()
        if self.variant.shows:
            self.headers = (f"Authorization: Bearer {self._read('/token')}",)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def get(self) -> tuple[int, Mapping[str, str]]:
        """One request: its status and headers (names in lower case)."""
        status, headers, _ = self._ask(self.variant.path)
        return status, headers

    def _read(self, path: str) -> str:
        return self._ask(path)[2].decode()

    def _ask(self, path: str) -> tuple[int, Mapping[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path, headers=dict([line.split(": ", 1) for line in self.headers]))
            response = connection.getresponse()
            body = response.read()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, body
        finally:
            connection.close()

    def _await_answer(self) -> None:
        end = time.monotonic() + _START
        while time.monotonic() < end and self._process.poll() is None:
            try:
                self.get()
            except OSError:
                time.sleep(0.05)
            else:
                return
        self.__exit__()
        raise RuntimeError(f"{self.variant.name}: the server does not answer")


def prove(variant: Variant, place: Place) -> None:
    """Show that the limiter counts: with two a minute, one of four requests in a row is refused. Raises: RuntimeError."""
    with Server(variant, place, limit="2/minute") as server:
        statuses = [server.get()[0] for _ in range(4)]
    if 429 not in statuses:
        raise RuntimeError(f"{variant.name}: two a minute refused nothing ({statuses}): it would be measured doing nothing")


def _command(variant: Variant, port: int) -> list[str]:
    application = f"{variant.app}:app"
    if variant.forks:
        return ["gunicorn", *_GUNICORN, "-b", f"127.0.0.1:{port}", application]
    return ["uvicorn", application, *_UVICORN, "--workers", str(variant.workers), "--port", str(port)]


def _environment(variant: Variant, place: Place, limit: str) -> dict[str, str]:
    ours = {"PYTHONPATH": str(place.tree)} if variant.environment in ("ours", "flask", "here") else {}
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR", "SYSTEMROOT")}
    bench = {"BENCH_LIMIT": limit, "BENCH_PLACE": variant.place, "BENCH_REDIS": place.redis if variant.redis else ""}
    bench["BENCH_LIMITS"] = str(variant.limits)
    log = place.tree / f"audit-{variant.place}.db"
    audit = {"postgres": place.postgres, "sqlite": f"sqlite+aiosqlite:///{log}"}.get(variant.log, "")
    more = {"BENCH_AUDIT": audit, "BENCH_SPOOL": str(place.tree / f"spool-{variant.app}-{variant.place}")}
    return {**kept, **ours, **bench, **more, "BENCH_REMEMBERS": str(int(variant.remembers))}
