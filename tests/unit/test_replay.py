"""Replay: the rules over a file of login events, as the command line runs them."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner, Result

from lockwatch.cli import main
from lockwatch.commands.login_files import logins
from tests.simulation.attacks import ATTACKS
from tests.simulation.world import DAY, MONDAY, World, ordinary


def line(**fields: object) -> str:
    correct = {"time": "2026-01-05T09:00:00Z", "ip": "203.0.113.7", "username": "alice", "outcome": "failure", "user_agent": "curl"}
    return json.dumps({**correct, **fields})


def replayed(tmp_path: Path, lines: list[str], *options: str) -> Result:
    path = tmp_path / "events.jsonl"
    path.write_text("\n".join(lines))
    return CliRunner().invoke(main, ["replay", "--events", str(path), *options])


def guesses(count: int) -> list[str]:
    return [line(time=f"2026-01-05T09:{n // 60:02}:{n % 60:02}Z", username=f"user{n}") for n in range(count)]


def test_many_users_from_one_address_are_one_campaign_and_no_ban(tmp_path: Path) -> None:
    found = json.loads(replayed(tmp_path, guesses(60), "--json").stdout)
    (campaign,) = found["campaigns"]
    assert campaign["rule"] in ("failures.address", "stuffing.address")
    assert campaign["sources"] == ["203.0.113.7"]
    assert campaign["first_detection"] < "2026-01-05T09:00:30Z"
    assert campaign["why"]
    assert set(campaign) == {"rule", "first_detection", "sources", "targets", "why"}
    assert {key: found[key] for key in found if key != "campaigns"} == {"bans": [], "alerts": 1}
    assert json.loads(replayed(tmp_path, guesses(60), "--full").stdout)["events"] == 60


def test_a_rule_may_be_told_to_ban(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('["failures.address"]\nban = 3600\n')
    (ban,) = json.loads(replayed(tmp_path, guesses(60), "--json", "--rules", str(rules)).stdout)["bans"]
    assert (ban["subject"], ban["seconds"]) == ("203.0.113.7", 3600)


def test_bans_are_listed_where_an_application_would_ban(tmp_path: Path) -> None:
    (ban,) = json.loads(replayed(tmp_path, guesses(60), "--json", "--respond", "ban").stdout)["bans"]
    assert (ban["subject"], ban["seconds"]) == ("203.0.113.7", 4 * 3600)


def test_times_are_dates_with_zones_or_numbers_in_any_order_and_files_may_be_compressed(tmp_path: Path) -> None:
    moment = datetime(2026, 1, 5, 9, tzinfo=UTC)
    said = [
        lambda at: at.isoformat(),
        lambda at: at.astimezone(timezone(timedelta(hours=5, minutes=30))).isoformat(),
        lambda at: at.replace(tzinfo=None).isoformat(" "),
        lambda at: at.timestamp(),
        lambda at: str(at.timestamp()),
        lambda at: int(at.timestamp() * 1000),
        lambda at: int(at.timestamp() * 1_000_000),
    ]
    lines = [line(time=said[n % len(said)](moment + timedelta(seconds=n)), username=f"user{n}") for n in range(60)]
    Random(4).shuffle(lines)
    expected = replayed(tmp_path, guesses(60), "--json").stdout
    assert replayed(tmp_path, lines, "--json").stdout == expected
    packed = tmp_path / "events.jsonl.gz"
    packed.write_bytes(gzip.compress("\n".join(lines).encode("utf-8-sig")))
    assert CliRunner().invoke(main, ["replay", "--events", str(packed), "--json"]).stdout == expected


def test_what_does_not_fit_into_memory_is_sorted_on_disk(tmp_path: Path) -> None:
    path, said = tmp_path / "events.jsonl", []
    path.write_text("\n".join(line(time=1_767_600_000 + n * 7919 % 1000, username=None, user_agent="") for n in range(1000)))
    found = list(logins(str(path), said.append, at_once=64))
    assert [each.time_us for each in found] == sorted(each.time_us for each in found)
    assert sorted(each.number for each in found) == list(range(1, 1001))
    assert {(each.user, each.agent) for each in found} == {(None, None)}
    assert said[0] == "64 lines read"


def test_a_torn_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "events.gz"
    path.write_bytes(gzip.compress("\n".join(guesses(60)).encode())[:200])
    result = CliRunner().invoke(main, ["replay", "--events", str(path)])
    assert (result.exit_code, "events.gz" in result.stderr) == (2, True)


def test_people_who_mistype_are_no_campaign(tmp_path: Path) -> None:
    lines = [
        line(outcome=outcome, username=f"user{n}", ip=f"198.51.100.{n}") for n in range(50) for outcome in ("failure", "success")
    ]
    assert json.loads(replayed(tmp_path, lines, "--json").stdout)["campaigns"] == []


def test_a_story_is_told_for_people(tmp_path: Path) -> None:
    said = replayed(tmp_path, guesses(60)).stdout
    assert "60 events, 1 campaigns, 1 alerts, 0 bans" in said
    assert "203.0.113.7" in said


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("{", "line 2"),
        ("[]", "not an object"),
        (line(outcome="maybe"), "neither 'success' nor 'failure'"),
        (line(time="yesterday"), "line 2"),
        (line(time=-5), "not between 1970 and 9999"),
        (line(time=1e40), "not between 1970 and 9999"),
        ('{"time": NaN, "outcome": "success"}', "line 2"),
        ("[" * 100_000, "line 2"),
        ('{"time": 1, "outcome": "success", "ip": "1.2.3.4"}', ""),
        ('{"ip": "203.0.113.7", "outcome": "failure"}', "has no 'time'"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, wrong: str, said: str) -> None:
    result = replayed(tmp_path, [line(), wrong], "--json")
    if said:
        assert result.exit_code == 2
        assert said in result.stderr
        assert "events.jsonl" in result.stderr
    else:
        assert result.exit_code == 0


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["replay", "--events", str(tmp_path / "none.jsonl")])
    assert result.exit_code == 2
    assert "none.jsonl" in result.stderr


def test_an_unknown_rule_is_named(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('["no.rule"]\nban = 3600\n')
    result = replayed(tmp_path, guesses(1), "--rules", str(rules))
    assert result.exit_code == 2
    assert "no.rule" in result.stderr


def test_a_slow_campaign_in_a_month_of_a_small_site_is_found(tmp_path: Path) -> None:
    world, begin, end = World(1, 1000), MONDAY + 14 * DAY, MONDAY + 17 * DAY
    people = ordinary(world, Random(1), MONDAY, end)
    attack = ATTACKS["A4-120"](world, Random(2), begin, end)
    lines = [
        line(time=event.time_us / 1e6, ip=event.ip, username=event.user, outcome=event.outcome, user_agent=event.user_agent)
        for event in [*people, *attack]
        if event.kind == "auth"
    ]
    found = json.loads(replayed(tmp_path, lines, "--full").stdout)
    assert [each["rule"] for each in found["campaigns"]][:1] == ["stuffing.distributed"]
    assert "2026-01-19T00" < found["campaigns"][0]["first_detection"] < "2026-01-20T00"
    assert found["campaigns"][0]["evidence"][0]["contribution"] >= 10


def test_software_that_everybody_uses_excuses_nobody(tmp_path: Path) -> None:
    lines = [
        line(time=f"2026-01-04T{n // 60:02}:{n % 60:02}:00Z", ip=f"198.51.{n}.1", username=f"user{n}", outcome="success")
        for n in range(200)
    ]
    found = json.loads(replayed(tmp_path, [*lines, *guesses(60)], "--json").stdout)
    assert [each["sources"] for each in found["campaigns"]] == [["203.0.113.7"]]
    assert found["campaigns"][0]["first_detection"] < "2026-01-05T09:00:30Z"
