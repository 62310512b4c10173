"""Limit texts: what they mean, what is refused and how, and that everything `limits` 5.8 reads means the same here."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import limits as oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockwatch import ConfigurationError, Limit
from lockwatch.limits.grammar import EXAMPLE, MAX_AMOUNT, MAX_WINDOW, parse

DAY = 86_400
MONTH = 30 * DAY
YEAR = 360 * DAY
Row = tuple[int, float, int | None, str | None]


def row(limit: Limit) -> Row:
    return (limit.amount, limit.window, limit.burst, limit.name)


def refusal(text: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parse(text)
    return str(caught.value)


def pointer(message: str) -> tuple[str, int]:
    """The quoted text, and the column in it that the pointer stands under."""
    lines = message.split("\n")
    at = next(i for i, line in enumerate(lines) if line.strip() == "^")
    quoted = lines[at - 1]
    shown = quoted.strip()
    return shown, lines[at].index("^") - quoted.index(shown) - 1


def assert_shows_a_correct_example(message: str) -> None:
    examples = [text for text in re.findall(r"'([^']*)'", message.rpartition("correct")[2]) if text]
    assert EXAMPLE in examples
    for example in examples:
        assert parse(example)


# ------------------------------------------------------------------ accepted
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("100/minute", (100, 60, None, None)),
        ("100 per minute", (100, 60, None, None)),
        ("100 / minute", (100, 60, None, None)),
        ("100per minute", (100, 60, None, None)),
        ("100perminute", (100, 60, None, None)),
        ("100PERMINUTE", (100, 60, None, None)),
        ("100 Per Minutes", (100, 60, None, None)),
        ("  100/minute\n", (100, 60, None, None)),
        ("\t100\t/\tminute\t", (100, 60, None, None)),
        ("100\u00a0per\u00a0minute", (100, 60, None, None)),
        ("00100/minute", (100, 60, None, None)),
        ("0/second", (0, 1, None, None)),
        ("1/0second", (1, 1, None, None)),
        ("1/00minutes", (1, 60, None, None)),
        ("5/2seconds", (5, 2, None, None)),
        ("5 per 2 seconds", (5, 2, None, None)),
        ("10PER5MINUTES", (10, 300, None, None)),
        ("500/10s", (500, 10, None, None)),
        ("500/10 s", (500, 10, None, None)),
        ("1/s", (1, 1, None, None)),
        ("1/sec", (1, 1, None, None)),
        ("1/secs", (1, 1, None, None)),
        ("1/second", (1, 1, None, None)),
        ("1/seconds", (1, 1, None, None)),
        ("1/SECONDS", (1, 1, None, None)),
        ("1/m", (1, 60, None, None)),
        ("1/M", (1, 60, None, None)),
        ("1/min", (1, 60, None, None)),
        ("1/mins", (1, 60, None, None)),
        ("1/h", (1, 3600, None, None)),
        ("1/hr", (1, 3600, None, None)),
        ("1/hrs", (1, 3600, None, None)),
        ("1/hour", (1, 3600, None, None)),
        ("1/hours", (1, 3600, None, None)),
        ("1/d", (1, DAY, None, None)),
        ("1/day", (1, DAY, None, None)),
        ("1/days", (1, DAY, None, None)),
        ("1/w", (1, 7 * DAY, None, None)),
        ("1/wk", (1, 7 * DAY, None, None)),
        ("1/week", (1, 7 * DAY, None, None)),
        ("1/weeks", (1, 7 * DAY, None, None)),
        ("1/mo", (1, MONTH, None, None)),
        ("1/month", (1, MONTH, None, None)),
        ("1/months", (1, MONTH, None, None)),
        ("1/y", (1, YEAR, None, None)),
        ("1/year", (1, YEAR, None, None)),
        ("1/10years", (1, 10 * YEAR, None, None)),
        ("1/ms", (1, 0.001, None, None)),
        ("1/250ms", (1, 0.25, None, None)),
        ("1/2 milliseconds", (1, 0.002, None, None)),
        ("100/minute burst 20", (100, 60, 20, None)),
        ("100 PER MINUTE BURST 20", (100, 60, 20, None)),
        ("login=5/min", (5, 60, None, "login")),
        ("login = 5/min", (5, 60, None, "login")),
        (" log.in-2_b = 5 per 10 min burst 3 ", (5, 600, 3, "log.in-2_b")),
        (f"{MAX_AMOUNT}/second", (MAX_AMOUNT, 1, None, None)),
    ],
)
def test_a_text_means_one_limit(text: str, expected: Row) -> None:
    assert [row(limit) for limit in parse(text)] == [expected]
    assert not parse(text)[0].concurrent


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1/second;5/minute", [(1, 1), (5, 60)]),
        ("1/second, 5/minute", [(1, 1), (5, 60)]),
        ("1/second | 5/minute", [(1, 1), (5, 60)]),
        ("1/second:;5/minute", [(1, 1), (5, 60)]),
        ("1000/day; 1/second, 5/minute | 20/hour", [(1000, DAY), (1, 1), (5, 60), (20, 3600)]),
        ("600/min;100000/day", [(600, 60), (100_000, DAY)]),
        ("5/min; 5/min", [(5, 60), (5, 60)]),
    ],
)
def test_several_limits_keep_their_written_order(text: str, expected: list[tuple[int, float]]) -> None:
    assert [(limit.amount, limit.window) for limit in parse(text)] == expected


def test_each_of_several_limits_may_have_a_name() -> None:
    names = [limit.name for limit in parse("second=10/s; minute=100/min; 1000/day")]
    assert names == ["second", "minute", None]


@pytest.mark.parametrize("text", ["unlimited", "UNLIMITED", "  unlimited ", "free=unlimited", "unlimited; unlimited"])
def test_unlimited_adds_no_limit(text: str) -> None:
    assert parse(text) == ()


def test_unlimited_among_others_leaves_the_others() -> None:
    assert [row(limit) for limit in parse("unlimited; 5/min")] == [(5, 60, None, None)]


@pytest.mark.parametrize("text", ["20 concurrent", "20concurrent", "20 CONCURRENT", " 20  concurrent "])
def test_concurrent_counts_requests_in_flight(text: str) -> None:
    (limit,) = parse(text)
    assert (limit.amount, limit.window, limit.burst, limit.concurrent) == (20, 0, None, True)


def test_a_concurrent_limit_may_have_a_name() -> None:
    assert parse("uploads=3 concurrent")[0].name == "uploads"


def test_a_text_is_parsed_once() -> None:
    assert parse("4321/minute") is parse("4321/minute")


# ------------------------------------------------------------------- refused
@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("1,000/minute", 1),
        ("0.5/second", 1),
        ("1.5/second", 1),
        ("-1/second", 0),
        ("+1/second", 0),
        (" -1/second", 1),
        ("1_000/minute", 1),
        ("5 5/minute", 2),
        ("5/fortnight", 2),
        ("5/minutess", 2),
        ("5 per 10 jiffies", 9),
        ("5/10", 2),
        ("5/", 2),
        ("5 per ", 6),
        ("5", 1),
        ("5 minute", 2),
        ("minute", 0),
        ("/minute", 0),
        ("abc/minute", 0),
        ("5/minute 5/hour", 9),
        ("5/minute;", 9),
        (";5/minute", 0),
        ("5/minute;;5/hour", 9),
        ("5/minute; ;5/hour", 9),
        ("5/minute; 5/lustrum", 12),
        ("5/minute; 1,000/hour", 11),
        ("5/minute # slow", 9),
        ("5/minute burst", 9),
        ("5/minute burst x", 9),
        ("5/minute burst 0", 15),
        ("5/minute burst 1.5", 16),
        ("5/minute burst 2 burst 3", 17),
        ("burst 5", 0),
        ("5 concurrent 6", 13),
        ("5 concurrently", 12),
        ("1name=5/minute", 1),
        ("a b=5/minute", 0),
        ("=5/minute", 0),
        ("login=", 6),
        ("login=login=5/min", 6),
        ("unlimited 5/min", 0),
        ("5\u0665/minute", 1),
        ("\uff15/minute", 0),
        ("1/\u017fecond", 2),
        ("1/11years", 2),
        ("1/999999999999999999seconds", 2),
        (f"{MAX_AMOUNT + 1}/second", 0),
        ("9" * 40 + "/second", 0),
        ('5/"minute"', 2),
        ("5/'minute'", 2),
        ("5/minute 'x' \"y\"", 9),
    ],
)
def test_a_refused_text_is_quoted_with_a_pointer_at_the_character_that_is_wrong(text: str, column: int) -> None:
    message = refusal(text)
    shown, pointed = pointer(message)
    assert shown == repr(text)
    assert pointed == column
    assert_shows_a_correct_example(message)


@pytest.mark.parametrize("text", ["", " ", "\n\t ", None, 5, b"5/minute", 5.5])
def test_nothing_and_what_is_not_text_are_refused_with_an_example(text: Any) -> None:
    message = refusal(text)
    assert repr(text) in message
    assert_shows_a_correct_example(message)


def test_a_long_text_is_quoted_around_the_character_that_is_wrong() -> None:
    text = "; ".join(["10/minute"] * 40 + ["10/minuet"] + ["10/minute"] * 40)
    shown, column = pointer(refusal(text))
    assert len(shown) <= 90
    assert shown[1:-1][column : column + 6] == "minuet"


def test_a_burst_too_large_is_refused() -> None:
    message = refusal(f"5/minute burst {MAX_AMOUNT + 1}")
    assert pointer(message)[1] == 15


@settings(max_examples=400, deadline=None)
@given(st.text(alphabet="0159/ ;,.-=abcdeimnoprstu'\"\\\n\t\u00e9\u0665", min_size=1, max_size=24))
def test_any_text_is_a_limit_or_a_refusal_that_points_into_it(text: str) -> None:
    try:
        assert all(isinstance(limit, Limit) for limit in parse(text))
    except ConfigurationError as error:
        message = str(error)
        assert_shows_a_correct_example(message)
        assert repr(text) in message
        if text.strip():
            quoted = repr(text)
            # The pointer stands under a character of the text as it is quoted, or right behind the last one.
            starts = [len(repr_upto(quoted, text, i)) for i in range(len(text) + 1)]
            assert pointer(message)[1] + 1 in starts


def repr_upto(quoted: str, text: str, end: int) -> str:
    """The part of `quoted`, which is repr(text), that shows the first `end` characters of `text`."""
    position = 1
    for character in text[:end]:
        escaped = "\\" + quoted[0] if character == quoted[0] else repr(character)[1:-1]
        if character in "'\"" and character != quoted[0]:
            escaped = character
        assert quoted.startswith(escaped, position)
        position += len(escaped)
    return quoted[:position]


# ----------------------------------------------------- parity with `limits`
SPACE = st.sampled_from(["", "", " ", "  ", "\t", "\n", "\u00a0 "])
DIGITS = st.one_of(st.integers(0, 400).map(str), st.integers(0, 2**41).map(str), st.integers(0, 99).map("{:030d}".format))
PER = st.sampled_from(["/", "per", "PER", "Per"])
UNIT = st.sampled_from([f"{unit}{s}" for unit in ("second", "MINUTE", "Hour", "dAY", "month", "year") for s in ("", "s", "S")])
RULE = st.tuples(SPACE, DIGITS, SPACE, PER, SPACE, st.one_of(st.just(""), DIGITS), SPACE, UNIT, SPACE).map("".join)
MORE = st.lists(st.tuples(st.sampled_from([";", ",", "|", ":;"]), RULE).map("".join), max_size=3).map("".join)


def read_by_oracle(text: str) -> list[tuple[int, int]]:
    return [(item.amount, item.get_expiry()) for item in oracle.parse_many(text)]


@settings(max_examples=500, deadline=None)
@given(RULE, MORE)
def test_what_limits_reads_means_the_same(rule: str, more: str) -> None:
    text = rule + more
    meant = read_by_oracle(text)
    if all(amount <= 2**40 and seconds <= 10 * 360 * DAY for amount, seconds in meant):
        assert [(limit.amount, limit.window) for limit in parse(text)] == meant
    else:
        assert pointer(refusal(text))


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet="15 /;,|:perhousPR\n", max_size=20).map(lambda text: f"7/hour{text}"))
def test_what_limits_happens_to_read_means_the_same(text: str) -> None:
    try:
        meant = read_by_oracle(text)
    except ValueError:
        return
    assert [(limit.amount, limit.window) for limit in parse(text)] == meant


@pytest.mark.parametrize(
    "text",
    [
        "1 per second",
        "1persecond",
        "10 / 5 minutes",
        "1/2 hours; 1/hour",
        "5 per month, 7 per 2 years",
        "1/0second",
        "1/000minute",
        "0/day",
        "00010/minute",
        "1/second:;5/minute",
        "1/000000000000000005minutes",
        "000000000000000000000000000010/minute",
    ],
)
def test_odd_texts_that_limits_reads_mean_the_same(text: str) -> None:
    assert [(limit.amount, limit.window) for limit in parse(text)] == read_by_oracle(text)


# ------------------------------------------------------------- naming limits
@pytest.mark.parametrize(
    ("limit", "spelled", "slug"),
    [
        (Limit(100, 60), "minute", "100-per-minute"),
        (Limit(100, 1), "second", "100-per-second"),
        (Limit(100, 10), "10-seconds", "100-per-10-seconds"),
        (Limit(100, 120), "2-minutes", "100-per-2-minutes"),
        (Limit(100, 3600), "hour", "100-per-hour"),
        (Limit(100, DAY), "day", "100-per-day"),
        (Limit(100, 7 * DAY), "week", "100-per-week"),
        (Limit(100, MONTH), "month", "100-per-month"),
        (Limit(100, YEAR), "year", "100-per-year"),
        (Limit(100, 10 * YEAR), "10-years", "100-per-10-years"),
        (Limit(100, 0.5), "500-ms", "100-per-500-ms"),
        (Limit(100, 1.5), "1500-ms", "100-per-1500-ms"),
        (Limit(100, 60, burst=20), "minute", "100-per-minute-burst-20"),
        (Limit(20, 0, concurrent=True), "0-years", "20-concurrent"),
    ],
)
def test_a_limit_is_called_after_its_amount_and_window(limit: Limit, spelled: str, slug: str) -> None:
    assert limit.slug == slug
    assert str(limit) == slug
    if not limit.concurrent:
        assert limit.spelled_window == spelled


def test_a_name_is_shown_before_what_is_meant() -> None:
    assert str(Limit(5, 60, name="login")) == "login=5-per-minute"


WINDOWS = st.one_of(
    st.integers(1, MAX_WINDOW),
    st.integers(1, 100_000).map(lambda ms: ms / 1000),
    st.sampled_from([1, 60, 3600, DAY, 7 * DAY, MONTH, YEAR]).flatmap(
        lambda unit: st.integers(1, MAX_WINDOW // unit).map(lambda n: n * unit)
    ),
)


@settings(max_examples=500, deadline=None)
@given(st.integers(0, MAX_AMOUNT), WINDOWS, st.one_of(st.none(), st.integers(1, MAX_AMOUNT)))
def test_a_slug_read_with_spaces_is_the_limit_again(amount: int, window: float, burst: int | None) -> None:
    limit = Limit(amount, window, burst=burst)
    (again,) = parse(limit.slug.replace("-", " "))
    assert (again.amount, again.burst, again.window_us) == (limit.amount, limit.burst, limit.window_us)
    assert again.slug == limit.slug
    assert re.fullmatch(r"[a-z0-9-]+", limit.slug)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 10_000_000))
def test_milliseconds_are_whole_microseconds(milliseconds: int) -> None:
    (limit,) = parse(f"1/{milliseconds}ms")
    assert limit.window_us == milliseconds * 1000


# ----------------------------------------------------------- building limits
@pytest.mark.parametrize(
    "build",
    [
        lambda: Limit(-1, 60),
        lambda: Limit(1.0, 60),  # type: ignore[arg-type]
        lambda: Limit("1", 60),  # type: ignore[arg-type]
        lambda: Limit(True, 60),
        lambda: Limit(None, 60),  # type: ignore[arg-type]
        lambda: Limit(MAX_AMOUNT + 1, 60),
        lambda: Limit(1, 0),
        lambda: Limit(1, -1),
        lambda: Limit(1, 0.0009),
        lambda: Limit(1, MAX_WINDOW + 1),
        lambda: Limit(1, float("nan")),
        lambda: Limit(1, float("inf")),
        lambda: Limit(1, 60, burst=0),
        lambda: Limit(1, 60, burst=-1),
        lambda: Limit(1, 60, burst=1.5),  # type: ignore[arg-type]
        lambda: Limit(1, 60, name=""),
        lambda: Limit(1, 60, name="a b"),
        lambda: Limit(1, 60, name="1a"),
        lambda: Limit(1, 60, name='a"b'),
        lambda: Limit(1, 60, name="a\n"),
        lambda: Limit(1, 60, name="\u00e9"),
        lambda: Limit(1, 60, concurrent=True),
        lambda: Limit(1, 0, burst=5, concurrent=True),
    ],
)
def test_a_limit_that_cannot_be_is_refused_with_an_example(build: Callable[[], Limit]) -> None:
    with pytest.raises(ConfigurationError, match=r"a correct one is Limit\(amount=100, window=60\)"):
        build()


@pytest.mark.parametrize("window", ["60", None, timedelta(minutes=1), [60], b"60"])
def test_a_window_that_is_no_number_is_refused_with_an_example(window: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"window=.*a correct one is Limit\(amount=100, window=60\)"):
        Limit(1, window)


@pytest.mark.parametrize("name", [5, b"login", ["login"]])
def test_a_name_that_is_no_text_is_refused_with_an_example(name: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"name=.*a correct one is Limit\(amount=100, window=60\)"):
        Limit(1, 60, name=name)


def test_a_limit_of_nothing_and_the_largest_one_can_be() -> None:
    assert Limit(0, 60).amount == 0
    assert Limit(MAX_AMOUNT, MAX_WINDOW).window_us == MAX_WINDOW * 1_000_000
    assert Limit(1, 0.001).window_us == 1000


def test_limits_are_equal_by_what_they_say_and_can_be_keys() -> None:
    assert Limit(1, 60) == parse("1/minute")[0]
    assert {Limit(1, 60): "a"}[Limit(1, 60.0)] == "a"
    assert Limit(1, 60) != Limit(1, 60, name="a")
