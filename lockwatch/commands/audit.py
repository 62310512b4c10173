"""`lockwatch audit`: what an operator asks the audit log. Each subcommand is imported when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import Final

import click

from lockwatch.audit.connect import EXTRA
from lockwatch.commands.trouble import Unusable

_LATE: Final = {
    "checkpoint": "lockwatch.commands.evidence",
    "drain": "lockwatch.commands.audit_drain",
    "export": "lockwatch.commands.audit_export",
    "prune": "lockwatch.commands.audit_prune",
    "query": "lockwatch.commands.audit_query",
    "score": "lockwatch.commands.audit_score",
    "stats": "lockwatch.commands.audit_prune",
    "tail": "lockwatch.commands.audit_query",
    "verify": "lockwatch.commands.evidence",
    "who": "lockwatch.commands.audit_who",
}


class Late(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return sorted(_LATE)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command by its name."""
        if cmd_name not in _LATE:
            return None
        try:
            found: click.Command = getattr(import_module(_LATE[cmd_name]), cmd_name)
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("lockwatch"):
                raise
            raise Unusable(f"lockwatch audit {cmd_name} needs {error.name}: {EXTRA}") from None
        return found


@click.group(cls=Late)
def audit() -> None:
    """Search, export, check and prune the audit log."""
