"""Groups of commands: imported when they are asked for, each with an example, and with the nearest name for one that is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from difflib import get_close_matches
from importlib import import_module
from typing import Any, Final, NamedTuple

import click
from click.shell_completion import CompletionItem

from lockwatch.commands.examples import EXAMPLES
from lockwatch.commands.trouble import Unusable, installing

_NEAR: Final = 0.55


class Home(NamedTuple):
    """Where a command is, and what it does in one line, so that names are completed without importing anything."""

    module: str
    summary: str


class Group(click.Group):
    """A group of commands, some of which are imported when they are asked for.

    Args:
        homes: where those are.
    """

    def __init__(self, *args: Any, homes: Mapping[str, Home] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.homes = dict(homes or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return sorted({*super().list_commands(ctx), *self.homes})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command by its name."""
        path = (*_path(ctx), cmd_name)
        found = _imported(path, self.homes[cmd_name]) if cmd_name in self.homes else super().get_command(ctx, cmd_name)
        if found is not None and (lines := EXAMPLES.get(" ".join(path))):
            found = copy(found)  # the command line of Flask has the same commands, and other examples
            found.epilog = _example(_root(ctx), lines)
        return found

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that `args` begin with. Raises: UsageError, with the nearest name."""
        if not ctx.resilient_parsing and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            raise click.UsageError(f"there is no command {args[0][:100]!r}; {self._nearest(ctx, args[0])}", ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands and options that begin like that; no command is imported for it."""
        told = {name: home.summary for name, home in self.homes.items()}
        told |= {name: command.get_short_help_str() for name, command in self.commands.items()}
        found = [CompletionItem(name, help=text) for name, text in sorted(told.items()) if name.startswith(incomplete)]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def _nearest(self, ctx: click.Context, name: str) -> str:
        """Which command was meant: one of this group, or one of that name in a group below."""
        known = self.list_commands(ctx)
        below = [group for group in known if name in _names_below(self.get_command(ctx, group), ctx)]
        near = [f"{below[0]} {name}"] if below else get_close_matches(name, known, n=1, cutoff=_NEAR)
        return f"did you mean: {ctx.command_path} {near[0]}" if near else f"there are {', '.join(known)}"


class Root(Group):
    """The outermost group.

    Attributes:
        prefix: how its commands begin.
        names: whether its commands have to be told which application they are about.
    """

    prefix = "lockwatch"
    names = True


def group(homes: Mapping[str, Home] | None = None) -> Callable[[Callable[..., Any]], Group]:
    """Make a group out of a function, as `click.group` does."""
    return click.group(cls=Group, homes=homes)


def _root(ctx: click.Context) -> Root | None:
    above: click.Context | None = ctx
    while above is not None and not isinstance(above.command, Root):
        above = above.parent
    return None if above is None else above.command  # type: ignore[return-value]  # it is one


def _path(ctx: click.Context) -> tuple[str, ...]:
    """The names of the groups between the outermost one and a command."""
    if ctx.parent is None or isinstance(ctx.command, Root):
        return ()
    return (*_path(ctx.parent), ctx.command.name or "")


def _example(root: Root | None, lines: tuple[str, ...]) -> str:
    """Examples as they are printed below the help of a command."""
    told = [line if root is None or root.names else line.replace(" --app main:app", "").replace(" main:app", "") for line in lines]
    prefix = Root.prefix if root is None else root.prefix
    return "\b\n" + "\n".join(["Example:", *(f"  {prefix} {line}" for line in told)])


def _names_below(command: click.Command | None, ctx: click.Context) -> list[str]:
    return command.list_commands(ctx) if isinstance(command, click.Group) else []


def _imported(path: tuple[str, ...], home: Home) -> click.Command:
    try:
        found: click.Command = getattr(import_module(home.module), path[-1])
    except ModuleNotFoundError as error:
        return _without(" ".join(path), error)
    return found


def _without(name: str, error: ModuleNotFoundError) -> click.Command:
    """What stands in the place of a command whose libraries are not installed. Raises: the error, if it is ours."""
    missing = (error.name or "").partition(".")[0]
    if missing in ("", "lockwatch", "lockwatch_flask"):
        raise error
    said = f"needs {missing}: {installing(missing) or installing()}"

    @click.command(name, short_help=f"({said})", context_settings={"ignore_unknown_options": True}, add_help_option=False)
    @click.argument("rest", nargs=-1)
    def stub(rest: tuple[str, ...]) -> None:
        raise Unusable(f"lockwatch {name} {said}")

    return stub
