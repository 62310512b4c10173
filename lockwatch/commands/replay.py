"""`lockwatch replay`: what the rules would have said of events of the past."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path

import click

from lockwatch.anomaly.names import Names
from lockwatch.anomaly.replay import REMEMBERED, Rerun, Story, read_events, report
from lockwatch.anomaly.rules import Rule, Settings, ruled
from lockwatch.commands.audit_events import each_event
from lockwatch.commands.database import database
from lockwatch.commands.plain import plain
from lockwatch.commands.trouble import Unusable
from lockwatch.errors import ConfigurationError

_SHOWN = 5


@click.command()
@click.option("--events", "path", metavar="FILE", help="JSON lines of login events; - for standard input.")
@click.option("--since", metavar="TIME", help="The audit log from then on instead: 7d, 2026-11-24, 2026-11-24T09:30:00Z.")
@database
@click.option("--rules", "rules", metavar="FILE", help="TOML with a table for each rule that is to be changed.")
@click.option("--utc-offset", type=int, default=0, metavar="SECONDS", help="How far the site's local time is ahead of UTC.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def replay(path: str | None, since: str | None, url: str | None, rules: str | None, utc_offset: int, as_json: bool) -> None:
    """Say what the detector would have said.

    Each line of FILE is an object with time (ISO 8601 or seconds since 1970), ip, username, outcome (success or failure) and
    user_agent. The detector learns what is usual from the events themselves: give it a week before the day in question.
    """
    if (path is None) == (since is None):
        raise Unusable("give either --events FILE or --since TIME, for example --since 7d")
    names = Names(b"replay", REMEMBERED)
    rerun = Rerun(names, Settings(rules=_rules(rules), utc_offset=utc_offset))
    if path is not None:
        _read_file(path, rerun)
    else:
        each_event(since or "", url, rerun.take)
    story = rerun.end()
    click.echo(json.dumps(report(story, names)) if as_json else "\n".join(_told(story, names)))


def _read_file(path: str, rerun: Rerun) -> None:
    try:
        with click.open_file(path, encoding="utf-8", errors="replace") as lines:
            for event in read_events(lines):
                rerun.take(event)
    except OSError as error:
        raise Unusable(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise Unusable(f"{path}: {error}") from None


def _rules(path: str | None) -> Mapping[str, Rule]:
    try:
        return ruled(tomllib.loads(Path(path).read_text(encoding="utf-8")) if path else {})
    except (OSError, tomllib.TOMLDecodeError, ConfigurationError) as error:
        raise Unusable(f"{path}: {error}") from None


def _told(story: Story, names: Names) -> list[str]:
    found = report(story, names)
    lines = [f"{found['events']} events, {len(found['campaigns'])} campaigns, {found['alerts']} alerts, {len(found['bans'])} bans"]
    for campaign in found["campaigns"]:
        until = campaign["resolved"] or "open at the end"
        lines += ["", f"{campaign['first_detection']}  {campaign['rule']}  ({until})", f"  {campaign['why']}"]
        lines += [f"  {kind}: {_some(campaign[kind], campaign[count])}" for kind, count in _COUNTS if campaign[count]]
        if campaign["compromised"]:
            lines.append(f"  logged in as: {_some(campaign['compromised'], len(campaign['compromised']))}")
    return lines


_COUNTS = (("sources", "source_count"), ("targets", "target_count"))


def _some(names: list[str], count: int) -> str:
    shown = ", ".join(plain(name, 60) for name in names[:_SHOWN])
    return f"{shown} and {count - _SHOWN} more" if count > _SHOWN else shown
