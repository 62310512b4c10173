"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.benchmarks import throughput
from tests.benchmarks.table import Table


def main(arguments: list[str]) -> None:
    """Run one benchmark and print its tables."""
    options = _options(arguments)
    report = throughput.run(options.rounds, options.seconds, tuple(options.only), options.python)
    _tell(report.facts, [report.table], options.markdown)


def _tell(facts: tuple[str, ...], tables: list[Table], markdown: Path | None) -> None:
    print("\n".join(facts), end="\n\n")
    for table in tables:
        print(table.text(), end="\n\n")
    if markdown is not None:
        page = "\n".join([*[f"- {fact}" for fact in facts], "", *[f"{table.markdown()}\n" for table in tables]])
        markdown.write_text(page, "utf-8")


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    requests = commands.add_parser("requests", help="requests per second of one route")
    requests.add_argument("--rounds", type=int, default=5)
    requests.add_argument("--seconds", type=int, default=3, help="per variant and round")
    requests.add_argument("--only", action="append", default=[], metavar="WORD", help="variants whose names contain WORD")
    for command in (requests,):
        command.add_argument("--python", default=sys.executable, help="the interpreter to measure")
        command.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there too")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
