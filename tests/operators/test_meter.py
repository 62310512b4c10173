"""The counters: what is counted as what, bounds, threads."""

from __future__ import annotations

import threading

import pytest

from lockwatch.errors import StoreError, StoreTimeout
from lockwatch.limits import Decision, Limit
from lockwatch.metrics.meter import BOUNDS, MAX_POLICIES, OTHER, Meter

LIMIT = Limit(5, 60)


def decision(policy: str = "login", *, allowed: bool = True, shadow: bool = False, degraded: bool = False) -> Decision:
    return Decision(allowed, policy, LIMIT, 0, 0.0 if allowed else 1.0, 0.0, 1, shadow, degraded, "id", 0.0)


def outcomes(meter: Meter) -> dict[tuple[str, str], int]:
    return {(policy, outcome): number for policy, outcome, number in meter.decisions() if number}


@pytest.mark.parametrize(
    ("made", "outcome", "refused"),
    [
        (decision(), "allowed", 0),
        (decision(allowed=False), "refused", 1),
        (decision(allowed=False, shadow=True), "shadow_refused", 0),
        (decision(degraded=True), "degraded", 0),
        (decision(allowed=False, degraded=True), "degraded", 1),
        (decision(allowed=False, degraded=True, shadow=True), "degraded", 0),
        (decision(shadow=True), "allowed", 0),
    ],
)
def test_a_decision_is_counted_once_and_a_refusal_beside_it(made: Decision, outcome: str, refused: int) -> None:
    meter = Meter()
    meter.decided([made])
    assert outcomes(meter) == {("login", outcome): 1}
    assert dict(meter.refusals()) == {"login": refused}


def test_every_decision_of_a_request_counts() -> None:
    meter = Meter()
    for _ in range(3):
        meter.decided((decision("a"), decision("b", allowed=False)))
    assert outcomes(meter) == {("a", "allowed"): 3, ("b", "refused"): 3}


def test_the_table_of_policies_is_bounded_and_nothing_is_lost() -> None:
    meter = Meter()
    for number in range(MAX_POLICIES + 250):
        meter.decided([decision(f"policy-{number}")])
        meter.decided([decision(f"policy-{number}")])
    counted = outcomes(meter)
    assert len(counted) == MAX_POLICIES + 1
    assert counted[OTHER, "allowed"] == 2 * 250
    assert sum(counted.values()) == 2 * (MAX_POLICIES + 250)


def test_a_policy_called_other_shares_the_row_of_the_others() -> None:
    meter = Meter(policies=2)
    for name in (OTHER, "a", "b", "c"):
        meter.decided([decision(name)])
    assert outcomes(meter) == {(OTHER, "allowed"): 3, ("a", "allowed"): 1}


def test_no_count_is_lost_between_threads() -> None:
    meter = Meter(policies=8)
    made = [decision("a"), decision("b", allowed=False)]

    def count(number: int) -> None:
        for _ in range(20_000):
            meter.decided(made)
        meter.decided([decision(f"thread-{number}")])

    threads = [threading.Thread(target=count, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counted = outcomes(meter)
    assert counted["a", "allowed"] == counted["b", "refused"] == 160_000
    assert sum(counted.values()) == 320_008


def test_durations_are_cumulated_by_their_upper_bounds() -> None:
    meter = Meter()
    for seconds in (0.0001, BOUNDS[0], 0.0007, 0.02, 30.0):
        meter.called(seconds)
    pairs, total = meter.durations()
    assert dict(pairs) == {
        0.00025: 2, 0.0005: 2, 0.001: 3, 0.0025: 3, 0.005: 3, 0.01: 3, 0.025: 4, 0.05: 4, 0.1: 4, 0.25: 4, 1.0: 4,
        float("inf"): 5,
    }  # fmt: skip
    assert total == pytest.approx(30.02105)


def test_failures_are_counted_by_their_code() -> None:
    meter = Meter()
    for error in (StoreTimeout("late"), StoreTimeout("late"), StoreError("broken")):
        meter.failed(error)
    assert dict(meter.errors()) == {"store_timeout": 2, "store_error": 1}


def test_a_listener_hears_of_every_exchange_from_then_on() -> None:
    meter = Meter()
    meter.called(1.0)
    heard: list[float] = []
    meter.listen(heard.append)
    meter.called(2.0)
    meter.called(3.0)
    assert heard == [2.0, 3.0]


def test_a_child_process_counts_from_nothing() -> None:
    meter = Meter()
    heard: list[float] = []
    meter.listen(heard.append)
    meter.decided([decision()])
    meter.called(1.0)
    meter.failed(StoreTimeout("late"))
    meter.forked()
    assert (outcomes(meter), dict(meter.errors()), meter.durations()[0][-1]) == ({}, {}, (float("inf"), 0))
    meter.called(2.0)
    assert heard == [1.0, 2.0]
