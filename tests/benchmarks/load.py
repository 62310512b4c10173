"""Load on one server: ``wrk`` when it is installed, else the generator of this package."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.benchmarks.machine import pin

CONNECTIONS: Final = 32
_DONE: Final = re.compile(r"(\d+) requests in ([\d.]+)(ms|s|m),")
_ODD: Final = re.compile(r"Non-2xx or 3xx responses: (\d+)")
_FAILED: Final = re.compile(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a server answered: how many requests, how many of them not with 2xx, and in how many seconds."""

    total: int
    odd: int
    seconds: float

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.total / self.seconds


def generator_name() -> str:
    """What `press` uses."""
    return "wrk -t1" if shutil.which("wrk") else "tests.benchmarks.generator"


def press(
    port: int, path: str, seconds: float, cores: frozenset[int], headers: Sequence[str] = (), connections: int = CONNECTIONS
) -> Outcome:
    """Keep `connections` connections busy for some seconds (wrk knows no fractions); `headers` are lines like ``Name: value``."""
    url = f"http://127.0.0.1:{port}{path}"
    if (wrk := shutil.which("wrk")) and seconds == int(seconds):
        lines = [part for line in headers for part in ("-H", line)]
        return _read_wrk(_output([wrk, "-t1", f"-c{connections}", f"-d{seconds:.0f}s", *lines, url], cores))
    script = str(Path(__file__).with_name("generator.py"))
    found = json.loads(_output([sys.executable, script, str(port), path, str(seconds), str(connections), *headers], cores))
    return Outcome(found["total"], found["total"] - found["fine"], found["seconds"])


def _output(command: list[str], cores: frozenset[int]) -> str:
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        pin(process.pid, cores)
        out, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}: {out}")
    return out


def _read_wrk(out: str) -> Outcome:
    done, odd, failed = _DONE.search(out), _ODD.search(out), _FAILED.search(out)
    if done is None or failed is not None:
        raise RuntimeError(f"wrk did not succeed:\n{out}")
    seconds = float(done[2]) * {"ms": 0.001, "s": 1, "m": 60}[done[3]]
    return Outcome(int(done[1]), int(odd[1]) if odd else 0, seconds)
