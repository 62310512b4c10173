"""``inside``: what one request runs, without a server: bytecodes and frames, ours and of others, and CPU time.

Bytecodes do not depend on the machine or on who else uses it, so they show what a change costs before a clock can. Requests come
eight at a time, each in a task of its own, as a server makes them; on Redis those that come together share a question. What the
thread in the background does is not counted.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from time import thread_time_ns
from types import FrameType
from typing import Any, Final, NamedTuple

from tests.benchmarks.machine import description
from tests.benchmarks.table import Report, Table
from tests.servers import start_postgres, start_redis

ROOT: Final = Path(__file__).parents[2]
APPS: Final = Path(__file__).parent / "apps"


class Variant(NamedTuple):
    """One application: a module of `apps/`, where its limit stands, whether requests show a token, and what it uses."""

    app: str
    place: str = "route"
    shows: bool = False
    redis: bool = False
    log: bool = False


BARE: Final = "bare FastAPI"
VARIANTS: Final[dict[str, Variant]] = {
    BARE: Variant("bare"),
    "no-op dependency": Variant("noop"),
    "lockwatch, no limit": Variant("ours", "none"),
    "Depends(RateLimit), memory": Variant("ours"),
    "application_limits, memory": Variant("ours", "application"),
    "limit and token, memory": Variant("everything", shows=True),
    "Depends(RateLimit), Redis": Variant("ours", redis=True),
    "application_limits, Redis": Variant("ours", "application", redis=True),
    "limit and token, Redis": Variant("everything", shows=True, redis=True),
    "everything on": Variant("everything", shows=True, redis=True, log=True),
}
_COLUMNS: Final = ("", "bytecodes", "of ours", "frames", "of ours", "us of CPU", "more than bare")
_WARM, _TRACED, _BLOCKS, _BLOCK, _AT_ONCE = 504, 40, 60, 104, 8


def run(only: Sequence[str] = (), parts: bool = False) -> Report:
    """Each variant in a process of its own; `parts` says for each which of our modules run how many bytecodes."""
    chosen = [name for name in VARIANTS if not only or name == BARE or any(word.lower() in name.lower() for word in only)]
    with ExitStack() as running:
        urls = _servers(running, [VARIANTS[name] for name in chosen])
        found = {name: _elsewhere(name, urls) for name in chosen}
    bare = found[BARE]["cpu"]
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
    tables = (Table("One request in one process", _COLUMNS, tuple(rows)),)
    return Report(tuple(description(Path.cwd())), (*tables, _parts(found)) if parts else tables)


def _parts(found: dict[str, Any]) -> Table:
    """Bytecodes of ours by module."""
    modules = sorted({module for one in found.values() for module in one["parts"]})
    told = [one for one in found.values() if one["own"]]
    rows = [(module, *[f"{one['parts'].get(module, 0):.0f}" for one in told]) for module in modules]
    return Table("Bytecodes of ours", ("", *[name for name, one in found.items() if one["own"]]), tuple(rows))


def _servers(running: ExitStack, variants: Sequence[Variant]) -> dict[str, str]:
    """What the variants need, by the variable that tells an application of it."""
    urls = {"BENCH_REDIS": "", "BENCH_AUDIT": ""}
    if any(variant.redis for variant in variants):
        store = start_redis()
        running.callback(store.stop)
        urls["BENCH_REDIS"] = f"redis://127.0.0.1:{store.port}/0"
    if any(variant.log for variant in variants):
        log = start_postgres()
        running.callback(log.stop)
        urls["BENCH_AUDIT"] = f"postgresql+asyncpg://postgres@127.0.0.1:{log.port}/postgres"
        urls["BENCH_SPOOL"] = running.enter_context(TemporaryDirectory(prefix="lockwatch-bench-"))
    return urls


def _elsewhere(name: str, urls: dict[str, str]) -> dict[str, Any]:
    variant = VARIANTS[name]
    used = {"BENCH_REDIS": variant.redis, "BENCH_AUDIT": variant.log, "BENCH_SPOOL": variant.log}
    more = {"BENCH_LIMIT": "1000000/minute", "BENCH_PLACE": variant.place}
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.inside", name],
        env={**os.environ, **more, **{key: url if used[key] else "" for key, url in urls.items()}},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


class Requests:
    """An application, and one request that is sent to it again and again."""

    def __init__(self, app: Any, token: str) -> None:
        self.app = app
        self.statuses: list[int] = []
        self._headers = [(b"host", b"127.0.0.1:8000"), (b"user-agent", b"benchmark"), (b"accept", b"*/*")]
        if token:
            self._headers.append((b"authorization", b"Bearer " + token.encode()))

    async def send(self, count: int, at_once: int = 1) -> None:
        """Send it so often, some `at_once`."""
        for begun in range(0, count, at_once):
            asked = range(min(at_once, count - begun))
            await asyncio.gather(*[self.app(self._scope(), self._receive, self._answer) for _ in asked])

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
    await requests.send(_TRACED, _AT_ONCE)
    sys.settrace(None)
    return bytecodes, frames


async def measured(name: str) -> dict[str, Any]:
    """The figures of one variant, per request."""
    variant = VARIANTS[name]
    sys.path.insert(0, str(APPS))
    application = import_module(variant.app)
    requests = Requests(application.app, await shown(application) if variant.shows else "")
    await requests.send(_WARM, _AT_ONCE)
    if set(requests.statuses) != {200}:
        raise RuntimeError(f"{name}: answered {set(requests.statuses)}")
    blocks = []
    for _ in range(_BLOCKS):
        began = thread_time_ns()
        await requests.send(_BLOCK, _AT_ONCE)
        blocks.append((thread_time_ns() - began) / 1000 / _BLOCK)
    bytecodes, frames = await traced(requests)
    own = f"{ROOT / 'lockwatch'}{os.sep}"
    parts = {file.removeprefix(own): n / _TRACED for file, n in bytecodes.items() if file.startswith(own)}
    return {
        "bytecodes": bytecodes.total() / _TRACED,
        "own": sum(parts.values()),
        "frames": frames.total() / _TRACED,
        "own_frames": sum(n for file, n in frames.items() if file.startswith(own)) / _TRACED,
        "cpu": min(blocks),
        "parts": parts,
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measured(sys.argv[1]))))
