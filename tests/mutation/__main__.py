"""`python -m tests.mutation limits tokens`: changes a sample of places, prints the score and what survived."""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Final

from tests.mutation.points import Point, points
from tests.mutation.runs import judge, preload

TESTS: Final = {
    "limits": (
        *("tests/unit/test_grammar.py", "tests/unit/test_declaration.py", "tests/unit/test_flows.py", "tests/unit/test_denied.py"),
        *("tests/unit/test_plan.py", "tests/unit/test_policy.py", "tests/unit/test_headers.py", "tests/operators/test_overview.py"),
        *("tests/operators/test_limiter.py", "tests/edges/test_fastapi_policies.py", "tests/edges/test_fastapi_reservations.py"),
    ),
    "tokens": (
        *(
            "tests/tokens/test_attacks.py",
            "tests/tokens/test_verify.py",
            "tests/tokens/test_keys.py",
            "tests/tokens/test_bearer.py",
        ),
        *(
            "tests/tokens/test_entry.py",
            "tests/tokens/test_config.py",
            "tests/tokens/test_issuers.py",
            "tests/tokens/test_keyfile.py",
        ),
        *(
            "tests/tokens/test_verified.py",
            "tests/tokens/test_remote.py",
            "tests/tokens/test_rotation.py",
            "tests/tokens/test_sessions.py",
        ),
        *("tests/tokens/test_manager.py", "tests/tokens/test_session_secrets.py", "tests/tokens/test_revocations.py"),
        *("tests/tokens/test_first_release.py", "tests/tokens/test_session_failover.py"),
    ),
}
"""What is about each package, the quickest first. Servers are left out: what a store answers is tested elsewhere."""
WITHOUT: Final = ("-k", "not redis and not valkey and not cluster and not sentinel")


def main() -> int:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("packages", nargs="*", default=list(TESTS), help=f"of {', '.join(TESTS)}; all by default")
    parser.add_argument("--sample", type=int, default=150, help="changes of each package (150)")
    parser.add_argument("--seed", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=60, help="begin no more changes of a package after that (60)")
    parser.add_argument("--only", default="", help="changes in files whose path has this")
    given = parser.parse_args()
    preload()
    for package in given.packages:
        _measure(package, given)
    return 0


def _measure(package: str, given: argparse.Namespace) -> None:
    tests = [*WITHOUT, *[path for path in TESTS[package] if Path(path).exists()]]
    known = [point for path in sorted(Path("lockwatch", package).rglob("*.py")) for point in points(path)]
    known = [point for point in known if given.only in str(point.path)]
    chosen = random.Random(given.seed).sample(known, min(given.sample, len(known)))
    began = time.monotonic()
    if [outcome for _, outcome in judge([None], tests, 1200)] != ["survived"]:
        sys.exit(f"the tests of {package} fail without any change: MUTATION_LOUD=1 shows them")
    patience, ends = 60 + 5 * (time.monotonic() - began), time.monotonic() + 60 * given.minutes
    found: list[tuple[Point, str]] = []
    for point, outcome in judge(chosen, tests, patience, given.jobs, ends):
        assert point is not None
        found.append((point, outcome))
        if outcome == "survived":
            print(f"  survived: {point}", flush=True)
    count = Counter(outcome for _, outcome in found)
    score = 100 * (1 - count["survived"] / len(found))
    print(
        f"lockwatch/{package}, {date.today()}: {score:.1f} % of {len(found)} changes are noticed ({count['killed']} by a test, "  # noqa: DTZ011
        f"{count['timeout']} by the time; of {len(known)} possible; seed {given.seed})",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
