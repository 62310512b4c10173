"""``inside``: what one request runs, without a server: bytecodes and frames, ours and of others, and CPU time.

Bytecodes do not depend on the machine or on who else uses it, so they show what a change costs before a clock can.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path
from time import process_time_ns
from types import FrameType
from typing import Any, Final

from tests.benchmarks.machine import description
from tests.benchmarks.table import Report, Table

ROOT: Final = Path(__file__).parents[2]
APPS: Final = Path(__file__).parent / "apps"
VARIANTS: Final[dict[str, tuple[str, str, bool]]] = {
    "bare FastAPI": ("bare", "route", False),
    "no-op dependency": ("noop", "route", False),
    "lockwatch, no limit": ("ours", "none", False),
    "Depends(RateLimit), memory": ("ours", "route", False),
    "application_limits, memory": ("ours", "application", False),
    "limit and token, memory": ("everything", "route", True),
}
"""Application, where its limit stands, and whether requests show a token."""
_COLUMNS: Final = ("", "bytecodes", "of ours", "frames", "of ours", "us of CPU", "more than bare")
_WARM, _TRACED, _BLOCKS, _BLOCK = 500, 20, 60, 100


def run() -> Report:
    """Each variant in a process of its own."""
    found = {name: _elsewhere(name) for name in VARIANTS}
    bare = found["bare FastAPI"]["cpu"]
    rows = [
        (
            name,
            f"{one['bytecodes']:,.0f}",
            f"{one['own']:,.0f}",
            f"{one['frames']:.0f}",
            f"{one['own_frames']:.0f}",
            f"{one['cpu']:.1f}",
            f"{one['cpu'] - bare:.1f}",
        )
        for name, one in found.items()
    ]
    return Report(tuple(description(Path.cwd())), (Table("One request in one process", _COLUMNS, tuple(rows)),))


def _elsewhere(name: str) -> dict[str, float]:
    place = VARIANTS[name][1]
    more = {"BENCH_LIMIT": "1000000/minute", "BENCH_PLACE": place, "BENCH_REDIS": "", "BENCH_AUDIT": ""}
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.inside", name],
        env={**os.environ, **more},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


class Requests:
    """An application, and one request that is sent to it again and again."""

    def __init__(self, app: Any, token: str) -> None:
        self.app = app
        self.statuses: list[int] = []
        self._headers = [(b"host", b"127.0.0.1:8000"), (b"user-agent", b"benchmark"), (b"accept", b"*/*")]
        if token:
            self._headers.append((b"authorization", b"Bearer " + token.encode()))

    async def send(self, count: int) -> None:
        """Send it so often."""
        for _ in range(count):
            await self.app(self._scope(), self._receive, self._answer)

    def _scope(self) -> dict[str, Any]:
        asgi = {"version": "3.0", "spec_version": "2.3"}
        line = {"type": "http", "http_version": "1.1", "scheme": "http", "method": "GET", "path": "/ping", "raw_path": b"/ping"}
        where = {"server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 40000), "root_path": "", "query_string": b""}
        return {**line, **where, "asgi": asgi, "headers": list(self._headers), "state": {}}

    async def _receive(self) -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def _answer(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.statuses.append(message["status"])


async def shown(application: Any) -> str:
    """A token of an application, as it gives them out."""
    answer: bytes = (await application.token()).body
    return answer.decode()


async def traced(requests: Requests) -> tuple[Counter[str], Counter[str]]:
    """Bytecodes and frames by file, of `_TRACED` requests."""
    bytecodes: Counter[str] = Counter()
    frames: Counter[str] = Counter()

    def inside(frame: FrameType, event: str, _: object) -> Any:
        if event == "opcode":
            bytecodes[frame.f_code.co_filename] += 1
        return inside

    def entering(frame: FrameType, _event: str, _argument: object) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        frames[frame.f_code.co_filename] += 1
        return inside

    sys.settrace(entering)
    await requests.send(_TRACED)
    sys.settrace(None)
    return bytecodes, frames


async def measured(name: str) -> dict[str, float]:
    """The figures of one variant, per request."""
    module, _, shows = VARIANTS[name]
    sys.path.insert(0, str(APPS))
    application = import_module(module)
    requests = Requests(application.app, await shown(application) if shows else "")
    await requests.send(_WARM)
    if set(requests.statuses) != {200}:
        raise RuntimeError(f"{name}: answered {set(requests.statuses)}")
    blocks = []
    for _ in range(_BLOCKS):
        began = process_time_ns()
        await requests.send(_BLOCK)
        blocks.append((process_time_ns() - began) / 1000 / _BLOCK)
    bytecodes, frames = await traced(requests)
    own = str(ROOT / "lockwatch")
    return {
        "bytecodes": bytecodes.total() / _TRACED,
        "own": sum(n for file, n in bytecodes.items() if file.startswith(own)) / _TRACED,
        "frames": frames.total() / _TRACED,
        "own_frames": sum(n for file, n in frames.items() if file.startswith(own)) / _TRACED,
        "cpu": min(blocks),
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measured(sys.argv[1]))))
