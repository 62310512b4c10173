"""An append-only log: the application may add rows, and nobody changes one by accident."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import asyncpg
import pytest
from click.testing import CliRunner

from lockwatch.audit.sinks import sink_of
from lockwatch.cli import main
from lockwatch.errors import SinkError
from tests.audit.rows import NOW, row, rows
from tests.audit.stored import fetch, stored

DAY = 86_400 * 10**6


def db(url: str, *arguments: str) -> str:
    done = CliRunner().invoke(main, ["db", *arguments, "--database", url])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def roles(postgres_url: str) -> tuple[str, str]:
    """URLs of a writer and a reader of a log that is set up for them."""
    suffix = urlsplit(postgres_url).path[1:9]
    names = f"writer_{suffix}", f"reader_{suffix}"
    db(postgres_url, "upgrade")
    db(postgres_url, "partitions", "--for", "2026-11-24")
    db(postgres_url, "roles", "--apply", "--writer", names[0], "--reader", names[1])
    for name in names:
        fetch(postgres_url, f'CREATE ROLE "login_{name}" LOGIN IN ROLE "{name}"')
    parts = urlsplit(postgres_url)
    writer, reader = (parts._replace(netloc=f"login_{name}@{parts.hostname}:{parts.port}").geturl() for name in names)
    return writer, reader


def write(url: str, batch: list[object]) -> None:
    async def go() -> None:
        sink = sink_of(url)
        await sink.write(batch)  # type: ignore[arg-type]
        await sink.aclose()

    asyncio.run(go())


def test_a_writer_adds_rows_again_too_parks_and_makes_partitions(postgres_url: str, roles: tuple[str, str]) -> None:
    given = [*rows(5), row(NOW + 60 * DAY)]
    write(roles[0], given)
    write(roles[0], [*given, row(user_agent="\x00")])
    assert stored(postgres_url) == given
    assert fetch(postgres_url, "SELECT count(*) FROM lockwatch_audit_parked") == [(1,)]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE lockwatch_audit_log SET user_id = 'x'",
        "DELETE FROM lockwatch_audit_log",
        "TRUNCATE lockwatch_audit_log",
        "TRUNCATE lockwatch_audit_log_2026_11",
        "DELETE FROM lockwatch_audit_log_2026_11",
        "TRUNCATE lockwatch_audit_log_2027_01",
    ],
)
def test_nobody_changes_a_row(postgres_url: str, roles: tuple[str, str], statement: str) -> None:
    given = [*rows(3), row(NOW + 60 * DAY)]
    write(roles[0], given)
    for url in (postgres_url, *roles):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            fetch(url, statement)
    assert stored(postgres_url) == given


def test_a_writer_reads_nothing_and_a_reader_writes_nothing(postgres_url: str, roles: tuple[str, str]) -> None:
    write(roles[0], list(rows(3)))
    assert len(stored(roles[1])) == 3
    for table in ("log", "parked", "anchor"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            fetch(roles[0], f"SELECT * FROM lockwatch_audit_{table}")
    with pytest.raises(SinkError):
        write(roles[1], list(rows(1)))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        fetch(roles[1], "SELECT lockwatch_audit_partition(now())")


def test_pruning_by_the_owner_goes_on_to_work(postgres_url: str, roles: tuple[str, str]) -> None:
    write(roles[0], [*rows(4, NOW - 400 * DAY), *rows(1)])
    done = CliRunner().invoke(main, ["audit", "prune", "--keep", "100d", "--yes", "--database", postgres_url])
    assert "4 rows forgotten" in done.output
    assert len(stored(postgres_url)) == 1
    refused = CliRunner().invoke(main, ["audit", "prune", "--before", "2026-11-23", "--yes", "--database", roles[0]])
    assert refused.exit_code in (0, 2)


def test_the_sql_is_printed_and_may_be_run_twice(postgres_url: str) -> None:
    db(postgres_url, "upgrade")
    suffix = urlsplit(postgres_url).path[1:9]
    names = ("--writer", f"w_{suffix}", "--reader", f"r_{suffix}")
    script = db(postgres_url, "roles", *names)
    assert script.count(";\n") >= 10
    for _ in range(2):
        fetch_script(postgres_url, script)
    db(postgres_url, "downgrade", "base", "--yes")


def fetch_script(url: str, script: str) -> None:
    async def go() -> None:
        connection = await asyncpg.connect(url)
        await connection.execute(script)
        await connection.close()

    asyncio.run(go())


def test_a_role_with_a_name_that_is_none_is_refused(postgres_url: str) -> None:
    db(postgres_url, "upgrade")
    done = CliRunner().invoke(main, ["db", "roles", "--writer", "x; DROP TABLE y", "--database", postgres_url])
    assert (done.exit_code, "lockwatch_writer" in done.output) == (2, True)


def test_partitions_hold_what_they_are_told_to(postgres_url: str) -> None:
    db(postgres_url, "upgrade")
    db(postgres_url, "partitions", "--for", "2026-11-24")
    told = db(postgres_url, "partitions", "--by", "day", "--for", "2026-12-05T10:00:00Z")
    assert told.endswith("New partitions hold a day.\n")
    assert [line.split()[:3] for line in told.splitlines()[1:-1]] == [
        ["lockwatch_audit_log_2026_11", "2026-11-01", "2026-12-01"],
        ["lockwatch_audit_log_2026_12_05", "2026-12-05", "2026-12-06"],
    ]


def test_sqlite_has_neither(sqlite_url: str) -> None:
    for command in ("roles", "partitions"):
        done = CliRunner().invoke(main, ["db", command, "--database", sqlite_url])
        assert (done.exit_code, "for Postgres" in done.output) == (2, True)
