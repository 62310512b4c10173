"""The recorder: every request leaves a row, or a place in a gap, through outages, kills and full spools."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import Depends, FastAPI
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from lockwatch import ConfigurationError, LockWatch, RateLimit
from lockwatch.audit.backlog import UNSPOOLED
from lockwatch.audit.chain import link
from lockwatch.audit.entry import AuditLogEntry
from lockwatch.audit.recorder import Recorder
from lockwatch.audit.redact import Redactor
from lockwatch.audit.row import Row
from lockwatch.audit.settings import AuditSettings
from lockwatch.event import ADMIN, APP, HTTP, SYSTEM, Event
from lockwatch.spool.directory import Directory
from lockwatch.stream import FULL, Stream
from tests.audit.tampering import by_time, command, export, findings, summary
from tests.edges.asgi import http

SECRET = "0123456789abcdef"


class Sink:
    """A sink of rows that can be down."""

    def __init__(self, name: str = "sink", down: bool = False) -> None:
        self.name = name
        self.down = down
        self.rows: list[Row] = []
        self.batches: list[int] = []

    async def write(self, rows: Any) -> None:
        if self.down:
            from lockwatch.errors import SinkError

            raise SinkError(f"{self.name} is down")
        self.batches.append(len(rows))
        self.rows += rows

    async def aclose(self) -> None: ...

    @property
    def http(self) -> list[Row]:
        return [row for row in self.rows if row.kind == HTTP]

    @property
    def gaps(self) -> list[dict[str, Any]]:
        return [json.loads(row.details or "{}") for row in self.rows if row.action == "gap"]


def make(place: Path | None, *sinks: Any, **options: Any) -> tuple[FastAPI, LockWatch]:
    app = FastAPI()
    spool = "none" if place is None else place
    lockwatch = LockWatch(app, audit_sinks=list(sinks), **{"spool_dir": spool, **options})

    @app.get("/p/{name}")
    async def p(name: str) -> None: ...

    @app.get("/limited", dependencies=[Depends(RateLimit("1/hour"))])
    async def limited() -> None: ...

    return app, lockwatch


async def rows_of(requests: list[dict[str, Any]], **options: Any) -> list[Row]:
    """The rows that some requests leave, one each."""
    sink = Sink()
    app, lockwatch = make(None, sink, **options)
    for request in requests:
        await http(app, request.pop("method", "GET"), request.pop("path"), **request)
    await lockwatch.flush()
    await lockwatch.aclose()
    assert len(sink.rows) == len(requests)
    return sink.rows


# --------------------------------------------------------------- rows
async def test_a_row_says_what_happened() -> None:
    (row,) = await rows_of(
        [
            {
                "path": "/p/a",
                "query_string": b"q=1",
                "headers": {"user-agent": "curl/8", "x-request-id": "shop-1"},
                "peer": "192.0.2.7",
            }
        ]
    )
    assert (row.kind, row.action, row.outcome, row.status_code) == ("http", "request", "success", 200)
    assert (row.method, row.route, row.endpoint, row.query, row.ip, row.user_agent) == (
        "GET",
        "/p/{name}",
        "/p/a",
        "q=1",
        "192.0.2.7",
        "curl/8",
    )
    assert (row.request_id, row.ip_source, row.rate_limit_hit, row.flags, row.seq) == ("shop-1", "peer", False, None, 1)


@pytest.mark.parametrize(
    ("path", "flag"),
    [("/p/a\x00b", "cleaned"), ("/p/" + "a" * 3000, "truncated"), ("/p/\ud800", "cleaned"), ("/nowhere/\x00", "cleaned")],
)
async def test_no_path_makes_a_request_invisible(path: str, flag: str) -> None:
    sink = Sink()
    app, lockwatch = make(None, sink)
    await bare(app, path=path)
    await lockwatch.flush()
    await lockwatch.aclose()
    (row,) = sink.rows
    assert row.endpoint is not None
    assert "\0" not in row.endpoint
    assert len(row.endpoint) <= 2048
    row.endpoint.encode()
    assert json.loads(row.flags or "[]") == [f"{flag}:endpoint"]
    assert len(row.endpoint_sha256 or "") == 64


async def test_a_header_with_every_byte_makes_no_request_invisible() -> None:
    every = bytes(range(256)).decode("latin-1")
    headers = {"user-agent": every, "x-request-id": every, "traceparent": every, "referer": every, "authorization": every}
    (row,) = await rows_of(
        [{"path": "/p/a", "headers": headers, "query_string": bytes(range(256))}], audit_headers=["referer", "authorization"]
    )
    assert row.user_agent is not None
    assert json.loads(row.details or "{}")["headers"]["authorization"] == "[redacted]"
    json.dumps(row[:-1]).encode()


async def test_a_refusal_is_a_hit_and_an_admission_is_none() -> None:
    rows = await rows_of([{"path": "/limited"}, {"path": "/limited"}])
    assert [(row.status_code, row.rate_limit_hit, row.decision) for row in rows] == [
        (200, False, "allowed"),
        (429, True, "limited"),
    ]
    assert json.loads(rows[1].reasons or "[]") == ["rate_limit_exceeded", "1-per-hour"]


async def test_rows_are_numbered_without_holes_and_each_is_bound_to_the_one_before() -> None:
    rows = await rows_of([{"path": f"/p/{n}"} for n in range(200)])
    assert [row.seq for row in rows] == list(range(1, 201))
    assert len({row.process for row in rows}) == 1
    assert [row.id for row in rows] == sorted({row.id for row in rows})
    previous = b""
    for row in rows:
        assert row.chain == (previous := link(previous, row))


async def test_secrets_are_taken_out_of_queries() -> None:
    query = b"q=shoes&access_token=s3cr3t&api%5Fkey=s3cr3t&newPassword=s3cr3t&next=/a?x=eyJhbGciOiJI.eyJzdWIiOiIx.s3cr3t&colour"
    (row,) = await rows_of([{"path": "/p/a", "query_string": query}])
    assert "s3cr3t" not in repr(row)
    assert row.query is not None
    assert row.query.startswith("q=shoes&access_token=[redacted]&")
    assert row.query.endswith("&colour")


async def test_rules_of_ones_own_are_rules_too() -> None:
    (row,) = await rows_of([{"path": "/p/a", "query_string": b"iban2=1&voucher=2&colour=red"}], audit_redact=["voucher"])
    assert row.query == "iban2=[redacted]&voucher=[redacted]&colour=red"


async def test_people_can_be_hashed_and_are_the_same_every_time() -> None:
    requests = [{"path": "/p/a", "peer": "192.0.2.9"}, {"path": "/p/b", "peer": "192.0.2.9"}]
    rows = await rows_of(requests, audit_pii="hash", secret_key=SECRET, user=lambda request: "alice")
    assert "192.0.2.9" not in repr(rows)
    assert "alice" not in repr(rows)
    assert rows[0].ip == rows[1].ip
    assert rows[0].user_id is not None


def test_hashing_people_needs_a_key_that_stays() -> None:
    with pytest.raises(ConfigurationError, match="secret_key"):
        LockWatch(FastAPI(), audit_sinks=["stdout:"], audit_pii="hash")


async def test_paths_can_be_exempt() -> None:
    sink = Sink()
    app, lockwatch = make(None, sink, audit_exempt_paths=["/p/health", "/static/*"])
    for path in ("/p/health", "/static/a.css", "/p/healthy"):
        await http(app, "GET", path)
    await lockwatch.flush()
    await lockwatch.aclose()
    assert [row.endpoint for row in sink.rows] == ["/p/healthy"]


@given(st.lists(st.tuples(st.text(max_size=300), st.binary(max_size=300), st.binary(max_size=50)), min_size=100, max_size=100))
@settings(max_examples=100, phases=[Phase.generate])
def test_ten_thousand_requests_leave_ten_thousand_rows(requests: list[tuple[str, bytes, bytes]]) -> None:
    async def send() -> None:
        sink = Sink()
        app, lockwatch = make(None, sink)
        for path, query, agent in requests:
            headers = [(b"user-agent", agent), (b"x-request-id", query)]
            await bare(app, path="/" + path, query_string=query, headers=headers)
        assert await lockwatch.engine.flush()
        await lockwatch.aclose()
        assert len(sink.rows) == len(requests)
        for row in sink.rows:
            json.dumps(row[:-1], ensure_ascii=False).encode()
            assert "\0" not in "".join(value for value in row if isinstance(value, str))

    asyncio.run(send())


async def bare(app: Any, **scope: Any) -> None:
    """A request as no server would pass it on."""
    plain = {"type": "http", "method": "GET", "query_string": b"", "headers": [], "client": ("192.0.2.1", 1)}
    await app({**plain, "asgi": {"version": "3.0"}, **scope}, _nothing, _nowhere)


async def _nothing() -> dict[str, Any]:
    return {"type": "http.request"}


async def _nowhere(message: Any) -> None: ...


# --------------------------------------------------------------- sinks
async def test_a_function_gets_entries_and_each_sink_everything() -> None:
    got: list[AuditLogEntry] = []
    sink = Sink()
    app, lockwatch = make(None, got.extend, sink)
    for n in range(10):
        await http(app, "GET", f"/p/{n}")
    await lockwatch.flush()
    assert [entry.endpoint for entry in got] == [f"/p/{n}" for n in range(10)] == [row.endpoint for row in sink.rows]
    await lockwatch.aclose()


async def test_a_sink_that_is_down_holds_no_other_up_and_gets_everything_later(tmp_path: Path) -> None:
    good, bad = Sink("good"), Sink("bad", down=True)
    app, lockwatch = make(tmp_path, good, bad)
    for n in range(300):
        await http(app, "GET", f"/p/{n}")
    await lockwatch.flush()
    assert len(good.rows) == 300
    assert not bad.rows
    health = lockwatch.health()
    assert health.audit is not None
    assert (health.status, health.audit.pending, health.audit.sinks) == ("degraded", 300, {"good": "", "bad": "bad is down"})
    assert health.audit.spool_bytes > 0
    bad.down = False
    await lockwatch.flush()
    assert [row.seq for row in bad.rows] == [row.seq for row in good.rows] == list(range(1, 301))
    assert lockwatch.health().status == "ok"
    await lockwatch.aclose()


async def test_what_does_not_arrive_before_the_end_stays_in_the_spool_for_the_next(tmp_path: Path) -> None:
    sink = Sink(down=True)
    app, lockwatch = make(tmp_path, sink)
    for n in range(100):
        await http(app, "GET", f"/p/{n}")
    await lockwatch.aclose()
    again = Sink()
    app, lockwatch = make(tmp_path, again)
    await http(app, "GET", "/p/new")
    async with asyncio.timeout(20):
        while len(again.rows) < 101:
            await asyncio.sleep(0.01)
    assert {row.endpoint for row in again.rows} == {"/p/new", *(f"/p/{n}" for n in range(100))}
    health = lockwatch.health().audit
    assert health is not None
    assert health.adopted == 1
    await lockwatch.aclose()
    assert not [path for path in Directory(tmp_path, "lockwatch").path.iterdir() if path.name != "key"]


async def test_an_outage_is_bounded_in_memory_and_loses_nothing(tmp_path: Path) -> None:
    sink = Sink(down=True)
    _, lockwatch = make(tmp_path, sink)
    stream = lockwatch.engine.stream
    assert stream is not None
    total = UNSPOOLED + 5000
    for n in range(0, total, 1000):
        for i in range(n, n + 1000):
            stream.post(Event(time_us=1_000_000_000_000_000 + i, kind=HTTP, action="request", path=f"/{i}"))
        await lockwatch.engine.flush()
    health = lockwatch.health().audit
    assert health is not None
    assert (health.pending, health.in_memory, health.lost) == (total, 0, 0)
    sink.down = False
    async with asyncio.timeout(20):
        while len(sink.rows) < total:
            await asyncio.sleep(0.01)
    assert [row.seq for row in sink.rows] == list(range(1, total + 1))
    await lockwatch.aclose()


# --------------------------------------------------------------- losses
async def test_what_there_is_no_room_for_is_a_gap_and_the_count_is_right() -> None:
    sink = Sink(down=True)
    _, lockwatch = make(None, sink)
    stream = lockwatch.engine.stream
    assert stream is not None
    total = UNSPOOLED + 3000
    for n in range(0, total, 1000):
        for i in range(n, n + 1000):
            stream.post(Event(time_us=1_000_000_000_000_000 + i, kind=HTTP, action="request"))
        await lockwatch.engine.flush()
    stream.post(Event(time_us=2_000_000_000_000_000, kind=APP, action="paid"))
    await lockwatch.engine.flush()
    sink.down = False
    await lockwatch.engine.flush()
    assert [row.action for row in sink.rows if row.kind == APP] == ["paid"]
    assert len(sink.http) + sum(gap["count"] for gap in sink.gaps) == total
    assert len(sink.http) == pytest.approx(UNSPOOLED, abs=100)
    assert lockwatch.health().status == "degraded"
    await lockwatch.aclose()


async def test_a_queue_that_overflows_is_a_gap() -> None:
    sink = Sink()
    _, lockwatch = make(None, sink)
    stream = lockwatch.engine.stream
    assert stream is not None
    stream.lose(HTTP, FULL, 7)
    await lockwatch.engine.flush()
    (gap,) = sink.gaps
    assert (gap["count"], gap["reason"], gap["kinds"]) == (7, FULL, {HTTP: 7})
    assert (sink.rows[0].kind, sink.rows[0].outcome) == (SYSTEM, "failure")
    await lockwatch.aclose()


async def test_a_queue_that_overflows_does_not_count_what_leaves_no_row_anyway() -> None:
    sink = Sink()
    stream = Stream(capacity={HTTP: 4, APP: 1, SYSTEM: 4})
    recorder = Recorder(AuditSettings(lambda: [sink], Redactor(), exempt=("/healthz", "/static/*")), stream)
    for path in ("/p/1", "/static/x", "/healthz", "/p/2", "/healthz", "/static/y", "/p/3", "/healthz/no", "/p/4"):
        stream.post(Event(time_us=1_000_000_000_000_000, kind=HTTP, action="request", path=path))
    for _ in range(3):
        stream.post(Event(time_us=1_000_000_000_000_000, kind=APP, action="paid", path="/healthz"))
    assert stream.dropped == {(HTTP, FULL): 3, (APP, FULL): 2}
    await recorder.consume(stream.drain(100))
    assert recorder.health().written == 3


async def test_a_full_spool_keeps_what_matters_and_recovers(tmp_path: Path) -> None:
    sink = Sink(down=True)
    _, lockwatch = make(tmp_path, sink, audit_spool_megabytes=1)
    stream = lockwatch.engine.stream
    assert stream is not None
    posted = 0
    for _ in range(25):
        for _ in range(1000):
            posted += 1
            stream.post(Event(time_us=1_000_000_000_000_000 + posted, kind=HTTP, action="request", path="/" + "x" * 200))
        await lockwatch.engine.flush()
    stream.post(Event(time_us=2_000_000_000_000_000, kind=ADMIN, action="limit.reset"))
    await lockwatch.engine.flush()
    health = lockwatch.health().audit
    assert health is not None
    assert health.lost > 0
    assert any("spool" in problem for problem in health.problems)
    sink.down = False
    async with asyncio.timeout(30):
        while lockwatch.engine.recorder is not None and lockwatch.engine.recorder.health().pending:
            await lockwatch.engine.flush()
    assert [row.action for row in sink.rows if row.kind == ADMIN] == ["limit.reset"]
    assert len(sink.http) + sum(gap["count"] for gap in sink.gaps) == posted
    seqs = [row.seq for row in sink.rows]
    assert sorted(seqs) == list(range(1, len(seqs) + 1))
    await lockwatch.aclose()


async def test_damage_in_the_spool_is_a_gap_with_the_numbers_that_are_missing(tmp_path: Path) -> None:
    lost, again = await damaged(tmp_path, "n = (SELECT max(n) FROM records)")
    assert [(gap["from_seq"], gap["to_seq"], gap["count"], gap["process"]) for gap in again.gaps] == [(10, 10, 1, lost)]


async def test_a_gap_tells_the_chain_so_that_the_row_after_it_is_checked(tmp_path: Path) -> None:
    """Of ten records, each of a row, the fourth and fifth are damaged; of the sixth, the row after, every bit is proved."""
    _, again = await damaged(tmp_path / "spools", "n IN (4, 5)")
    assert [(gap["from_seq"], gap["to_seq"]) for gap in again.gaps] == [(4, 4), (5, 5)]
    result = await asyncio.to_thread(command, "verify", export(tmp_path / "log.jsonl", by_time(again.rows)), "--json")
    assert (findings(result), summary(result)["uncheckable"]) == ([], 0)
    place = next(i for i, row in enumerate(again.rows) if row.seq == 6)
    changed = [*again.rows[:place], again.rows[place]._replace(user_agent="another"), *again.rows[place + 1 :]]
    result = await asyncio.to_thread(command, "verify", export(tmp_path / "changed.jsonl", by_time(changed)), "--json")
    found = findings(result)
    assert ("edited", 6) in [(kind, first) for kind, _, first, _ in found]


async def test_a_note_that_is_damaged_too_tells_nothing_wrong(tmp_path: Path) -> None:
    _, again = await damaged(tmp_path / "spools", "n = 4", note="replace(note, ' 4 ', ' 5 ')")
    assert [(gap["from_seq"], gap["count"], "chain" in gap) for gap in again.gaps] == [(None, 1, False)]


async def damaged(place: Path, where: str, note: str = "note") -> tuple[str, Sink]:
    """Ten rows in ten records that a process left, some of them damaged then: that process, and who delivers them."""
    _, lockwatch = make(place, Sink(down=True))
    stream, recorder = lockwatch.engine.stream, lockwatch.engine.recorder
    assert stream is not None
    assert recorder is not None
    for n in range(1, 11):
        stream.post(Event(time_us=1_000_000_000_000_000 + n, kind=HTTP, action="request", path=f"/p/{n}"))
        async with asyncio.timeout(20):
            while (health := recorder.health()).written < n or health.in_memory:
                await lockwatch.engine.flush()
    await lockwatch.aclose()
    (path,) = Directory(place, "lockwatch").path.glob("audit.*.db")
    with sqlite3.connect(path) as file:
        (told,) = file.execute("SELECT note FROM records WHERE n = 1").fetchone()
        file.execute(f"UPDATE records SET body = x'00', note = {note} WHERE {where}")
    file.close()
    again = Sink()
    app, lockwatch = make(place, again)
    await http(app, "GET", "/p/new")
    async with asyncio.timeout(20):
        while not any(row.process == told[:16] and row.seq >= 9 for row in again.rows) or not again.gaps:
            await asyncio.sleep(0.01)
        while not recorder_is_done(lockwatch):
            await asyncio.sleep(0.01)
    await lockwatch.aclose()
    return told[:16], again


def recorder_is_done(lockwatch: LockWatch) -> bool:
    """Whether everything it knows of has arrived, orphans included."""
    health = lockwatch.health().audit
    return health is not None and not health.pending and health.adopted == 1


async def test_a_spool_that_cannot_be_written_is_memory_alone_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    sink = Sink()
    app, lockwatch = make(tmp_path / "file", sink)
    await http(app, "GET", "/p/a")
    await lockwatch.flush()
    assert len(sink.rows) == 1
    health = lockwatch.health()
    assert health.status == "degraded"
    assert health.audit is not None
    assert "spool_dir" in health.audit.problems[0]
    assert "kept in memory" in caplog.text
    await lockwatch.aclose()


async def test_a_flood_of_refusals_becomes_rows_with_counts() -> None:
    sink = Sink()
    _, lockwatch = make(None, sink)
    stream = lockwatch.engine.stream
    assert stream is not None
    for n in range(5000):
        ip = "192.0.2.1" if n % 10 else "192.0.2.2"
        stream.post(
            Event(
                time_us=1_000_000_000_000_000 + n,
                kind=HTTP,
                action="request",
                outcome="refused",
                subject=f"ip:{ip}",
                ip=ip,
                status=429,
                decision="limited",
                policies=("p",),
            )
        )
    await lockwatch.engine.flush()
    assert sum(row.count for row in sink.rows) == 5000
    assert {ip: sum(row.count for row in sink.rows if row.ip == ip) for ip in ("192.0.2.1", "192.0.2.2")} == {
        "192.0.2.1": 4500,
        "192.0.2.2": 500,
    }
    assert 200 <= len(sink.rows) < 500
    await lockwatch.aclose()


# --------------------------------------------------------------- processes
KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from fastapi import FastAPI
from lockwatch import LockWatch
from lockwatch.errors import SinkError
from tests.audit.test_recorder import Sink, make
from tests.audit.tampering import by_time, command, export, findings, summary
from tests.edges.asgi import http

async def main():
    app, lockwatch = make(Path(sys.argv[1]), Sink("postgres", down=True))
    for n in range(200):
        await http(app, "GET", f"/p/{n}")
    await lockwatch.engine.flush()
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.mark.parametrize("name", ["postgres", "renamed"])
async def test_the_next_process_delivers_what_a_killed_one_had(tmp_path: Path, name: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    sink = Sink(name)
    _, lockwatch = make(tmp_path, sink)
    await lockwatch.engine.open()
    async with asyncio.timeout(20):
        while len(sink.rows) < 200:
            await asyncio.sleep(0.01)
    assert [row.seq for row in sink.rows] == list(range(1, 201))
    await lockwatch.aclose()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
async def test_a_forked_child_has_a_chain_and_a_spool_of_its_own(tmp_path: Path) -> None:
    parent = Sink(down=True)
    app, lockwatch = make(tmp_path, parent)
    await http(app, "GET", "/p/parent")
    await lockwatch.engine.flush()
    child = os.fork()
    if child == 0:
        recorder, stream = lockwatch.engine.recorder, lockwatch.engine.stream
        assert recorder is not None
        assert stream is not None
        stream.post(Event(time_us=1, kind=HTTP, action="request", path="/p/child"))
        lockwatch.engine.flush_sync()
        os._exit(0 if recorder.health().written == 1 else 1)
    assert (await asyncio.to_thread(os.waitpid, child, 0))[1] == 0
    parent.down = False
    async with asyncio.timeout(20):
        while len(parent.rows) < 2:
            await asyncio.sleep(0.01)
    assert [(row.endpoint, row.seq) for row in parent.rows] == [("/p/parent", 1), ("/p/child", 1)]
    assert len({row.process for row in parent.rows}) == 2
    await lockwatch.aclose()


# --------------------------------------------------------------- deny
@pytest.fixture
async def regulated(tmp_path: Path) -> AsyncIterator[tuple[FastAPI, LockWatch, Sink]]:
    (tmp_path / "file").write_text("")
    sink = Sink()
    app, lockwatch = make(tmp_path / "file", sink, on_audit_failure="deny")
    yield app, lockwatch, sink
    await lockwatch.aclose()


async def test_a_regulated_application_serves_nobody_while_events_cannot_be_kept(
    regulated: tuple[FastAPI, LockWatch, Sink],
) -> None:
    app, lockwatch, sink = regulated
    assert (await http(app, "GET", "/p/a")).status == 200
    await lockwatch.engine.flush()
    sink.down = True
    assert (await http(app, "GET", "/p/b")).status == 200
    await lockwatch.engine.flush()
    async with asyncio.timeout(20):
        while (refused := await http(app, "GET", "/p/c")).status == 200:
            await asyncio.sleep(0.01)
    assert (refused.status, refused.header("content-type")) == (503, "application/problem+json")
    assert refused.json()["error"] == "audit_unavailable"
    sink.down = False
    async with asyncio.timeout(20):
        while (await http(app, "GET", "/p/d")).status != 200:
            await asyncio.sleep(0.01)
    await lockwatch.engine.flush()
    assert {row.status_code for row in sink.rows} == {200, 503}


def test_options_are_checked() -> None:
    with pytest.raises(ConfigurationError, match="on_audit_failure"):
        LockWatch(FastAPI(), audit_sinks=["stdout:"], on_audit_failure="maybe")
    with pytest.raises(ConfigurationError, match="audit_exempt_paths"):
        LockWatch(FastAPI(), audit_sinks=["stdout:"], audit_exempt_paths=["healthz"])
    with pytest.raises(ConfigurationError, match="correct ones are"):
        LockWatch(FastAPI(), audit_sinks=[17])


def test_the_name_of_the_first_release_is_a_variable_too() -> None:
    from lockwatch import LockWatchConfig

    environ = {
        "LOCKWATCH_DATABASE_URL": "sqlite+aiosqlite:///a.db",
        "LOCKWATCH_AUDIT_MIGRATE": "no",
        "LOCKWATCH_AUDIT_SINKS": "stdout:",
    }
    config = LockWatchConfig.from_mapping({}, environ)
    assert (config.audit_database_url, config.audit_migrate, config.audit_sinks) == (
        "sqlite+aiosqlite:///a.db",
        False,
        ("stdout:",),
    )
    assert "a.db" not in repr(config)
