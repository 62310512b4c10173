"""One uvicorn per variant: started, proven to count, measured, stopped."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.benchmarks import environments
from tests.benchmarks.machine import Cores, pin
from tests.benchmarks.variants import Variant
from tests.servers import free_port

_FLAGS: Final = ("--loop", "uvloop", "--http", "httptools", "--workers", "1", "--no-access-log", "--log-level", "warning")
_START: Final = 30.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where servers run: the copied sources, the interpreter, the URLs of Redis and PostgreSQL, the cores."""

    tree: Path
    interpreter: str
    redis: str
    cores: Cores
    database: str = ""


class Server:
    """A running application. Use it in a ``with`` block.

    Args:
        variant: what to run.
        place: where.
        limit: instead of the variant's own limit.
    """

    def __init__(self, variant: Variant, place: Place, limit: str | None = None) -> None:
        self.variant = variant
        self.token = ""
        self.port = free_port()
        python = environments.python_of(variant.environment, place.interpreter)
        command = [python, "-m", "uvicorn", f"{variant.app}:app", "--app-dir", place.tree / "tests/benchmarks/apps"]
        self._process = subprocess.Popen(
            [*map(str, command), *_FLAGS, "--port", str(self.port)],
            env=_environment(variant, place, limit or variant.limit),
            cwd=place.tree / "tests/benchmarks/apps",
        )
        pin(self._process.pid, place.cores.server)

    @property
    def pid(self) -> int:
        """The process that serves."""
        return self._process.pid

    def __enter__(self) -> Server:
        self._await_answer()
        if self.variant.shows:
            self.token = json.loads(self._ask("/token")[2])["access_token"]
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
        return self._ask(self.variant.path)[:2]

    def _ask(self, path: str) -> tuple[int, Mapping[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {self.token}"} if self.token else {})
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


def _environment(variant: Variant, place: Place, limit: str) -> dict[str, str]:
    ours = {"PYTHONPATH": str(place.tree)} if variant.environment == "ours" else {}
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR", "SYSTEMROOT")}
    bench = {"BENCH_LIMIT": limit, "BENCH_PLACE": variant.place, "BENCH_REDIS": place.redis if variant.redis else ""}
    more = {"BENCH_DATABASE": place.database} if variant.audited else {}
    return {**kept, **ours, **bench, **more, "BENCH_REMEMBERS": str(int(variant.remembers))}
