"""`lockwatch audit score`: a second opinion on the audit log."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from lockwatch.anomaly.score import Scorer
from lockwatch.commands.audit_events import each_event
from lockwatch.commands.database import database
from lockwatch.commands.plain import plain


@click.command()
@click.option(
    "--since", default="7d", show_default=True, metavar="TIME", help="From then on: 7d, 2026-11-24, 2026-11-24T09:30:00Z."
)
@click.option("--most", type=click.IntRange(1, 1000), default=20, show_default=True, metavar="N", help="Hours shown.")
@database
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def score(since: str, most: int, url: str | None, as_json: bool) -> None:
    """Show the hours of addresses that were least like all others, the rarest first.

    It knows no attack and alerts nobody. Slow, distributed attacks do not show: see the documentation of detection.
    """
    scorer = Scorer(most)
    each_event(since, url, scorer.add)
    scorer.close()
    found = scorer.best()
    if as_json:
        for each in found:
            click.echo(json.dumps({"time": each.time, **asdict(each)}))
        return
    for each in found:
        click.echo(f"{each.value:6.1f}  {each.time}  {plain(each.ip, 45):<45}  {each.why}")
    if not found:
        click.echo("Nothing was scored: less than a few hundred hours of addresses have been seen.")
