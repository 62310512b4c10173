"""``checks``: what one check costs, in one process, without a web framework."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.benchmarks import environments
from tests.benchmarks.machine import copy_of_tree, cores, description, pin
from tests.benchmarks.table import Report, Table
from tests.servers import start_redis


def run(rounds: int, checks: int) -> Report:
    """Measure in this process; libraries that are not installed are left out."""
    from tests.benchmarks import memory_checks, redis_checks, server_checks

    found: list[Table] = memory_checks.tables(rounds, checks)
    store = start_redis()
    pin(store.popen.pid, cores().load)
    pin(0, cores().server)
    url = f"redis://127.0.0.1:{store.port}/0"
    try:
        found += redis_checks.tables(url, rounds, checks)
        found += server_checks.tables(url, checks)
    finally:
        store.stop()
    return Report(_facts(store.origin, rounds, checks), tuple(found))


def run_elsewhere(arguments: list[str], interpreter: str) -> int:
    """Run the same command on a copy of the sources, in an environment that holds the libraries to compare with."""
    tree = copy_of_tree()
    python = environments.python_of("ours", interpreter)
    command = [str(python), "-m", "tests.benchmarks", *arguments, "--here"]
    return subprocess.run(command, cwd=tree, check=False).returncode


def _facts(origin: str, rounds: int, checks: int) -> tuple[str, ...]:
    held = environments.versions(Path(sys.executable))
    named = [f"{name} {held[name]}" for name in ("redis", "limits", "throttled-py", "uvloop") if name in held]
    version = ".".join(map(str, sys.version_info[:3]))
    return (
        *description(Path.cwd()),
        f"python: {version}; {', '.join(named)}",
        f"store: {origin}; {rounds} interleaved rounds of {checks:,} checks",
    )
