"""`lockwatch replay`: what the rules would have said of events of the past."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final

import click

from lockwatch.anomaly.config import BANNING, AnomalyConfig
from lockwatch.anomaly.names import Names
from lockwatch.anomaly.replay import REMEMBERED, Rerun, Story, brief, report
from lockwatch.anomaly.rules import Rule, Settings, ruled
from lockwatch.commands.audit_events import each_event
from lockwatch.commands.database import database
from lockwatch.commands.login_files import logins
from lockwatch.commands.plain import plain
from lockwatch.commands.trouble import Unusable
from lockwatch.errors import ConfigurationError

_SHOWN: Final = 5
_TOLD: Final = 50_000
"""Events from one word about progress to the next."""
_COUNTS: Final = (("sources", "source_count"), ("targets", "target_count"))


@click.command()
@click.option("--events", "path", metavar="FILE", help="JSON lines of login events, also compressed by gzip; - for standard input.")
@click.option("--since", metavar="TIME", help="The audit log from then on instead: 7d, 2026-11-24, 2026-11-24T09:30:00Z.")
@database
@click.option("--rules", "rules", metavar="FILE", help="TOML with a table for each rule that is to be changed.")
@click.option("--respond", type=click.Choice(["alert", "ban"]), default="alert", help="Whether sources are banned, too.")
@click.option("--utc-offset", type=int, default=0, metavar="SECONDS", help="How far the site's local time is ahead of UTC.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--full", is_flag=True, help="Print JSON with all that is known of each campaign.")
def replay(
    path: str | None,
    since: str | None,
    url: str | None,
    rules: str | None,
    respond: str,
    utc_offset: int,
    as_json: bool,
    full: bool,
) -> None:
    """Say what the detector would have said.

    Each line of FILE is an object with time (ISO 8601 or seconds since 1970), ip, username, outcome (success or failure) and
    user_agent; lines may come in any order. The detector learns what is usual from the events themselves: give it a week before the
    day in question.
    """
    if (path is None) == (since is None):
        raise Unusable("give either --events FILE or --since TIME, for example --since 7d")
    rerun = Rerun(Names(b"replay", REMEMBERED), Settings(rules=_rules(rules, respond), utc_offset=utc_offset))
    if path is not None:
        _read_file(path, rerun)
    else:
        each_event(since or "", url, rerun.take)
    story = rerun.end()
    if as_json or full:
        click.echo(json.dumps(report(story) if full else brief(story)))
    else:
        click.echo("\n".join(_told(story)))


def _read_file(path: str, rerun: Rerun) -> None:
    for number, line in enumerate(logins(path, _say), 1):
        rerun.take(line.event())
        if number % _TOLD == 0:
            _say(f"{number:,} events judged, until {datetime.fromtimestamp(line.time_us // 1_000_000, UTC):%Y-%m-%d %H:%M}")


def _say(text: str) -> None:
    click.echo(text, err=True)


def _rules(path: str | None, respond: str) -> Mapping[str, Rule]:
    try:
        rules = ruled(tomllib.loads(Path(path).read_text(encoding="utf-8")) if path else {})
    except (OSError, tomllib.TOMLDecodeError, ConfigurationError) as error:
        raise Unusable(f"{path}: {error}") from None
    if respond == "alert":
        return rules
    seconds = int(AnomalyConfig().ban_seconds)
    return MappingProxyType({name: replace(rule, ban=rule.ban or seconds * (name in BANNING)) for name, rule in rules.items()})


def _told(story: Story) -> list[str]:
    found = report(story)
    lines = [f"{found['events']} events, {len(found['campaigns'])} campaigns, {found['alerts']} alerts, {len(found['bans'])} bans"]
    for campaign in found["campaigns"]:
        until = campaign["resolved"] or "open at the end"
        lines += ["", f"{campaign['first_detection']}  {campaign['rule']}  ({until})", f"  {campaign['why']}"]
        lines += [f"  {kind}: {_some(campaign[kind], campaign[count])}" for kind, count in _COUNTS if campaign[count]]
        lines += [f"  {rule['joined']}  {rule['rule']}: {rule['why']}" for rule in campaign["rules"][1:]]
        if campaign["compromised"]:
            lines.append(f"  logged in as: {_some(campaign['compromised'], len(campaign['compromised']))}")
    return lines


def _some(names: list[str], count: int) -> str:
    shown = ", ".join(plain(name, 60) for name in names[:_SHOWN])
    return f"{shown} and {count - _SHOWN} more" if count > _SHOWN else shown
