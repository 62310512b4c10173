"""`python -m tests.coverage`: which branches no test takes, in one go, child processes included.

Prints the share of branches of each package, and what is missing of every module under the floor. A failing test hides no figure.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

PACKAGES: Final = ("lockwatch", "lockwatch_flask")
PATHS: Final = (
    *(
        "tests/unit",
        "tests/edges",
        "tests/tokens",
        "tests/audit",
        "tests/operators",
        "tests/anomaly",
        "tests/alerts",
        "tests/testing",
    ),
    *("tests/examples", "tests/failure", "tests/contract", "tests/topology", "tests/promises", "tests/test_public_api.py"),
)
"""Without what compares with other libraries, simulates or loads: that takes no branch which these leave."""
FLOOR: Final = 95.0


def main() -> int:
    """Measure what the arguments ask for; 1 when a test fails or a package is under the floor."""
    parser = argparse.ArgumentParser(prog="python -m tests.coverage", description=__doc__)
    parser.add_argument("paths", nargs="*", default=list(PATHS), help="tests to run; all that take branches by default")
    parser.add_argument("--floor", type=float, default=FLOOR, help="percent of branches that is enough (95)")
    parser.add_argument("--jobs", default="2", help="test processes (2)")
    parser.add_argument("--data", type=Path, help="keep the data in this directory, and add to what it holds")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lw-coverage-") as made:
        where = given.data or Path(made)
        where.mkdir(parents=True, exist_ok=True)
        run = ("run", "-m", "pytest", "-q", "-n", given.jobs, "--dist", "worksteal", "-m", "not timing", *given.paths)
        failed = _coverage(where, *run)
        _coverage(where, "combine", "--quiet", "--append")
        _coverage(where, "json", "--quiet", "-o", str(where / "coverage.json"))
        report = json.loads((where / "coverage.json").read_text("utf-8"))
    enough = _show(report["files"], given.floor)
    return int(bool(failed) or not enough)


def _coverage(where: Path, *arguments: str) -> int:
    """Every process of the run writes a file of its own beside this one."""
    environment = {**os.environ, "COVERAGE_FILE": str(where / "data")}
    return subprocess.run([sys.executable, "-m", "coverage", *arguments], env=environment, check=False).returncode


def _show(files: Mapping[str, Any], floor: float) -> bool:
    """Print the figures. Whether every package reaches the floor."""
    for path, found in sorted(files.items(), key=lambda item: (_percent([item[1]], "branches"), item[0])):
        if _percent([found], "branches") < floor:
            ways = [f"{begin}->{'exit' if end < 0 else end}" for begin, end in found["missing_branches"]]
            print(f"  {path}: {_percent([found], 'branches'):.0f} % of {found['summary']['num_branches']}: {', '.join(ways)}")
    reached = True
    for package in PACKAGES:
        inside = [found for path, found in files.items() if Path(path).parts[0] == package]
        branches = _percent(inside, "branches")
        reached = reached and branches >= floor
        count = sum(found["summary"]["num_branches"] for found in inside)
        print(f"{package}: {branches:.1f} % of {count} branches, {_percent(inside, 'lines'):.1f} % of lines, {len(inside)} modules")
    return reached


def _percent(found: Sequence[Mapping[str, Any]], what: str) -> float:
    covered, all_of_them = ("covered_branches", "num_branches") if what == "branches" else ("covered_lines", "num_statements")
    total = sum(one["summary"][all_of_them] for one in found)
    return 100 * sum(one["summary"][covered] for one in found) / total if total else 100.0


if __name__ == "__main__":
    sys.exit(main())
