"""A token and the limits of its route in one call, over every store: what is charged, and when nothing is."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from lockwatch.errors import StoreError, StoreFull
from lockwatch.flow import Call
from lockwatch.limits import flows
from lockwatch.limits.flows import Terms
from lockwatch.limits.grammar import parse
from lockwatch.limits.policy import Charge, Policy, algorithm_for
from lockwatch.tokens.entry import enter
from lockwatch.tokens.outcomes import Outcome
from tests.tokens.desk import STORES, Desk

TERMS = Terms("id")
JTI = "j" * 32


@pytest.fixture(params=STORES)
async def desk(request: pytest.FixtureRequest, redis_server: str) -> AsyncIterator[Desk]:
    made = Desk(request.param, redis_server)
    yield made
    await made.close()


def charge(text: str, key: str = "bucket", on_store_error: str = "allow") -> Charge:
    limit = parse(text)[0]
    algorithm = algorithm_for(limit, "sliding-window")
    return Charge(Policy(limit, key, key, False, on_store_error, algorithm), f"t:{{s}}:{key}:{algorithm}", 1)


LIMITS = {
    "none": [],
    "one plain": [charge("3/minute")],
    "gcra": [charge("3/minute burst 3")],
    "several": [
        charge("3/minute"),
        charge("100/hour", "wide"),
        charge("50/minute burst 50", "burst"),
        charge("9 concurrent", "cc"),
    ],
}


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
async def test_a_token_that_is_believed_is_charged_and_one_that_was_revoked_is_not(limits: list[Charge], desk: Desk) -> None:
    login = await desk.login()
    for session in (login.session, None):
        asked = desk.sessions.standing_call(session, JTI)
        assert asked is not None
        before = len(desk.store.asked)
        standing, outcome = await desk.do(enter(limits, TERMS, asked=asked))
        assert len(desk.store.asked) == before + 1
        assert standing.outcome is Outcome.LIVE
        assert [d.allowed for d in outcome.decisions] == [True] * len(limits)
    left = [d.remaining for d in (await desk.do(flows.peek(limits, TERMS))).decisions]
    assert left[:1] == [1][: len(limits)]
    await desk.do(desk.sessions.revoke(login.session, desk.clock.now))
    await desk.do(desk.sessions.deny("x" * 32, 60, desk.clock.now))
    for asked in (desk.sessions.standing_call(login.session, JTI), desk.sessions.standing_call(None, "x" * 32)):
        assert asked is not None
        standing, outcome = await desk.do(enter(limits, TERMS, asked=asked))
        assert not standing.live
        assert outcome.decisions == ()
    assert [d.remaining for d in (await desk.do(flows.peek(limits, TERMS))).decisions] == left


async def test_a_limit_that_refuses_does_so_for_a_token_that_is_believed(desk: Desk) -> None:
    login = await desk.login()
    asked = desk.sessions.standing_call(login.session, JTI)
    assert asked is not None
    limits = [charge("2/minute"), charge("100/hour", "wide")]
    found = [await desk.do(enter(limits, TERMS, asked=asked)) for _ in range(4)]
    assert [[d.allowed for d in outcome.decisions] for _, outcome in found] == [[True, True]] * 2 + [[False, True]] * 2
    assert (await desk.do(flows.peek(limits, TERMS))).decisions[1].remaining == 98


async def test_where_the_store_is_split_the_token_is_asked_for_first(desk: Desk) -> None:
    login = await desk.login()
    asked = desk.sessions.standing_call(login.session, JTI)
    assert asked is not None
    terms = TERMS._replace(split=True)
    assert (await desk.do(enter(LIMITS["one plain"], terms, asked=asked)))[1].decisions[0].allowed
    await desk.do(desk.sessions.revoke(login.session, desk.clock.now))
    standing, outcome = await desk.do(enter(LIMITS["one plain"], terms, asked=asked))
    assert (standing.live, outcome.decisions) == (False, ())
    assert desk.store.asked[-1].script == "standing"


@pytest.mark.parametrize("failure", [StoreError("down"), StoreFull("full")], ids=["down", "full"])
def test_an_outage_denies_unless_the_route_says_otherwise(failure: StoreError) -> None:
    asked = Call("standing", ("denied",), (0,))
    denying = enter(LIMITS["one plain"], TERMS, asked=asked)
    next(denying)
    with pytest.raises(StoreError):
        denying.throw(failure)
    allowing = enter([charge("3/minute", on_store_error="deny")], TERMS, asked=asked, on_store_error="allow")
    next(allowing)
    with pytest.raises(StopIteration) as ended:
        allowing.throw(failure)
    standing, outcome = ended.value.value
    assert (standing.live, standing.degraded) == (True, True)
    assert [d.allowed for d in outcome.decisions] == [False]
