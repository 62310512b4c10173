"""Sinks store every row they are given once, whatever is in it and however often it comes."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from lockwatch.audit.connect import Database
from lockwatch.audit.entry import AuditLogEntry
from lockwatch.audit.row import Row
from lockwatch.audit.sinks import sink_of
from lockwatch.audit.sinks.postgres import PostgresSink
from lockwatch.audit.sinks.sqlite import SqliteSink
from lockwatch.audit.sinks.stdout import Stdout
from lockwatch.errors import ConfigurationError, SinkError
from tests import servers
from tests.audit.rows import FULL, NOW, row, rows
from tests.audit.stored import fetch, stored

DAY = 86_400 * 10**6


def write(option: Any, *batches: list[Row]) -> None:
    async def go() -> None:
        sink = sink_of(option)
        for batch in batches:
            await sink.write(batch)
        await sink.aclose()

    asyncio.run(go())


def parked(url: str) -> list[tuple[Any, ...]]:
    return fetch(url, "SELECT process, seq, chain, error, row FROM lockwatch_audit_parked ORDER BY seq")


def test_rows_come_back_as_they_were(url: str) -> None:
    given = [FULL, *rows(3, NOW + 10**6), row(NOW + 2 * 10**6, user_id="", details="{}")]
    write(url, given)
    assert stored(url) == given


def test_rows_that_come_again_are_stored_once(audit_url: str) -> None:
    given = rows(10)
    write(audit_url, given[:6], given[:6], given, given[4:])
    assert stored(audit_url) == given


@pytest.mark.parametrize(
    "broken",
    [
        {"details": "{"},
        {"user_agent": "a\x00b"},
        {"user_agent": "\ud800"},
        {"latency_us": 2**63},
        {"ip": 7},
        {"user_id": os.urandom(4500).hex()},  # too long for an index, however it is compressed
    ],
    ids=["json", "nul", "surrogate", "number", "type", "index"],
)
def test_a_row_postgres_refuses_is_parked_and_the_others_are_stored(postgres_url: str, broken: dict[str, Any]) -> None:
    culprit = row(NOW + 5500, **broken)
    given = [*rows(5), culprit, *rows(6, NOW + 10**6)]
    write(postgres_url, given, given)
    assert stored(postgres_url) == [r for r in given if r is not culprit]
    [(process, seq, chain, error, kept)] = parked(postgres_url)
    assert (process, seq, chain) == (culprit.process, culprit.seq, culprit.chain)
    assert error
    assert json.loads(kept)["chain"] == culprit.chain.hex()


@pytest.mark.parametrize("broken", [{"user_agent": "\ud800"}, {"latency_us": 2**63}, {"action": None}, {"seq": 2**64}], ids=str)
def test_a_row_sqlite_refuses_is_parked_and_the_others_are_stored(sqlite_url: str, broken: dict[str, Any]) -> None:
    culprit = row(NOW + 5500, **broken)
    given = [*rows(5), culprit, *rows(6, NOW + 10**6)]
    write(sqlite_url, given, given)
    assert stored(sqlite_url) == [r for r in given if r is not culprit]
    assert [found[2] for found in parked(sqlite_url)] == [culprit.chain]


def test_partitions_are_made_for_rows_of_any_time_a_clock_may_show(postgres_url: str) -> None:
    old, ahead = row(NOW - 3 * 365 * DAY), row(NOW + 100 * DAY)
    absurd = [row(5 * 365 * DAY), row(NOW + 40 * 365 * DAY)]
    write(postgres_url, [old, *rows(4), ahead, *absurd])
    found = stored(postgres_url)
    assert len(found) == 6
    assert {old, ahead} < set(found)
    assert {entry[2] for entry in parked(postgres_url)} == {r.chain for r in absurd}
    names = {
        name for (name,) in fetch(postgres_url, "SELECT relid::text FROM pg_partition_tree('lockwatch_audit_log') WHERE isleaf")
    }
    assert {"lockwatch_audit_log_2023_11", "lockwatch_audit_log_2026_11", "lockwatch_audit_log_2027_03"} <= names


def test_without_leave_to_migrate_a_sink_says_what_to_run(audit_url: str) -> None:
    async def go() -> None:
        sink = sink_of(audit_url, migrate=False)
        with pytest.raises(SinkError, match="lockwatch db upgrade"):
            await sink.write(rows(1))
        await sink.aclose()

    asyncio.run(go())


def test_an_engine_of_the_application_is_a_sink(audit_url: str) -> None:
    async def go() -> None:
        engine = create_async_engine(audit_url.replace("postgresql://", "postgresql+asyncpg://"))
        async with engine.connect() as connection:  # its pool holds a connection of this loop
            await connection.exec_driver_sql("SELECT 1")
        sink = sink_of(engine)
        await sink.write(given)
        await sink.aclose()
        await engine.dispose()

    given = rows(3)
    asyncio.run(go())
    assert stored(audit_url) == given


def test_a_connection_that_breaks_costs_no_row_and_doubles_none(postgres_url: str) -> None:
    async def go() -> None:
        sink = sink_of(postgres_url)
        await sink.write(given[:10])
        other = await asyncpg.connect(postgres_url)
        await other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lockwatch audit'")
        await other.close()
        await until_delivered(sink.write, given)
        await sink.aclose()

    given = rows(20)
    asyncio.run(go())
    assert stored(postgres_url) == given


async def until_delivered(write: Callable[[list[Row]], Awaitable[None]], batch: list[Row]) -> int:
    """Try until it is delivered; how often it was not."""
    for attempt in range(2000):
        try:
            await write(batch)
        except SinkError:
            await asyncio.sleep(0.01)
        else:
            return attempt
    raise AssertionError("never delivered")


def test_an_outage_is_one_line_when_it_begins_and_one_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    port = servers.free_port()
    sink = PostgresSink(Database.of(f"postgresql://u:geheim@127.0.0.1:{port}/audit"), clock=lambda: now)

    async def attempts() -> None:
        nonlocal now
        for _ in range(20):
            with pytest.raises(SinkError):
                await sink.write(rows(1))
            now += 1

    with caplog.at_level(logging.INFO, "lockwatch"):
        asyncio.run(attempts())
        sink.standing.worked()
    assert [r.levelname for r in caplog.records] == ["WARNING", "WARNING"]
    assert "wait" in caplog.messages[0]
    assert "again, after 20.0 s" in caplog.messages[1]
    assert "geheim" not in caplog.text


def test_attempts_become_rare_during_an_outage() -> None:
    now = 0.0
    port = servers.free_port()
    sink = PostgresSink(Database.of(f"postgresql://127.0.0.1:{port}/audit"), clock=lambda: now)

    async def go() -> None:
        nonlocal now
        while now < 60:
            with pytest.raises(SinkError):
                await sink.write(rows(1))
            now += 0.05

    asyncio.run(go())
    assert 6 < sink.standing.failures < 25


def test_a_server_that_stalls_is_given_up_and_tried_again() -> None:
    """Its connection is dropped, and nothing waits for it any more."""

    async def go() -> None:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()
            await writer.wait_closed()
            hung_up.set()

        hung_up = asyncio.Event()
        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        sink = PostgresSink(Database.of(f"postgresql://postgres@127.0.0.1:{port}/x?sslmode=disable"), deadline=0.3)
        with pytest.raises(SinkError, match=r"no answer within 0\.3 s"):
            await sink.write(rows(1))
        await asyncio.wait_for(hung_up.wait(), 20)
        server.close()
        await server.wait_closed()

    asyncio.run(go())


def test_writers_of_one_file_wait_for_each_other(sqlite_url: str) -> None:
    batches = [rows(25, NOW + i * 10**6) for i in range(80)]

    async def writer(mine: list[list[Row]]) -> None:
        sink = SqliteSink(Database.of(sqlite_url))
        for batch in mine:
            await sink.write(batch)
            await asyncio.sleep(0)
        await sink.aclose()

    async def go() -> None:
        await asyncio.gather(*(writer(batches[i::4]) for i in range(4)))

    asyncio.run(go())
    assert stored(sqlite_url) == [r for batch in batches for r in batch]


def test_the_file_of_an_audit_log_is_its_owners(sqlite_url: str, tmp_path: Path) -> None:
    write(sqlite_url, rows(1))
    assert (tmp_path / "audit.db").stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_locked_for_too_long_is_down_for_now(sqlite_url: str) -> None:
    import sqlite3

    write(sqlite_url, rows(1))
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite+aiosqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    async def go() -> None:
        sink = SqliteSink(Database.of(sqlite_url), patience=0.1)
        with pytest.raises(SinkError, match="locked"):
            await sink.write(given)
        other.execute("ROLLBACK")
        other.close()
        await until_delivered(sink.write, given)
        await sink.aclose()

    given = rows(2, NOW + 10**6)
    asyncio.run(go())
    assert stored(sqlite_url)[1:] == given


def test_standard_output_gets_a_line_for_each_row(capsys: pytest.CaptureFixture[str]) -> None:
    given = [FULL, *rows(2)]
    write("stdout:", given)
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [r.seq for r in given]


def test_a_reader_that_stops_reading_is_waited_for_and_gets_whole_lines() -> None:
    reading, writing = os.pipe()
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 1
        return now

    given = rows(2000, user_agent="x" * 200)

    async def go() -> None:
        with os.fdopen(writing, "w") as stream:
            sink = Stdout(stream, clock)
            with pytest.raises(SinkError, match="nobody reads"):
                await sink.write(given)
            got = asyncio.to_thread(lambda: b"".join(iter(lambda: os.read(reading, 65536), b"")))
            reader = asyncio.create_task(got)
            await until_delivered(sink.write, given)
        lines = (await reader).splitlines()
        assert {json.loads(line)["id"] for line in lines} == {r.id for r in given}

    asyncio.run(go())
    os.close(reading)


def test_functions_get_entries_whether_they_wait_or_not() -> None:
    got: list[AuditLogEntry] = []

    async def waits(entries: list[AuditLogEntry]) -> None:
        got.extend(entries)

    for function in (got.extend, waits):
        write(function, [FULL])
    assert [(e.id, e.latency_ms, e.reasons, e.details["a"]) for e in got] == [
        (FULL.id, 2**40 / 1000, ("burst", "\u00e4"), {"z": [1.5, None]})
    ] * 2


def test_a_function_that_raises_gets_its_rows_again() -> None:
    failures = [ValueError("geheim"), KeyError("x")]
    got: list[AuditLogEntry] = []

    def sometimes(entries: list[AuditLogEntry]) -> None:
        if failures:
            raise failures.pop()
        got.extend(entries)

    async def go() -> int:
        return await until_delivered(sink_of(sometimes).write, rows(3))

    assert asyncio.run(go()) >= 2
    assert len(got) == 3


@pytest.mark.parametrize("option", [7, "nonsense", "mysql://u:geheim@h/d", io.BytesIO])
def test_what_is_no_sink_says_what_is_one(option: Any) -> None:
    if option is io.BytesIO:
        option = object()
    with pytest.raises(ConfigurationError, match=r"sqlite\+aiosqlite:///audit\.db") as caught:
        sink_of(option)
    assert "geheim" not in str(caught.value)
