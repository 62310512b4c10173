"""Answers as JSON: the option, and how they are printed."""

from __future__ import annotations

import json
from typing import Any, Final

import click

JSON: Final = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def print_json(data: Any) -> None:
    """Print an answer that programs read."""
    click.echo(json.dumps(data, indent=2))
