"""What an error of the store means, and what is said about it."""

from __future__ import annotations

import pytest
import redis.exceptions

from lockwatch.errors import CallFailed, StoreError, StoreFull, StoreRefused
from lockwatch.notes import CALM, Notes
from lockwatch.stores import wire

STATES = {
    "OOM command not allowed when used memory > 'maxmemory'.": StoreFull,
    "user_script: 12: -OOM command not allowed when used memory > 'maxmemory'.": StoreFull,
    "READONLY You can't write against a read only replica.": StoreRefused,
    "@user_script: 12: -READONLY You can't write against a read only replica.": StoreRefused,
    "NOREPLICAS Not enough good replicas to write.": StoreRefused,
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.": StoreRefused,
    "NOPERM this user has no permissions to run the 'set' command": StoreRefused,
    "ERR ACL failure in script: User reader has no permissions to run the 'set' command": StoreRefused,
    "ERR The user executing the script can't run this command or subcommand": StoreRefused,
    "WRONGTYPE Operation against a key holding the wrong kind of value": CallFailed,
    "user_script:319: attempt to call field '?' (a nil value)": CallFailed,
    "ERR value is not an integer or out of range": CallFailed,
    "OOMPH is not a code": CallFailed,
}


@pytest.mark.parametrize(("text", "kind"), STATES.items())
def test_the_error_of_one_call_may_be_about_the_server(text: str, kind: type[StoreError]) -> None:
    first, second = wire.replies(f"1 2 3\n!{text}", 2)
    assert first == [1, 2, 3]
    assert type(second) is kind
    assert text in str(second)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (redis.exceptions.OutOfMemoryError("command not allowed"), StoreFull),
        (redis.exceptions.ReadOnlyError("You can't write"), StoreRefused),
        (redis.exceptions.NoPermissionError("no permissions"), StoreRefused),
        (redis.exceptions.BusyLoadingError("Redis is loading"), StoreRefused),
        (redis.exceptions.ResponseError("unknown command 'EVALSHA'"), StoreRefused),
        (redis.exceptions.AuthenticationError("WRONGPASS"), StoreError),
        (redis.exceptions.ConnectionError("refused"), StoreError),
        (OSError("unreachable"), StoreError),
    ],
)
def test_the_error_of_a_whole_batch_is_an_answer_or_none(error: Exception, kind: type[StoreError]) -> None:
    failure = wire.failure(error, "the store")
    assert type(failure) is kind
    assert type(error).__name__ in str(failure)


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.message.partition("6379 ")[2][:7]) for record in caplog.records]


def test_a_store_that_fails_is_announced_once_each_way(caplog: pytest.LogCaptureFixture) -> None:
    notes = Notes("localhost:6379")
    for when in range(3):
        notes.heard(StoreError("gone"), float(when))
    assert notes.error == "gone"
    for when in range(3, 6):
        notes.heard(None, float(when))
    assert (notes.error, notes.outages) == ("", 1)
    assert said(caplog) == [("ERROR", "fails: "), ("WARNING", "answers")]


def test_a_store_that_is_full_and_still_answers_what_it_only_reads_is_announced_once(caplog: pytest.LogCaptureFixture) -> None:
    notes = Notes("localhost:6379")
    for i in range(100):
        notes.heard(StoreFull("full") if i % 2 else None, i * CALM / 4)
    assert said(caplog) == [("ERROR", "fails: ")]
    notes.heard(None, 100 * CALM)
    assert said(caplog)[1:] == [("WARNING", "answers")]


def test_a_call_that_fails_alone_is_no_outage_and_is_said_once_for_each_kind(caplog: pytest.LogCaptureFixture) -> None:
    notes = Notes("localhost:6379")
    for i in range(1000):
        notes.heard(CallFailed("WRONGTYPE"), float(i))
        notes.heard(CallFailed(f"another {i % 100}"), float(i))
    assert (notes.error, notes.outages) == ("", 0)
    assert notes.complaints[:2] == ["WRONGTYPE", "another 0"]
    assert len(notes.complaints) == len(caplog.records) == 20
