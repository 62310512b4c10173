"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.benchmarks import checks, flask_variants, throughput, variants
from tests.benchmarks.table import Report


def main(arguments: list[str]) -> int:
    """Run one benchmark and print its tables."""
    options = _options(arguments)
    if options.markdown is not None:
        options.markdown = options.markdown.resolve()
        arguments = [*arguments, "--markdown", str(options.markdown)]
    if options.command in ("requests", "flask"):
        listed = variants.ALL if options.command == "requests" else flask_variants.ALL
        chosen = variants.chosen(tuple(options.only), listed)
        return _tell(throughput.run(options.rounds, options.seconds, chosen, options.python, options.patience), options.markdown)
    if options.command in ("tokens", "inside"):
        return _tell(_alone(options), options.markdown)
    if options.command == "sessions":
        from tests.benchmarks import sessions

        return _tell(sessions.run_all(options.rounds, options.checks), options.markdown)
    if options.command == "audit":
        from tests.benchmarks import audit

        return _tell(audit.run(*((50_000, 100_000, 3) if options.quick else (options.rows,))), options.markdown)
    if options.here:
        return _tell(checks.run(options.rounds, options.checks), options.markdown)
    return checks.run_elsewhere(arguments, options.python)


def _alone(options: argparse.Namespace) -> Report:
    """What needs no server of HTTP."""
    from tests.benchmarks import inside, tokens

    return inside.run(options.only, options.parts) if options.command == "inside" else tokens.run(options.rounds, options.checks)


def _tell(report: Report, markdown: Path | None) -> int:
    print(report.text())
    if markdown is not None:
        markdown.write_text(report.markdown(), "utf-8")
    return 0


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("checks", help="what one check costs, without a web framework")
    check.add_argument("--rounds", type=int, default=15)
    check.add_argument("--checks", type=int, default=4000, help="per contender and round")
    check.add_argument("--here", action="store_true", help="in this process and environment, with what it has")
    requests = commands.add_parser("requests", help="requests per second of one route of FastAPI")
    flask = commands.add_parser("flask", help="requests per second of one route of Flask")
    for served in (requests, flask):
        served.add_argument("--rounds", type=int, default=5)
        served.add_argument("--seconds", type=int, default=3, help="per variant and round")
        served.add_argument("--only", action="append", default=[], metavar="WORD", help="variants whose names contain WORD")
        served.add_argument("--patience", type=float, default=10, help="seconds to wait for a quiet machine, per sample")
    token = commands.add_parser("tokens", help="what verifying and signing a token costs")
    token.add_argument("--rounds", type=int, default=15)
    token.add_argument("--checks", type=int, default=4000, help="per contender and round")
    session = commands.add_parser("sessions", help="what a refresh costs, and what a session takes")
    session.add_argument("--rounds", type=int, default=15)
    session.add_argument("--checks", type=int, default=1000, help="per contender and round")
    within = commands.add_parser("inside", help="what one request runs, without a server: bytecodes, frames, CPU time")
    within.add_argument("--only", action="append", default=[], metavar="WORD", help="variants whose names contain WORD")
    within.add_argument("--parts", action="store_true", help="bytecodes by module, too")
    log = commands.add_parser("audit", help="a large audit log on PostgreSQL: writing, asking, forgetting")
    log.add_argument("--rows", type=int, default=1_000_000)
    log.add_argument("--quick", action="store_true", help="fewer rows and rounds: two minutes")
    for command in (check, requests, flask):
        command.add_argument("--python", default=sys.executable, help="the interpreter to measure")
    for command in (check, requests, flask, token, session, within, log):
        command.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there too")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
