"""`lockwatch completion`: what makes a shell complete commands, options and routes.

The script asks `lockwatch` itself at every press of TAB. No application is imported for an answer: routes and limits are those
that the last command about an application has remembered.
"""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

_SHELLS: dict[str, type[ShellComplete]] = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}
_VARIABLE = "_LOCKWATCH_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(list(_SHELLS)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes a shell complete commands, options, routes and limits.

    Load it where the shell starts: ~/.bashrc (bash 4.4 or newer), ~/.zshrc after compinit, or a file in
    ~/.config/fish/completions.
    """
    made = _SHELLS[shell](ctx.find_root().command, {}, "lockwatch", _VARIABLE)
    click.echo(ShellComplete.source(made))  # bash's own also runs bash, to look how old it is
