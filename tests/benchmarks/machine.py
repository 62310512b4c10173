"""The machine a benchmark runs on: its cores, what a process used of them, and a line that describes it."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Cores:
    """Which cores a server and its load (and Redis) may use; empty where the system cannot pin."""

    server: frozenset[int]
    load: frozenset[int]


def cores() -> Cores:
    """One core for the server, another for the load generator and Redis, when there are two and the system can pin."""
    if not hasattr(os, "sched_getaffinity"):
        return Cores(frozenset(), frozenset())
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:
        return Cores(frozenset(), frozenset())
    return Cores(frozenset(available[:1]), frozenset(available[1:2]))


def pin(pid: int, to: frozenset[int]) -> None:
    """Keep a process that just started on these cores."""
    if to:
        os.sched_setaffinity(pid, to)


def cpu_seconds(pid: int) -> float:
    """How long a process has computed so far; 0 where /proc does not say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    """The processes that a process started; none where /proc does not say."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def copy_of_tree() -> Path:
    """A copy of the sources, so that every round of a run measures the same ones."""
    target = Path(tempfile.mkdtemp(prefix="lockwatch-bench-"))
    for package in ("lockwatch", "lockwatch_flask", "tests"):
        shutil.copytree(ROOT / package, target / package, ignore=shutil.ignore_patterns("__pycache__"))
    (target / "COMMIT").write_text(_commit())
    return target


def description(tree: Path) -> list[str]:
    """Date, machine, commit and digest of the measured sources."""
    commit = (tree / "COMMIT").read_text() if (tree / "COMMIT").exists() else _commit()
    return [
        f"date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"machine: {os.cpu_count()} cores, {_model()}, {platform.system()} {platform.release().split('-')[0]}",
        f"lockwatch: commit {commit}, digest of the sources {_digest(tree / 'lockwatch')}",
    ]


def _model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str:
    done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".py", ".lua"):
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]
