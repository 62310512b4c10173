"""Known offenders: what is remembered of them, for how long, and what makes it forgotten."""

from __future__ import annotations

from typing import Any

import pytest

from lockwatch.limits import Decision, parse
from lockwatch.limits.denied import Denied, aged
from lockwatch.limits.policy import Charge, Policy


def charge(text: str = "100/minute", key: str = "k", cost: int = 1, **options: Any) -> Charge:
    (limit,) = parse(text)
    return Charge(Policy(limit, limit.name or limit.slug, "bucket", **options), key, cost)


def refused(charged: Charge, retry: float | None = 30.0, firm: bool = True, shadow: bool = False) -> Decision:
    limit = charged.policy.limit
    return Decision(False, charged.policy.name, limit, 0, retry, 60.0, charged.cost, shadow, False, "d-1", 30.0, firm)


def holding(charged: Charge, **options: Any) -> Denied:
    """A table that heard the store at 0 and learned of one refusal at the same time."""
    table = Denied()
    table.hear(7, 0.0)
    table.note([charged], [refused(charged, **options)], 0.0)
    return table


def test_a_refusal_is_repeated_until_it_ends() -> None:
    table = holding(charge())
    for now in (0.0, 0.5, 1.0):
        found = table.find([charge(key="other"), charge()], now)
        assert found is not None
        told = aged(found[1], found[0], now, "d-2")
        assert (found[0].key, told.allowed, told.id) == ("k", False, "d-2")
        assert (told.retry_after, told.reset_after, told.next_after) == (30 - now, 60 - now, 30 - now)
    for now in range(1, 30):
        table.hear(7, float(now))
        assert table.find([charge()], float(now)) is not None
    table.hear(7, 30.0)
    assert table.find([charge()], 30.0) is None
    assert not table.known


@pytest.mark.parametrize(
    "other",
    [
        charge(key="another"),
        charge("200/minute"),
        charge("100/hour"),
        charge(shadow=True),
    ],
)
def test_it_says_nothing_about_another_question(other: Charge) -> None:
    assert holding(charge()).find([other], 0.5) is None


@pytest.mark.parametrize(("cost", "found"), [(1, False), (4, False), (5, True), (6, True)])
def test_what_refused_a_cost_refuses_no_less_than_that(cost: int, found: bool) -> None:
    assert (holding(charge(cost=5)).find([charge(cost=cost)], 0.5) is not None) == found


@pytest.mark.parametrize(
    ("asked", "options"),
    [
        (charge(), {"firm": False}),
        (charge(), {"retry": None}),
        (charge(), {"shadow": True}),
        (charge(counts=lambda status: status >= 400), {}),
    ],
)
def test_what_may_be_admitted_sooner_is_not_remembered(asked: Charge, options: dict[str, Any]) -> None:
    assert not holding(asked, **options).known


def test_an_admission_is_not_remembered() -> None:
    table = Denied()
    asked = charge()
    table.note([asked], [refused(asked)._replace(allowed=True, firm=False)], 0.0)
    assert not table.known


def test_a_second_of_silence_makes_it_ask_again() -> None:
    table = holding(charge())
    assert table.find([charge()], 1.0) is not None
    assert table.find([charge()], 1.001) is None
    table.hear(7, 1.5)  # nobody knows what happened meanwhile
    assert not table.known


def test_another_epoch_forgets_everything() -> None:
    table = holding(charge())
    table.hear(8, 0.5)
    assert not table.known


def test_who_never_heard_the_store_remembers_nothing_usable() -> None:
    table = Denied()
    table.note([charge()], [refused(charge())], 5.0)
    assert table.find([charge()], 5.0) is None


def test_a_penalty_still_to_be_charged_has_to_be_asked_for() -> None:
    penalty = charge("meta=9/hour", key="m", role="penalty")
    assert holding(charge()).find([penalty, charge()], 0.5) is None
    found = holding(penalty).find([penalty, charge()], 0.5)
    assert found is not None
    assert found[0] is penalty


def test_the_table_is_bounded() -> None:
    table = Denied(size=3)
    table.hear(7, 0.0)
    for n in range(10):
        asked = charge(key=f"k{n}")
        table.note([asked], [refused(asked)], 0.0)
    assert list(table.known) == ["k7", "k8", "k9"]
