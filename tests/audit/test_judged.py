"""The audit log, judged again: `lockwatch replay --since` and `lockwatch audit score`, on either database."""

from __future__ import annotations

import json

from click.testing import CliRunner

from lockwatch.audit.row import Row
from lockwatch.cli import main
from tests.audit.rows import NOW, row
from tests.audit.test_commands import fill

HOUR = 3_600_000_000


def attempts() -> list[Row]:
    """Two days of people, and an hour of guesses."""
    people = [
        row(
            NOW + hour * HOUR + n,
            kind="auth",
            action="login",
            user_id=f"user{n}",
            ip=f"198.51.100.{n}",
            user_agent=f"browser {n % 7}",
        )
        for hour in range(48)
        for n in range(8)
    ]
    guesses = [
        row(
            NOW + 48 * HOUR + n * 10_000_000,
            kind="auth",
            action="login",
            outcome="failure",
            user_id=f"name{n}",
            ip="203.0.113.7",
            request_id=f"r{n}",
        )
        for n in range(60)
    ]
    return [*people, *guesses]


def test_the_rules_over_the_audit_log_name_the_address_and_requests(audit_url: str) -> None:
    fill(audit_url, attempts())
    done = CliRunner().invoke(main, ["replay", "--since", "2026-11-24", "--database", audit_url, "--full"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    (campaign,) = found["campaigns"]
    assert campaign["sources"] == ["203.0.113.7"]
    assert campaign["examples"][0].startswith("r")
    assert found["events"] == 48 * 8 + 60


def test_nothing_is_read_before_the_time_that_was_given(audit_url: str) -> None:
    fill(audit_url, attempts())
    done = CliRunner().invoke(main, ["replay", "--since", "2026-11-27", "--database", audit_url])
    assert "0 events, 0 campaigns" in done.stdout


def test_a_second_opinion_shows_the_rarest_hours(audit_url: str) -> None:
    fill(audit_url, attempts())
    arguments = ["audit", "score", "--since", "2026-11-24", "--most", "3", "--database", audit_url]
    lines = CliRunner().invoke(main, arguments).stdout.splitlines()
    assert len(lines) == 3
    assert "203.0.113.7" in lines[0]
    first = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout.splitlines()[0])
    assert (first["ip"], first["time"]) == ("203.0.113.7", "2026-11-26T09:00:00Z")


def test_a_file_or_the_log_has_to_be_named() -> None:
    for arguments in ([], ["--since", "7d", "--events", "x"]):
        done = CliRunner().invoke(main, ["replay", *arguments])
        assert done.exit_code == 2
        assert "--since 7d" in done.stderr
