"""`flask lockwatch ...`: the commands of `lockwatch ...`, about the application that Flask has found.

Flask imports this for each of its commands. So nothing is imported here that may be missing, and the application is loaded when a
command asks for it.
"""

from __future__ import annotations

from typing import Any

import click

from lockwatch.cli import HOMES
from lockwatch.commands.application import GIVEN
from lockwatch.commands.group import Root


class Group(Root):
    """The commands that are about applications, databases and keys."""

    prefix = "flask lockwatch"
    names = False

    def invoke(self, ctx: click.Context) -> Any:
        """Run one of them. Those that take ``--app`` do without it here."""
        from flask.cli import ScriptInfo

        ctx.meta[GIVEN] = lambda: ctx.ensure_object(ScriptInfo).load_app()
        return super().invoke(ctx)


@click.group(cls=Group, homes=HOMES)
def group() -> None:
    """Look after limits, tokens, bans and the audit log."""
