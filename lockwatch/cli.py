"""The `lockwatch` command. Light to import: what a command needs is imported when it runs."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from typing import Final

import click

from lockwatch import __version__
from lockwatch.commands.trouble import Unusable
from lockwatch.errors import LockwatchError

_LATE: Final = {
    "alerts": "lockwatch.commands.alerts",
    "audit": "lockwatch.commands.audit",
    "bans": "lockwatch.commands.bans",
    "db": "lockwatch.commands.db",
    "keys": "lockwatch.commands.keys",
    "limits": "lockwatch.commands.limits",
    "replay": "lockwatch.commands.replay",
}
_OF_DEMO: Final = frozenset({"fastapi", "starlette", "pydantic", "uvicorn"})


class Late(click.Group):
    """A group some of whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return sorted([*super().list_commands(ctx), *_LATE])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command by its name."""
        if cmd_name not in _LATE:
            return super().get_command(ctx, cmd_name)
        try:
            found: click.Command = getattr(import_module(_LATE[cmd_name]), cmd_name)
        except ModuleNotFoundError as error:
            return _without(cmd_name, error)
        return found


def _without(name: str, error: ModuleNotFoundError) -> click.Command:
    """What stands in the place of a command whose libraries are not installed. Raises: the error, if it is ours."""
    missing = (error.name or "").partition(".")[0]
    if missing in ("", "lockwatch"):
        raise error
    said = f"needs {missing}: pip install 'lockwatch[all]'"

    @click.command(name, short_help=f"({said})", context_settings={"ignore_unknown_options": True}, add_help_option=False)
    @click.argument("rest", nargs=-1)
    def stub(rest: tuple[str, ...]) -> None:
        raise Unusable(f"lockwatch {name} {said}")

    return stub


@click.group(cls=Late)
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


if __name__ == "__main__":
    main()
