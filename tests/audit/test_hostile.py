"""What an attacker sends to make the audit log slow, large or talkative."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest

from lockwatch.audit.orphans import Orphanage
from lockwatch.audit.redact import Redactor
from lockwatch.audit.row import Row
from lockwatch.audit.writer import Writer
from lockwatch.event import HTTP, Event
from lockwatch.spool.database import Database
from lockwatch.spool.directory import Directory
from lockwatch.spool.journal import Journal

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl"


def row(**fields: object) -> Row:
    event = Event(time_us=1, kind=HTTP, action="request", **fields)  # type: ignore[arg-type]
    return Writer("0" * 16, Redactor(), lambda bits: 0).rows([event])[0]


def test_an_event_does_not_show_its_headers() -> None:
    event = Event(time_us=1, kind=HTTP, action="request", headers=[(b"authorization", b"Bearer hunter2")])
    assert "hunter2" not in repr(event)


@pytest.mark.timing
@pytest.mark.parametrize("field", ["query", "path"])
@pytest.mark.parametrize(
    "text",
    ["eyJ" * 20_000, "eyJaaaaaaaa." * 5_000, "eyJa." * 12_000, "Bearer+" * 9_000, "&".join(f"{n:x}=1" for n in range(12_000))],
)
def test_a_long_text_costs_the_worker_little(field: str, text: str) -> None:
    begun = time.thread_time()
    row(**{field: text})
    assert time.thread_time() - begun < 0.5  # it was seven seconds


def test_reasons_are_bounded() -> None:
    assert len(row(reasons=("x" * 5_000_000,) * 100).reasons or "") < 50_000


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"/verify/{TOKEN}", "/verify/[redacted]"),
        (f"/v1.2/{TOKEN}/done", "/v1.2/[redacted]/done"),
        (f"/a.bcdefghij.{TOKEN}", "/a.bcdefghij.[redacted]"),
        (f"/x%3D{TOKEN}", "/x%3D[redacted]"),
        ("/eyJhbGciOiJSUzI1NiJ9", "/eyJhbGciOiJSUzI1NiJ9"),
        ("/www.example-domain.com/eyJ", "/www.example-domain.com/eyJ"),
        ("/Bearer abcdefgh1234", "/[redacted]"),
    ],
)
def test_what_looks_like_a_token_is_taken_out_of_a_path(text: str, kept: str) -> None:
    assert row(path=text).endpoint == kept


def test_a_query_that_is_cut_says_so() -> None:
    kept = row(query="password=" + "x" * 100_000).query
    assert kept == "password=[redacted][cut]"


def test_a_healthy_orphan_is_not_put_aside_because_somebody_looks_at_it(tmp_path: Path) -> None:
    claim = Directory(tmp_path, "test").claim("audit")
    journal = Journal(Database(claim))
    journal.append([(1, "p 1 1 1", b"{}")], {})
    journal.database.connection.close()
    claim.release()
    other = sqlite3.connect(claim.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # a backup, or an operator
    busy = Orphanage(Directory(tmp_path, "test"), ["sink"], lambda *args: None)
    assert busy.current() is None
    other.execute("ROLLBACK")
    other.close()
    later = Orphanage(Directory(tmp_path, "test"), ["sink"], lambda *args: None)
    assert later.current() is not None
    later.close()
