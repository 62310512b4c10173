"""What clients are told: quota headers as Structured Fields, problem bodies, and when to come back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import ceil
from typing import Any

import http_sf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockwatch.errors import RateLimited, RequestRefused, StoreUnavailable
from lockwatch.headers import DIALECTS, NAMES, problem, quota_headers, retry_after
from lockwatch.limits import Decision, Limit, parse

NOW = 1_700_000_000.25
DRAFT = ["ratelimit-policy", "ratelimit"]
X = ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"]


def decision(
    limit: str | Limit = "100/minute",
    remaining: int = 40,
    *,
    allowed: bool = True,
    retry: float | None = 0.0,
    reset: float = 30.5,
    following: float = 10.25,
    name: str | None = None,
    cost: int = 1,
    shadow: bool = False,
    degraded: bool = False,
) -> Decision:
    parsed = parse(limit)[0] if isinstance(limit, str) else limit
    return Decision(allowed, name or parsed.slug, parsed, remaining, retry, reset, cost, shadow, degraded, "d-1", following)


def refused(limit: str = "100/minute", retry: float | None = 12.5, **options: Any) -> Decision:
    return decision(limit, 0, allowed=False, retry=retry, **options)


def told(decisions: Sequence[Decision], dialect: str = "both", now: float = NOW) -> dict[str, str]:
    raw = quota_headers(decisions, dialect, now)
    headers = {name.decode("ascii"): value.decode("ascii") for name, value in raw}
    assert len(headers) == len(raw)
    return headers


def listed(text: str) -> list[tuple[Any, dict[str, Any]]]:
    """A header as the Structured Fields list it has to be (RFC 9651)."""
    members: Any = http_sf.parse(text.encode(), tltype="list")
    assert isinstance(members, list)
    assert http_sf.ser(members) == text
    return [(name, dict(parameters)) for name, parameters in members]


# ------------------------------------------------------------------ dialects
@pytest.mark.parametrize(("dialect", "names"), [("both", DRAFT + X), ("draft-11", DRAFT), ("x", X), ("off", [])])
def test_a_dialect_is_a_set_of_headers(dialect: str, names: list[str]) -> None:
    assert list(told([decision()], dialect)) == names


def test_every_header_is_one_a_browser_may_be_shown() -> None:
    names = {name.lower() for name in NAMES}
    assert {name for dialect in DIALECTS for name in told([decision()], dialect)} <= names
    assert "retry-after" in names


@pytest.mark.parametrize("dialect", DIALECTS)
def test_nothing_is_said_where_nothing_was_decided(dialect: str) -> None:
    assert told([], dialect) == {}
    assert told([decision(degraded=True)], dialect) == {}


# -------------------------------------------------------------------- draft-11
def test_every_policy_is_named_with_its_quota_and_window() -> None:
    headers = told([decision("100/minute"), decision("1000/day"), decision("login=5/10s", name="login")])
    assert listed(headers["ratelimit-policy"]) == [
        ("100-per-minute", {"q": 100, "w": 60}),
        ("1000-per-day", {"q": 1000, "w": 86_400}),
        ("login", {"q": 5, "w": 10}),
    ]


def test_every_policy_says_what_is_left_and_for_how_long() -> None:
    headers = told([decision(remaining=40, following=10.25), decision("1000/day", 7, following=3600.0)])
    assert listed(headers["ratelimit"]) == [
        ("100-per-minute", {"r": 40, "t": 11}),
        ("1000-per-day", {"r": 7, "t": 3600}),
    ]


def test_a_window_below_a_second_is_told_as_one() -> None:
    assert listed(told([decision("5/250ms")])["ratelimit-policy"]) == [("5-per-250-ms", {"q": 5, "w": 1})]


def test_a_limit_without_a_window_has_none() -> None:
    said = listed(told([decision("20 concurrent")])["ratelimit-policy"])
    assert said == [("20-concurrent", {"q": 20, "qu": "concurrent-requests"})]


def test_an_untouched_quota_says_so() -> None:
    headers = told([decision(remaining=100, reset=0.0, following=0.0)])
    assert listed(headers["ratelimit"]) == [("100-per-minute", {"r": 100, "t": 0})]
    assert headers["x-ratelimit-reset"] == str(ceil(NOW))


LIMITS = st.builds(
    Limit,
    st.integers(0, 2**40),
    st.one_of(st.integers(1, 3600), st.integers(1, 5000).map(lambda ms: ms / 1000)),
    name=st.sampled_from([None, None, "a", "login", "Log.in-2_b", "x" * 60]),
)


def spread(limit: Limit, left: float, allowed: bool, waits: bool, until: float, shadow: bool, degraded: int) -> Decision:
    """A decision about `limit`; `left` and `until` say how much of the quota and of the window."""
    return decision(
        limit,
        int(limit.amount * left),
        allowed=allowed,
        retry=0.0 if allowed else until * limit.window + 1e-6 if waits else None,
        reset=limit.window * until,
        following=limit.window * until * left,
        name=limit.name,
        shadow=shadow,
        degraded=not degraded,
    )


PART = st.floats(0, 1)
FLAG = st.booleans()
DECISIONS = st.lists(st.builds(spread, LIMITS, PART, FLAG, FLAG, PART, FLAG, st.integers(0, 3)), min_size=1, max_size=3)


@settings(max_examples=300, deadline=None)
@given(DECISIONS, st.floats(0, 4e9))
def test_every_header_can_be_read_by_a_stranger(found: list[Decision], now: float) -> None:
    headers = told(found, "both", now)
    kept = [d for d in found if not d.degraded]
    assert bool(headers) == bool(kept)
    if kept:
        policies, quotas = listed(headers["ratelimit-policy"]), listed(headers["ratelimit"])
        assert [name for name, _ in policies] == [name for name, _ in quotas] == [d.policy for d in kept]
        assert all(type(p["q"]) is int and p["q"] >= 0 and type(p["w"]) is int and p["w"] > 0 for _, p in policies)
        assert all(type(p["r"]) is int and p["r"] >= 0 and type(p["t"]) is int and p["t"] >= 0 for _, p in quotas)
        assert all(p["w"] >= q["t"] for (_, p), (_, q) in zip(policies, quotas, strict=True))
        assert all(headers[name].isdecimal() for name in X)
        assert int(headers["x-ratelimit-reset"]) >= now


# ------------------------------------------------------------- X-RateLimit-*
def test_the_binding_policy_is_the_one_with_the_least_left_relative_to_its_quota() -> None:
    headers = told([decision("100/minute", 40), decision("1000/day", 300), decision("10/second", 5)])
    assert (headers["x-ratelimit-limit"], headers["x-ratelimit-remaining"]) == ("1000", "300")


def test_of_two_equally_used_policies_the_first_is_binding() -> None:
    headers = told([decision("100/minute", 50), decision("10/second", 5)])
    assert headers["x-ratelimit-limit"] == "100"


def test_a_violated_policy_is_binding_however_much_the_others_have_left() -> None:
    headers = told([decision("1000/day", 0), refused("100/minute"), decision("10/second", 1)])
    assert headers["x-ratelimit-limit"] == "100"


def test_of_several_violated_policies_the_longest_wait_is_binding() -> None:
    headers = told([refused("10/second", 0.5), refused("1000/day", 900.0), refused("100/minute", 12.5)])
    assert headers["x-ratelimit-limit"] == "1000"
    assert headers["x-ratelimit-reset"] == str(ceil(NOW + 900))


def test_a_violated_policy_that_never_admits_is_binding() -> None:
    headers = told([refused("1000/day", 900.0), refused("10/second", None, cost=11, reset=0.75)])
    assert headers["x-ratelimit-limit"] == "10"
    assert headers["x-ratelimit-reset"] == str(ceil(NOW + 0.75))


def test_a_shadow_policy_never_binds_the_x_headers() -> None:
    headers = told([decision("1000/day", 10, reset=5.0), refused("100/minute", 12.5, shadow=True, reset=55.0)])
    assert headers["x-ratelimit-limit"] == "1000"
    assert headers["x-ratelimit-reset"] == str(ceil(NOW + 5))


def test_reset_is_when_the_whole_quota_is_free_again() -> None:
    assert told([decision(reset=30.5)], now=1000.0)["x-ratelimit-reset"] == "1031"
    assert told([decision(reset=30.0)], now=1000.0)["x-ratelimit-reset"] == "1030"
    assert told([decision(reset=0.0)], now=1000.0)["x-ratelimit-reset"] == "1000"


@settings(max_examples=300, deadline=None)
@given(st.floats(0, 4e9), st.floats(1e-6, 86_400))
def test_reset_of_a_refusal_is_now_plus_retry_after(now: float, wait: float) -> None:
    denied = refused(retry=wait)
    reset = int(told([denied], now=now)["x-ratelimit-reset"])
    again = retry_after(RateLimited([denied]))
    assert again is not None
    assert now + wait <= reset <= ceil(now + again)


def test_a_quota_of_nothing_is_told_as_nothing() -> None:
    headers = told([refused("0/minute", None), decision("100/minute", 3)])
    assert (headers["x-ratelimit-limit"], headers["x-ratelimit-remaining"]) == ("0", "0")
    assert told([decision("0/minute", 0, cost=0)])["x-ratelimit-remaining"] == "0"


def test_degraded_decisions_are_left_out() -> None:
    headers = told([decision("100/minute", 0, degraded=True), decision("1000/day", 900)])
    assert [name for name, _ in listed(headers["ratelimit"])] == ["1000-per-day"]
    assert headers["x-ratelimit-limit"] == "1000"


# ---------------------------------------------------------------- Retry-After
@pytest.mark.parametrize(
    ("waits", "expected"),
    [
        ([0.000001], 1),
        ([0.999999], 1),
        ([1.0], 1),
        ([1.000001], 2),
        ([41.2], 42),
        ([59.999999], 60),
        ([60.0], 60),
        ([1.0, 41.2, 12.0], 42),
        ([None], None),
        ([1.0, None], None),
    ],
)
def test_retry_after_is_whole_seconds_and_enough(waits: list[float | None], expected: int | None) -> None:
    assert retry_after(RateLimited([refused(retry=wait) for wait in waits])) == expected


def test_only_policies_that_refuse_make_a_client_wait() -> None:
    found = [decision("1000/day", 0), refused("10/second", None, shadow=True), refused("100/minute", 3.5)]
    assert retry_after(RateLimited(found)) == 4


@pytest.mark.parametrize("microseconds", [1, 999_999, 1_000_000, 55_000_000, 60_000_000, 3_600_000_000, 86_400_000_000])
def test_whole_seconds_are_not_rounded_up_by_a_floating_point_error(microseconds: int) -> None:
    assert retry_after(RateLimited([refused(retry=microseconds * 1e-6)])) == -(-microseconds // 1_000_000)


# -------------------------------------------------------------------- problems
def answer(refusal: RequestRefused, dialect: str = "both") -> tuple[int, dict[str, str], dict[str, Any]]:
    status, raw, body = problem(refusal, dialect, NOW)
    headers = {name.decode("ascii"): value.decode("ascii") for name, value in raw}
    assert len(headers) == len(raw)
    assert headers["content-length"] == str(len(body))
    assert headers["content-type"] == "application/problem+json"
    assert headers["cache-control"] == "no-store"
    members: dict[str, Any] = json.loads(body)
    return status, headers, members


def test_a_refusal_is_a_problem_with_the_members_clients_were_promised() -> None:
    found = [decision("1000/day", 900), refused("100/minute", 41.2)]
    status, headers, members = answer(RateLimited(found))
    assert status == 429
    assert headers["retry-after"] == "42"
    assert set(members) == {
        "type",
        "title",
        "status",
        "detail",
        "violated-policies",
        "error",
        "retry_after",
        "decision",
    }
    assert members["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert members["status"] == 429
    assert members["violated-policies"] == ["100-per-minute"]
    assert members["error"] == "rate_limit_exceeded"
    assert members["retry_after"] == 42
    assert members["decision"] == "d-1"
    assert members["title"]
    assert "100 per minute" in members["detail"]
    assert "42 seconds" in members["detail"]


def test_all_violated_policies_are_named_in_their_order() -> None:
    found = [refused("10/second"), decision("1000/day"), refused("100/minute"), refused("5/hour", shadow=True)]
    assert answer(RateLimited(found))[2]["violated-policies"] == ["10-per-second", "100-per-minute"]


def test_a_refusal_that_waiting_does_not_help_has_no_retry_after() -> None:
    status, headers, members = answer(RateLimited([refused("10/second", None, cost=11)]))
    assert status == 429
    assert "retry-after" not in headers
    assert members["retry_after"] is None
    assert "seconds" not in members["detail"]


def test_a_store_that_is_down_is_a_problem_of_its_own() -> None:
    down = Decision(False, "100-per-minute", Limit(100, 60), 0, 1.0, 0.0, 1, False, True, "d-1", 0.0)
    status, headers, members = answer(StoreUnavailable([down]))
    assert status == 503
    assert headers["retry-after"] == "1"
    assert members["type"] == "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
    assert members["status"] == 503
    assert members["error"] == "store_unavailable"
    assert members["violated-policies"] == ["100-per-minute"]
    assert not set(headers) & {*DRAFT, *X}


@pytest.mark.parametrize(("dialect", "names"), [("both", DRAFT + X), ("draft-11", DRAFT), ("x", X), ("off", [])])
def test_a_refusal_speaks_the_dialect_and_always_says_when_to_come_back(dialect: str, names: list[str]) -> None:
    _, headers, _ = answer(RateLimited([refused()]), dialect)
    assert [name for name in headers if "ratelimit" in name] == names
    assert headers["retry-after"] == "13"


@settings(max_examples=200, deadline=None)
@given(DECISIONS)
def test_header_and_body_of_a_refusal_agree(found: list[Decision]) -> None:
    refusal = RateLimited(found)
    if refusal.violated:
        _, headers, members = answer(refusal)
        assert headers.get("retry-after") == (None if members["retry_after"] is None else str(members["retry_after"]))
        assert members["violated-policies"] == [d.policy for d in found if not d.allowed and not d.shadow]
