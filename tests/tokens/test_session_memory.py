"""The sessions of a memory store are bounded, and a full table forgets nothing that counts."""

from __future__ import annotations

import pytest

from lockwatch.errors import StoreError
from lockwatch.flow import Call
from lockwatch.stores.sessions import Sessions

HOUR = 3_600_000_000


def issue(subject: str, family: str, now: int) -> Call:
    return Call("issue", (subject,), (now, HOUR, 10 * HOUR, 100, 1, HOUR), words=(family, "hash", "grant", "-"))


def test_a_full_table_refuses_logins_until_sessions_end() -> None:
    sessions = Sessions(lambda: 1, most=10)
    for n in range(10):
        sessions.call(issue(f"s{n}", "f", 1))
    with pytest.raises(StoreError, match="full"):
        sessions.call(issue("another", "f", 2))
    assert len(sessions) == 10
    assert list(sessions.call(Call("standing", ("d", "s0"), (2,), words=("f",)))) == [14, 0]
    sessions.call(issue("another", "f", 1 + HOUR))
    assert len(sessions) < 10


def test_a_full_table_of_denials_refuses_more_until_some_lapse() -> None:
    sessions = Sessions(lambda: 1, most=10)
    for n in range(10):
        sessions.call(Call("deny", (f"d{n}",), (1, HOUR)))
    with pytest.raises(StoreError, match="full"):
        sessions.call(Call("deny", ("another",), (2, HOUR)))
    assert list(sessions.call(Call("standing", ("d3",), (2,)))) == [11, 0]
    sessions.call(Call("deny", ("another",), (1 + HOUR, HOUR)))
    assert len(sessions) <= 8


def test_what_is_over_leaves_as_others_come() -> None:
    sessions = Sessions(lambda: 1)
    for n in range(1000):
        sessions.call(issue(f"s{n}", "f", n * HOUR))
        sessions.call(Call("deny", (f"d{n}",), (n * HOUR, HOUR)))
    assert len(sessions) <= 8


def test_a_script_about_something_else_is_no_script_of_sessions() -> None:
    with pytest.raises(KeyError):
        Sessions(lambda: 1).call(Call("no such script", (), (0,)))
