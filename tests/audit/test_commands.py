"""`lockwatch audit` on either database: what it finds, what it writes, what it forgets."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lockwatch.audit.chain import link
from lockwatch.audit.connect import Database
from lockwatch.audit.formats import row_of
from lockwatch.audit.query import AuditQuery
from lockwatch.audit.reading import Reader
from lockwatch.audit.row import Row
from lockwatch.audit.sinks import sink_of
from lockwatch.cli import main
from lockwatch.commands.audit_query import arrivals
from lockwatch.commands.plain import moment_of
from lockwatch.commands.trouble import Unusable
from tests.audit.rows import NOW, row, rows
from tests.audit.stored import fetch, stored

DAY = 86_400 * 10**6
EVIL = "\x1b[2Jroot\u202e\x9b"


def fill(url: str, given: list[Row]) -> None:
    async def go() -> None:
        sink = sink_of(url)
        await sink.write(given)
        await sink.aclose()

    asyncio.run(go())


def lockwatch(url: str, *arguments: str, ok: bool = True) -> Result:
    done = CliRunner().invoke(main, ["audit", *arguments, "--database", url])
    assert not ok or done.exit_code == 0, done.output
    return done


def test_query_prints_a_table_or_json_and_where_it_goes_on(audit_url: str) -> None:
    fill(audit_url, [row(NOW + i, user_id=f"user:{i % 2}", ip="192.0.2.1", rate_limit_hit=i == 3) for i in range(10)])
    table = lockwatch(audit_url, "query", "--user", "user:1")
    assert len(table.stdout.splitlines()) == 6
    first = lockwatch(audit_url, "query", "--limit", "6", "--json")
    cursor = first.stderr.split()[-1]
    second = lockwatch(audit_url, "query", "--limit", "6", "--json", "--cursor", cursor)
    assert [json.loads(line)["seq"] for line in (first.stdout + second.stdout).splitlines()] == [
        r.seq for r in stored(audit_url)[::-1]
    ]
    assert second.stderr == ""
    assert len(lockwatch(audit_url, "query", "--refused", "--json").stdout.splitlines()) == 1
    assert lockwatch(audit_url, "query", "--ip", "192.0.2.9").stdout == "Nothing of that kind.\n"


def test_nothing_a_request_holds_steers_the_terminal(audit_url: str) -> None:
    evil = json.dumps({"a": EVIL}, ensure_ascii=False)
    reasons = json.dumps([EVIL], ensure_ascii=False)
    fill(audit_url, [row(user_id=EVIL, endpoint=EVIL, action=EVIL, ip="192.0.2.1", user_agent=EVIL, reasons=reasons)])
    fill(audit_url, [row(details=evil, user_id="x")])
    for arguments in (["query"], ["query", "--json"], ["tail"], ["who", "192.0.2.1", "--since", "2026-01-01"]):
        shown = lockwatch(audit_url, *arguments).output
        assert not [c for c in shown if not c.isprintable() and c != "\n"], arguments
        assert "root" in shown


def test_a_row_whose_json_was_broken_is_shown_all_the_same(sqlite_url: str) -> None:
    fill(sqlite_url, [row(reasons="[", details="{", flags="7")])
    assert lockwatch(sqlite_url, "query").stdout.endswith(" [\n")

    async def ask() -> None:
        reader = Reader(Database.of(sqlite_url))
        [entry] = await reader.entries(AuditQuery())
        assert (entry.reasons, entry.flags, dict(entry.details)) == (("[",), ("7",), {"unreadable": "{"})
        await reader.aclose()

    asyncio.run(ask())


def test_who_sums_up_an_address_and_a_user(audit_url: str) -> None:
    fill(audit_url, [row(NOW + i, user_id=f"user:{i % 2}", ip="2001:db8::1", rate_limit_hit=i < 2, count=2) for i in range(10)])
    told = json.loads(lockwatch(audit_url, "who", "2001:DB8::1", "--json", "--since", "2026-01-01").stdout)
    assert (told["events"], told["refused"], told["column"]) == (20, 4, "ip")
    assert told["aspects"]["user_id"] == [["user:0", 10], ["user:1", 10]]
    assert (told["first"], len(told["rows"])) == ("2026-11-24T09:30:00.000000Z", 10)
    told = json.loads(lockwatch(audit_url, "who", "user:1", "--json", "--since", "2026-01-01").stdout)
    assert (told["events"], told["aspects"]["ip"]) == (10, [["2001:db8::1", 10]])
    assert "nothing since" in lockwatch(audit_url, "who", "nobody").stdout


def test_an_export_holds_every_row_and_goes_on_where_it_ended(audit_url: str, tmp_path: Path) -> None:
    first, second = rows(30, details='{"a":"\u00e4"}'), rows(20, NOW + DAY)
    file = tmp_path / "audit.jsonl"
    fill(audit_url, first)
    lockwatch(audit_url, "export", "--until", "2027-01-01", "--output", str(file), "--resume")
    with file.open("a") as torn:
        torn.write('{"a line that was written when the machine died')
    fill(audit_url, second)
    lockwatch(audit_url, "export", "--until", "2027-01-01", "--output", str(file), "--resume")
    assert [row_of(line) for line in file.read_text().splitlines()] == first + second
    assert file.stat().st_mode & 0o777 == 0o600
    other = lockwatch(audit_url, "export", "--user", "x", "--output", str(file), "--resume", ok=False)
    assert (other.exit_code, "other filters" in other.output) == (2, True)


def test_an_export_to_standard_output_tells_its_cursor(audit_url: str) -> None:
    fill(audit_url, rows(5))
    done = lockwatch(audit_url, "export", "--until", "2027-01-01", "--quiet")
    cursor = done.stderr.split()[-1]
    fill(audit_url, rows(2, NOW + DAY))
    more = lockwatch(audit_url, "export", "--until", "2027-01-01", "--quiet", "--cursor", cursor)
    assert [row_of(line) for line in (done.stdout + more.stdout).splitlines()] == stored(audit_url)


def test_an_export_leaves_out_what_may_be_on_its_way(audit_url: str) -> None:
    now = time.time_ns() // 1000
    fill(audit_url, [row(now - 10**8), row(now)])
    assert len(lockwatch(audit_url, "export", "--quiet").stdout.splitlines()) == 1


@pytest.mark.parametrize("form", ["csv", "ecs"])
def test_an_export_may_be_csv_or_ecs(audit_url: str, form: str) -> None:
    fill(audit_url, [row(user_id="=1+1"), row(NOW + 1, user_id="b")])
    out = lockwatch(audit_url, "export", "--until", "2027-01-01", "--quiet", "--format", form).stdout
    if form == "csv":
        assert [found["user_id"] for found in csv.DictReader(io.StringIO(out))] == ["'=1+1", "b"]
    else:
        assert [json.loads(line)["user"]["id"] for line in out.splitlines()] == ["=1+1", "b"]


def test_tail_begins_with_the_newest(audit_url: str) -> None:
    fill(audit_url, rows(30))
    lines = lockwatch(audit_url, "tail", "-n", "3", "--json").stdout.splitlines()
    assert [json.loads(line)["id"] for line in lines] == [r.id for r in stored(audit_url)[-3:]]


def test_tail_shows_what_comes_once_also_what_comes_late(audit_url: str) -> None:
    before, after, late = rows(30), rows(3, NOW + 10**6), rows(2, NOW + 500)
    fill(audit_url, before)

    async def watch() -> list[Row]:
        reader, sink = Reader(Database.of(audit_url)), sink_of(audit_url)
        coming = arrivals(reader, AuditQuery(), before[-5:], 0.01)
        await sink.write(after)
        found = await anext(coming)
        await sink.write(late)
        while len(found) < 5:
            found += await anext(coming)
        await coming.aclose()
        await reader.aclose()
        await sink.aclose()
        return found

    assert sorted(asyncio.run(watch())) == sorted(after + late)


def test_tail_follows_until_it_is_interrupted(sqlite_url: str) -> None:
    fill(sqlite_url, rows(2))
    # Whoever runs the tests in the background of a shell has told all processes to ignore the signal of a terminal.
    listening = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from lockwatch.cli import main; main()"
    command = [sys.executable, "-c", listening, "audit", "tail", "-f", "--json", "--every", "0.1", "--database", sqlite_url]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    assert running.stdout is not None
    assert [json.loads(running.stdout.readline())["seq"] for _ in range(2)]
    fill(sqlite_url, [row(NOW + DAY, user_id="late")])
    assert json.loads(running.stdout.readline())["user_id"] == "late"
    running.send_signal(signal.SIGINT)
    assert running.wait(20) == 130
    running.stdout.close()


def anchors(url: str) -> list[tuple[Any, ...]]:
    return fetch(url, "SELECT process, seq, chain, rows FROM lockwatch_audit_anchor ORDER BY process")


def test_pruning_forgets_what_is_old_and_anchors_the_chains(audit_url: str) -> None:
    old = [row(NOW - 400 * DAY + i, process=f"{i % 3:016x}") for i in range(30)]
    new = [row(NOW - 10 * DAY + i, process=f"{i % 2:016x}") for i in range(10)]
    fill(audit_url, old + new)
    dry = lockwatch(audit_url, "prune", "--before", "2026-01-01", "--dry-run")
    assert dry.stdout.count("\n") == 1
    assert stored(audit_url) == old + new
    assert "30 rows forgotten" in lockwatch(audit_url, "prune", "--before", "2026-01-01", "--yes").stdout
    assert stored(audit_url) == new
    expected = [(r.process, r.seq, r.chain, 10) for r in old[27:]]
    assert anchors(audit_url) == expected
    assert "0 rows forgotten" in lockwatch(audit_url, "prune", "--before", "2026-01-01", "--yes").stdout
    assert anchors(audit_url) == expected


def test_a_log_that_was_pruned_is_as_it_was_written(audit_url: str, tmp_path: Path) -> None:
    given: list[Row] = []
    for i in range(60):
        previous = given[i - 2].chain if i > 1 else b""
        plain_row = row(NOW - 400 * DAY + i * 10 * DAY, process=f"{i % 2:016x}", seq=i // 2 + 1, chain=b"")
        given.append(plain_row._replace(chain=link(previous, plain_row)))
    fill(audit_url, given[:45])
    key = str(tmp_path / "key.pem")
    lockwatch(audit_url, "checkpoint", "--key", key, "--generate-key")
    lockwatch(audit_url, "checkpoint", "--key", key, "--file", f"{key}.sealed")

    def verify() -> Result:
        evidence = ["--checkpoints", f"{key}.sealed", "--public-key", f"{key}.pub"]
        return CliRunner().invoke(main, ["audit", "verify", audit_url, *evidence])

    assert "rows forgotten" in lockwatch(audit_url, "prune", "--before", "2026-01-01", "--yes", "--key", key).stdout
    assert verify().exit_code == 0, verify().output
    fill(audit_url, given[45:])
    lockwatch(audit_url, "prune", "--before", "2026-06-01", "--yes", "--key", key)
    assert verify().exit_code == 0, verify().output
    assert len(anchors(audit_url)) == 2
    fetch(audit_url, f"DELETE FROM lockwatch_audit_log WHERE process = '{given[-1].process}' AND seq = {given[-5].seq}")
    assert verify().exit_code == 1


def test_pruning_on_postgres_keeps_what_shares_a_partition_with_newer_rows(postgres_url: str) -> None:
    given = [row(NOW - 20 * DAY), row(NOW)]
    fill(postgres_url, given)
    assert "0 rows forgotten" in lockwatch(postgres_url, "prune", "--before", "2026-11-20", "--yes").stdout
    assert stored(postgres_url) == given


def test_a_pruning_that_was_interrupted_is_taken_up_again(postgres_url: str) -> None:
    old, new = rows(20, NOW - 400 * DAY), rows(5)
    fill(postgres_url, old + new)
    name = "lockwatch_audit_log_2025_10"
    fetch(postgres_url, f"COMMENT ON TABLE {name} IS 'lockwatch: to be dropped'")
    fetch(postgres_url, f"ALTER TABLE lockwatch_audit_log DETACH PARTITION {name}")
    assert "20 rows forgotten" in lockwatch(postgres_url, "prune", "--before", "2025-01-01", "--yes").stdout
    assert [(seq, count) for _, seq, _, count in anchors(postgres_url)] == [(old[-1].seq, 20)]
    assert stored(postgres_url) == new


def test_a_table_somebody_detached_is_not_ours_to_drop(postgres_url: str) -> None:
    fill(postgres_url, rows(5, NOW - 400 * DAY) + rows(1))
    fetch(postgres_url, "ALTER TABLE lockwatch_audit_log DETACH PARTITION lockwatch_audit_log_2025_10")
    lockwatch(postgres_url, "prune", "--before", "2026-01-01", "--yes")
    assert fetch(postgres_url, "SELECT count(*) FROM lockwatch_audit_log_2025_10") == [(5,)]


def test_pruning_gives_bytes_back(audit_url: str) -> None:
    fill(audit_url, rows(12_000, NOW - 400 * DAY, user_agent="x" * 100) + rows(1))
    before = json.loads(lockwatch(audit_url, "stats", "--json").stdout)
    done = lockwatch(audit_url, "prune", "--keep", "100d", "--yes")
    after = json.loads(lockwatch(audit_url, "stats", "--json").stdout)
    assert "12000 rows forgotten" in done.stdout
    assert after["bytes"] < before["bytes"] / 4


def test_stats_tell_how_large_it_is(audit_url: str) -> None:
    fill(audit_url, rows(7))
    found = json.loads(lockwatch(audit_url, "stats", "--json").stdout)
    assert (found["first"], found["revision"], found["parked"]) == ("2026-11-24T09:30:00.000000Z", "0001", 0)
    assert "revision" in lockwatch(audit_url, "stats").stdout


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["query", "--cursor", "nonsense"], "not a cursor"),
        (["query", "--since", "noon"], "no time"),
        (["prune"], "give one of"),
        (["prune", "--keep", "90d", "--before", "2026-01-01"], "give one of"),
        (["prune", "--before", "2999-01-01", "--yes"], "in the future"),
        (["export", "--resume"], "needs --output"),
    ],
)
def test_what_cannot_be_asked_is_said_in_a_line(sqlite_url: str, arguments: list[str], part: str) -> None:
    fill(sqlite_url, rows(1))
    done = lockwatch(sqlite_url, *arguments, ok=False)
    assert (done.exit_code, done.output.count("\n")) == (2, 1)
    assert part in done.output


def test_a_database_without_tables_says_what_to_run(audit_url: str) -> None:
    done = lockwatch(audit_url, "query", ok=False)
    assert done.exit_code == 2
    assert "lockwatch db upgrade" in done.output


def test_times_are_understood_as_written() -> None:
    from datetime import UTC, datetime, timedelta

    now = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
    assert moment_of("2h", now) == now - timedelta(hours=2)
    assert moment_of("2026-11-24", now) == datetime(2026, 11, 24, tzinfo=UTC)
    assert moment_of("2026-11-24T10:30:00+01:00", now) == now
    with pytest.raises(Unusable, match="2h, 7d"):
        moment_of("\x1b", now)
