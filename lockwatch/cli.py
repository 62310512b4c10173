"""The `lockwatch` command."""

from __future__ import annotations

import click

from lockwatch import __version__


@click.group()
@click.version_option(__version__)
def main() -> None:
    """Security for FastAPI and Flask applications."""
