"""The `lockwatch` command. Light to import: what a command needs is imported when it runs."""

from __future__ import annotations

import os
import re
import sys
from typing import Final

import click

from lockwatch import __version__
from lockwatch.commands.group import Home, Root
from lockwatch.commands.trouble import Unusable
from lockwatch.errors import LockwatchError

HOMES: Final = {
    "alerts": Home("lockwatch.commands.alerts", "Look at alerts, send them again, and try whether they arrive."),
    "audit": Home("lockwatch.commands.audit", "Search, export, check and prune the audit log."),
    "bans": Home("lockwatch.commands.bans", "See who is banned, ban somebody, let somebody in again."),
    "db": Home("lockwatch.commands.db", "Make and change the tables of the audit log."),
    "doctor": Home("lockwatch.commands.doctor", "Find what is wrong with a set-up, and say what to change."),
    "keys": Home("lockwatch.commands.keys", "Make and replace the keys that tokens are signed with."),
    "limits": Home("lockwatch.commands.limits", "Look at the buckets of a subject, forget them, explain a refusal."),
    "replay": Home("lockwatch.commands.replay", "Say what the detector would have said."),
    "routes": Home("lockwatch.commands.routes", "List every route with its limits and what it asks of tokens."),
}
"""The commands of both command lines, `lockwatch` and `flask lockwatch`."""
_OWN: Final = {
    "completion": Home("lockwatch.commands.completion", "Print what makes a shell complete commands, options, routes and limits."),
}
COMPLETING: Final = "_LOCKWATCH_COMPLETE"
"""The variable by which a shell asks for completions."""
_OF_DEMO: Final = frozenset({"fastapi", "starlette", "pydantic", "uvicorn"})


@click.group(cls=Root, homes={**HOMES, **_OWN})
@click.version_option(__version__, prog_name="lockwatch")
def main() -> None:
    """Security for FastAPI and Flask applications."""


@main.command()
@click.option("--redis", "redis_url", metavar="URL", help="Count in this Redis or Valkey instead of in memory.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, metavar="N", help="Serve on this port; a free one by default.")
@click.option("--serve", is_flag=True, help="Keep serving after the story, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print what was observed as JSON.")
def demo(redis_url: str | None, port: int, serve: bool, as_json: bool) -> None:
    """Watch lockwatch at work, in ten seconds.

    Starts a FastAPI application on a loopback port, sends it requests, and checks every claim it makes: exit status 1 when one does
    not hold, 2 when the demo cannot run.
    """
    if redis_url is not None and not re.match(r"[a-z+]+://", redis_url, re.IGNORECASE):
        # Not quoted: what is not a URL may be a password.
        raise Unusable("--redis takes a URL, for example redis://localhost:6379/0")
    try:
        from lockwatch.demo.command import Options, run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _OF_DEMO:
            raise
        raise Unusable(f"the demo needs {error.name}: pip install 'lockwatch[demo]'") from None
    try:
        held = run(Options(redis_url, port, serve, as_json))
    except LockwatchError as error:
        raise Unusable(str(error)) from None
    sys.exit(0 if held else 1)


if COMPLETING in os.environ:
    from click.shell_completion import add_completion_class

    from lockwatch.commands.shells import Bash

    add_completion_class(Bash, "bash")

if __name__ == "__main__":
    main()
