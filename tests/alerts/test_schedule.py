"""When an alert is tried again."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from lockwatch.alerts.schedule import DELAYS, MAX_RETRY_AFTER, Answer, next_attempt, read_retry_after

NOW = 1_795_500_000.0
DOWN = Answer(0, "no connection")


def test_the_delays_grow_and_end() -> None:
    due = [next_attempt(n, DOWN, NOW, 0.0) for n in range(1, 9)]
    assert due == [NOW + 5, NOW + 30, NOW + 120, NOW + 600, NOW + 3600, NOW + 6 * 3600, NOW + 24 * 3600, None]


def test_jitter_makes_a_delay_longer_by_a_fifth_at_most() -> None:
    assert next_attempt(2, DOWN, NOW, 1.0) == NOW + 36
    assert next_attempt(2, DOWN, NOW, 0.5) == NOW + 33


@pytest.mark.parametrize(("asked", "due"), [(0.0, 5), (2.0, 5), (90.0, 90)])
def test_a_receiver_may_ask_for_more_time(asked: float, due: float) -> None:
    assert next_attempt(1, Answer(503, retry_after=asked), NOW, 0.0) == NOW + due


def test_gone_is_never_tried_again() -> None:
    assert next_attempt(1, Answer(410), NOW, 0.0) is None


@pytest.mark.parametrize(
    ("status", "delivered"), [(199, False), (200, True), (204, True), (299, True), (302, False), (410, False), (500, False)]
)
def test_only_2xx_is_delivered(status: int, delivered: bool) -> None:
    assert Answer(status).delivered is delivered


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, 0),
        ("", 0),
        ("120", 120),
        (" 7 ", 7),
        ("-5", 0),
        ("1.5", 0),
        ("\u0661", 0),
        ("9" * 60, MAX_RETRY_AFTER),
        ("9" * 6000, MAX_RETRY_AFTER),
        (formatdate(NOW + 90, usegmt=True), 90),
        (formatdate(NOW - 90, usegmt=True), 0),
        (formatdate(NOW + 10**9, usegmt=True), MAX_RETRY_AFTER),
        ("Mon, 99 Foo 9999999999 99:99:99 GMT", 0),
        ("soon", 0),
    ],
)
def test_retry_after_is_read_and_bounded(text: str | None, seconds: float) -> None:
    assert read_retry_after(text, NOW) == seconds


def test_the_first_attempt_is_at_once() -> None:
    assert DELAYS[0] == 0
