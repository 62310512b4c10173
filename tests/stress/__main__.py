"""``python -m tests.stress NAME [options]``; ``--help`` after a name says which."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from tests.stress import admission, adversary, audit, failover, fill, keys, schema, servers, soak

PROGRAMS: dict[str, Any] = {
    "admission": admission,
    "adversary": adversary,
    "audit": audit,
    "failover": failover,
    "fill": fill,
    "keys": keys,
    "schema": schema,
    "servers": servers,
    "soak": soak,
}


def main(arguments: list[str]) -> int:
    """Run one program."""
    parser = argparse.ArgumentParser(prog="python -m tests.stress", description=__doc__)
    names = parser.add_subparsers(dest="name", required=True)
    for name, program in PROGRAMS.items():
        program.describe(names.add_parser(name, help=(program.__doc__ or "").splitlines()[0]))
    options = parser.parse_args(arguments)
    return PROGRAMS[options.name].run(options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
