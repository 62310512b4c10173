"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.benchmarks import checks, environments, flask_variants, throughput, variants
from tests.benchmarks.records import append, kept
from tests.benchmarks.table import Report


def main(arguments: list[str]) -> int:
    """Run one benchmark and print its tables."""
    options = _options(arguments)
    if options.command in ("scaling", "plot", "publish"):
        return _from_records(options)
    for name in ("markdown", "out"):
        if (path := getattr(options, name)) is not None:
            setattr(options, name, path.resolve())
            arguments = [*arguments, f"--{name}", str(path.resolve())]
    if options.command == "checks" and not options.here:
        return checks.run_elsewhere(arguments, options.python)
    report = _measured(options)
    print(report.text())
    if options.markdown is not None:
        options.markdown.write_text(report.markdown(), "utf-8")
    append(options.out, kept(options.command, report))
    return 0


def _measured(options: argparse.Namespace) -> Report:
    from tests.benchmarks import allocations, audit, inside, sessions, tokens

    if options.command in ("requests", "flask"):
        listed = variants.ALL if options.command == "requests" else flask_variants.ALL
        chosen = variants.chosen(tuple(options.only), listed)
        return throughput.run(options.rounds, options.seconds, chosen, options.python, options.patience)
    if options.command == "audit":
        return audit.run(*((50_000, 100_000, 3) if options.quick else (options.rows,)))
    if options.command in ("inside", "allocations"):
        if options.command == "inside":
            return inside.run(options.only, options.parts)
        return allocations.run(options.requests, environments.python_of("ours"))
    per_check = {"checks": checks.run, "sessions": sessions.run_all, "tokens": tokens.run}[options.command]
    return per_check(options.rounds, options.checks)


def _from_records(options: argparse.Namespace) -> int:
    """What writes records, and what reads them."""
    from tests.benchmarks import curves, pictures, records, scaling

    if options.command == "scaling":
        amount = scaling.Amount(options.rounds, options.seconds, options.largest, options.patience)
        found = scaling.run(options.only or scaling.ALL, amount, options.out)
        print("\n".join([f"{name}\n{report.text()}" for name, report in curves.reports(found).items()]))
        return 0
    found = records.read(options.files)
    if options.command == "plot":
        print("\n".join(map(str, pictures.write(found, options.to))))
        return 0
    homeless = records.publish(options.page, {**records.reports(found), **curves.reports(found)})
    print("".join([f"{options.page} has no place for {name}\n" for name in homeless]), end="", file=sys.stderr)
    return int(bool(homeless))


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
    objects = commands.add_parser("allocations", help="what one request allocates, by stage, and what survives it")
    objects.add_argument("--requests", type=int, default=200, help="counted, per variant")
    log = commands.add_parser("audit", help="a large audit log on PostgreSQL: writing, asking, forgetting")
    log.add_argument("--rows", type=int, default=1_000_000)
    log.add_argument("--quick", action="store_true", help="fewer rows and rounds: two minutes")
    curve = commands.add_parser("scaling", help="curves: connections, limits, workers, keys")
    curve.add_argument("--only", action="append", choices=("concurrency", "limits", "workers", "keys"))
    curve.add_argument("--rounds", type=int, default=3)
    curve.add_argument("--seconds", type=int, default=2, help="per sample")
    curve.add_argument("--largest", type=int, default=0, metavar="N", help="no point of a curve beyond this; 0: all")
    curve.add_argument("--patience", type=float, default=0, help="seconds to wait for a quiet machine, per sample")
    curve.add_argument("--out", type=Path, metavar="FILE", help="append every sample to it; what it has is not measured again")
    picture = commands.add_parser("plot", help="pictures from files of records")
    picture.add_argument("files", type=Path, nargs="+")
    picture.add_argument("--to", type=Path, default=Path("docs/images"), metavar="FOLDER")
    publish = commands.add_parser("publish", help="put the tables of files of records into a page, where it has a place for them")
    publish.add_argument("page", type=Path)
    publish.add_argument("files", type=Path, nargs="+")
    for command in (check, requests, flask):
        command.add_argument("--python", default=sys.executable, help="the interpreter to measure")
    for command in (check, requests, flask, token, session, within, objects, log):
        command.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there too")
        command.add_argument(
            "--out", type=Path, metavar="FILE", help="append the tables to this file of records, for plot and publish"
        )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
