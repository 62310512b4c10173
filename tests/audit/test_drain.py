"""`lockwatch audit drain`: what dead processes left arrives, once, and nothing else is touched."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lockwatch.audit.orphans import NAME
from lockwatch.audit.pack import note_of, packed
from lockwatch.audit.row import Row
from lockwatch.audit.sinks import sink_of
from lockwatch.cli import main
from lockwatch.spool.database import Database
from lockwatch.spool.directory import Directory
from lockwatch.spool.journal import Journal
from tests.audit.rows import NOW, rows
from tests.audit.stored import fetch, stored

STDOUT = "stdout:"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "spools"


def spool(place: Path, given: list[Row], readers: list[str], namespace: str = "lockwatch") -> Journal:
    """A spool as a process has it; orphaned when it is closed."""
    journal = Journal(Database(Directory(place, namespace).claim(NAME)))
    records = [given[i : i + 50] for i in range(0, len(given), 50)]
    journal.append([(n, note_of(r), packed(r)) for n, r in enumerate(records, 1)], dict.fromkeys(readers, 0))
    return journal


def drain(url: str, place: Path, *more: str) -> Result:
    return CliRunner().invoke(main, ["audit", "drain", "--database", url, "--spool-dir", str(place), *more])


def left(place: Path, namespace: str = "lockwatch") -> int:
    return sum(1 for _ in Directory(place, namespace).look(NAME))


def test_spools_arrive_whole_and_are_removed(audit_url: str, place: Path) -> None:
    first, second = rows(1220), rows(30, NOW + 10**8)
    for given in (first, second):
        spool(place, given, [sink_of(audit_url).name]).close()
    dry = drain(audit_url, place, "--dry-run")
    assert dry.output.count("\n") == 2
    done = drain(audit_url, place)
    assert (done.exit_code, "1250 rows delivered" in done.output) == (0, True), done.output
    assert stored(audit_url) == first + second
    assert left(place) == 0
    assert "0 rows delivered" in drain(audit_url, place).output


def test_rows_that_had_arrived_are_not_stored_twice(audit_url: str, place: Path) -> None:
    given = rows(120)

    async def deliver() -> None:
        sink = sink_of(audit_url)
        await sink.write(given[:70])
        await sink.aclose()

    asyncio.run(deliver())
    spool(place, given, [sink_of(audit_url).name]).close()
    drain(audit_url, place)
    assert stored(audit_url) == given


def test_a_spool_another_sink_waits_for_is_kept_for_it(sqlite_url: str, place: Path) -> None:
    given = rows(120)
    spool(place, given, [sink_of(sqlite_url).name, STDOUT]).close()
    spool(place, rows(10, NOW + 10**8), [sink_of(sqlite_url).name]).close()
    done = drain(sqlite_url, place)
    assert "is kept for stdout:" in done.output
    assert len(stored(sqlite_url)) == 130
    assert left(place) == 1
    assert "0 rows delivered" in drain(sqlite_url, place).output


def test_another_login_of_the_same_database_delivers_too(postgres_url: str, place: Path) -> None:
    spool(place, rows(20), [sink_of(postgres_url.replace("postgres@", "writer@")).name]).close()
    drain(postgres_url, place)
    assert (len(stored(postgres_url)), left(place)) == (20, 0)


def test_spools_of_processes_that_live_and_of_others_are_left_alone(sqlite_url: str, place: Path) -> None:
    living = spool(place, rows(20), [STDOUT])
    spool(place, rows(20), [STDOUT], "other").close()
    done = drain(sqlite_url, place)
    assert "0 rows delivered" in done.output
    assert (left(place), left(place, "other")) == (1, 1)
    living.close()


def test_a_damaged_record_is_told_and_its_spool_kept(sqlite_url: str, place: Path) -> None:
    given = rows(150)
    journal = spool(place, given, [sink_of(sqlite_url).name])
    journal.database.connection.execute("UPDATE records SET body = x'00' WHERE n = 2")
    journal.close()
    done = drain(sqlite_url, place)
    assert (done.exit_code, "1 records are damaged" in done.output) == (1, True)
    assert stored(sqlite_url) == given[:50] + given[100:]
    assert left(place) == 1


def test_a_database_that_is_down_leaves_the_spool(sqlite_url: str, place: Path) -> None:
    spool(place, rows(20), [STDOUT]).close()
    done = drain("postgresql://u:geheim@127.0.0.1:1/x", place)
    assert (done.exit_code, left(place)) == (2, 1)
    assert "geheim" not in done.output
    assert "20 rows" in drain(sqlite_url, place).output
    assert fetch(sqlite_url, "SELECT count(*) FROM lockwatch_audit_log") == [(20,)]
