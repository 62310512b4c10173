"""Run scenarios, print tables, draw plots.

    python -m tests.simulation run --users 5000 --seeds 0-29 --out 5000.jsonl
    python -m tests.simulation table 5000.jsonl
    python -m tests.simulation stories 5000.jsonl
    python -m tests.simulation plot 5000.jsonl --to docs/images
    python -m tests.simulation publish docs/detection.md 5000=5000.jsonl
    python -m tests.simulation cost
    python -m tests.simulation memory

`--scenarios 'A4-*,B1'` picks some, `--also package.module` adds those of a dict `SCENARIOS` there (name to `world.Scenario`; names
of attacks begin with another letter than B).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path

from lockwatch.anomaly.rules import Settings
from tests.simulation.attacks import ATTACKS
from tests.simulation.benign import BENIGN
from tests.simulation.cost import cost, flood
from tests.simulation.measure import Bench, Outcome
from tests.simulation.plot import plot
from tests.simulation.report import published, rules, stories, table
from tests.simulation.world import Scenario, World

QUICK = {"A1": 1.0, "A2": 1.0, "A3": 1.0, "A6": 2.0, "A7": 3.0, "A13": 1.0, "A14": 1.0, "A15": 1.0, "A16": 1.0, "A17": 1.0}
"""Days of scenarios that are over sooner than others."""


def main(words: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run scenarios; prints a line for each, and writes all figures as JSON lines")
    run.add_argument("--users", type=int, default=5000)
    run.add_argument("--seeds", default="0-2", help="first-last")
    run.add_argument("--scenarios", default="*", help="patterns, separated by commas")
    run.add_argument("--also", help="module with a dict SCENARIOS")
    run.add_argument("--phi", type=float, default=2.0, help="dispersion of the noise, over days")
    run.add_argument("--warm", type=int, default=21, help="ordinary days before")
    run.add_argument("--days", type=float, default=7.0)
    run.add_argument("--ablate", default="", help="rules or channels that are off, separated by commas; sets by ;")
    run.add_argument("--compare", action="store_true", help="run the policies of others over the same events")
    run.add_argument("--out", help="append to this file; what it has already is not run again")
    commands.add_parser("rules", help="the table of rules")
    commands.add_parser("cost", help="processor time of detection on the path of a request")
    memory = commands.add_parser("memory", help="memory of the detector under a flood of names and addresses")
    memory.add_argument("--keys", type=int, default=1_000_000)
    for name in ("table", "stories", "plot"):
        command = commands.add_parser(name)
        command.add_argument("files", nargs="+")
        if name == "plot":
            command.add_argument("--to", default="docs/images")
    publish = commands.add_parser("publish", help="put the tables of files into a page, where it has a place for them")
    publish.add_argument("page")
    publish.add_argument("files", nargs="+", metavar="NAME=FILE")
    options = parser.parse_args(words)
    if options.command == "run":
        _run(options)
    elif options.command == "table":
        print(table(_read(options.files)))
    elif options.command == "stories":
        print(stories(_read(options.files)))
    elif options.command == "rules":
        print(rules())
    elif options.command == "publish":
        _publish(Path(options.page), options.files)
    elif options.command == "cost":
        print(cost())
    elif options.command == "memory":
        flood(options.keys)
    else:
        plot(_read(options.files), Path(options.to))


def chosen(patterns: str, also: str | None = None) -> dict[str, Scenario | None]:
    """The scenarios a list of patterns names."""
    everything: dict[str, Scenario | None] = {"B1": None, **BENIGN, **ATTACKS}
    if also:
        everything |= import_module(also).SCENARIOS
    return {name: found for name, found in everything.items() if any(fnmatch(name, each) for each in patterns.split(","))}


def _run(options: argparse.Namespace) -> None:
    first, _, last = options.seeds.partition("-")
    scenarios = chosen(options.scenarios, options.also)
    done = _done(options.out)
    for seed in range(int(first), int(last or first) + 1):
        jobs = [(off, name) for off in options.ablate.split(";") for name in scenarios]
        jobs = [job for job in jobs if (options.users, seed, options.phi, *job) not in done]
        if not jobs:
            continue
        bench = Bench(World(seed, options.users, options.phi), options.warm)
        if (options.users, seed, options.phi, "", "warm-up") not in done:
            _write(options, "", _warmup(bench))
        for off, name in jobs:
            days = min(options.days, QUICK.get(name, options.days))
            settings = Settings(off=frozenset(off.split(",")) - {""})
            _write(options, off, bench.play(name, scenarios[name], days, compare=options.compare, settings=settings))


def _done(path: str | None) -> set[tuple[object, ...]]:
    """What is in a file already, so that a run that was stopped goes on."""
    if path is None or not Path(path).exists():
        return set()
    return {(r["users"], r["seed"], r["phi"], r["ablated"], r["scenario"]) for r in _read([path])}


def _publish(page: Path, files: Sequence[str]) -> None:
    for each in files:
        name, _, file = each.partition("=")
        page.write_text(published(page.read_text("utf-8"), name, table(_read([file]))), "utf-8")


def _warmup(bench: Bench) -> Outcome:
    return Outcome(
        "warm-up", bench.world.users, bench.world.seed, bench.days, opened=bench.warmup, state=len(bench.state), keys=bench.keys
    )


def _write(options: argparse.Namespace, off: str, outcome: Outcome) -> None:
    record = {**asdict(outcome), "phi": options.phi, "ablated": off}
    found = f"after {outcome.minutes:.0f} min, {outcome.attempts} attempts" if outcome.minutes is not None else "-"
    print(
        f"{outcome.users:>6} seed {outcome.seed:<3} {outcome.scenario:<9} {off} {found} {sorted({r for r, _ in outcome.opened})}",
        flush=True,
    )
    if options.out:
        with Path(options.out).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


def _read(files: list[str]) -> list[dict[str, object]]:
    return [json.loads(line) for file in files for line in Path(file).read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    main()
