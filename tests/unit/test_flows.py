"""Decisions driven by hand: what a flow asks of the store, and what it makes of the answer or of its absence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from lockwatch.errors import RateLimited, StoreError, StoreFull, StoreTimeout, StoreUnavailable
from lockwatch.flow import Call, Flow, Reply, T, run, run_async
from lockwatch.limits import Decision, parse
from lockwatch.limits.flows import Outcome, Terms, admit, epoch, peek, renew, reset, settle
from lockwatch.limits.leases import Leases, conclusions
from lockwatch.limits.policy import Charge, Policy, Receipt, algorithm_for, share_of
from lockwatch.stores.memory import MemoryStore

SECOND = 1_000_000
DOWN = StoreError("the store is down")


def charge(text: str = "100/minute", key: str = "", cost: int = 1, shadow: bool = False, outage: str = "allow") -> Charge:
    (limit,) = parse(text)
    name = limit.name or limit.slug
    return Charge(Policy(limit, name, f"bucket-of-{name}", shadow, outage), key or f"key-of-{name}", cost)


def ended(flow: Flow[T], reply: Reply | StoreError) -> T:
    """The result of a flow that ends with this answer."""
    resume: Callable[[Any], Call] = flow.throw if isinstance(reply, StoreError) else flow.send
    with pytest.raises(StopIteration) as stopped:
        resume(reply)
    result: T = stopped.value.value
    return result


def decided(flow: Flow[Outcome], reply: Reply) -> tuple[Decision, ...]:
    """The decisions of a flow that ends with this answer."""
    return ended(flow, with_receipts(reply)).decisions


def answered(charges: Sequence[Charge], reply: Reply, *, workers: int = 1, observe: bool = False) -> tuple[Decision, ...]:
    flow = admit(charges, Terms("d-1", workers, observe))
    next(flow)
    return ended(flow, with_receipts(reply)).decisions


def with_receipts(reply: Reply) -> Reply:
    """A reply of five numbers a charge, and no receipts."""
    return [n for i in range(0, len(reply), 5) for n in (*reply[i : i + 5], 0)]


def with_modes(*numbers: int) -> tuple[int, ...]:
    """The numbers of a call about exact windows: `now`, then quota, window, cost and shadow for each charge."""
    return (numbers[0], *[n for i in range(1, len(numbers), 4) for n in (numbers[i + 3], *numbers[i : i + 2], 0, numbers[i + 2])])


def failed(charges: Sequence[Charge], *, workers: int = 1, observe: bool = False) -> tuple[Decision, ...]:
    """What is decided when the store fails and nothing is kept in this process."""
    flow = admit(charges, Terms("d-1", workers, observe))
    next(flow)
    return ended(flow, DOWN).decisions


# ---------------------------------------------------------------------- admit
def test_one_call_asks_for_everything() -> None:
    charges = [charge("100/minute"), charge("5/250ms", cost=3), charge("7/day", shadow=True)]
    assert next(admit(charges, Terms("d-1"))) == Call(
        "admit",
        ("key-of-100-per-minute", "key-of-5-per-250-ms", "key-of-7-per-day"),
        with_modes(0, 100, 60 * SECOND, 1, 0, 5, SECOND // 4, 3, 0, 7, 86_400 * SECOND, 1, 1),
    )


def test_observing_asks_the_store_to_let_everything_pass() -> None:
    call = next(admit([charge(), charge("7/day")], Terms("d-1", observe=True)))
    assert call.args == with_modes(0, 100, 60 * SECOND, 1, 1, 7, 86_400 * SECOND, 1, 1)


def test_what_fits_is_allowed() -> None:
    (decision,) = answered([charge(cost=2)], [1, 41, 0, 60 * SECOND, 12_500_000])
    assert decision == Decision(True, "100-per-minute", parse("100/minute")[0], 41, 0, 60, 2, False, False, "d-1", 12.5)
    assert not decision.refuses
    assert not decision.unavailable


def test_what_does_not_fit_is_refused_until_it_does() -> None:
    (decision,) = answered([charge(cost=2)], [0, 1, 12_500_001, 59 * SECOND, 3 * SECOND])
    assert (decision.allowed, decision.remaining) == (False, 1)
    assert decision.retry_after == pytest.approx(12.500001, abs=1e-9)
    assert (decision.reset_after, decision.next_after) == (59, 3)
    assert decision.refuses
    assert not decision.unavailable
    assert not decision.degraded


def test_what_never_fits_says_so() -> None:
    (decision,) = answered([charge(cost=101)], [0, 100, -1, 0, 0])
    assert decision.retry_after is None
    assert decision.refuses
    assert not decision.unavailable


def test_decisions_come_in_the_order_of_the_charges_under_one_id() -> None:
    charges = [charge("a=1/minute"), charge("b=2/minute"), charge("c=3/minute")]
    reply = [1, 0, 0, 60 * SECOND, 60 * SECOND, 0, 2, 5 * SECOND, 6 * SECOND, 7 * SECOND, 1, 3, 0, 0, 0]
    decisions = answered(charges, reply)
    assert [(d.policy, d.allowed, d.remaining) for d in decisions] == [("a", True, 0), ("b", False, 2), ("c", True, 3)]
    assert [(d.retry_after, d.reset_after, d.next_after) for d in decisions] == [(0, 60, 60), (5, 6, 7), (0, 0, 0)]
    assert {d.id for d in decisions} == {"d-1"}


def test_a_shadow_policy_reports_and_never_refuses() -> None:
    (decision,) = answered([charge(shadow=True)], [0, 0, SECOND, SECOND, SECOND])
    assert (decision.allowed, decision.shadow, decision.refuses) == (False, True, False)


def test_observing_reports_and_never_refuses() -> None:
    decisions = answered([charge(), charge("7/day")], [0, 0, SECOND, SECOND, SECOND] * 2, observe=True)
    assert [(d.allowed, d.shadow, d.refuses) for d in decisions] == [(False, True, False)] * 2


def test_nothing_to_charge_is_nothing_decided() -> None:
    assert answered([], []) == ()


# -------------------------------------------------------------- peek and reset
def test_peek_asks_the_same_and_says_peek() -> None:
    charges = [charge(cost=2), charge("7/day", shadow=True)]
    flow = peek(charges, Terms("d-2"))
    assert next(flow) == next(admit(charges, Terms("d-1")))._replace(script="peek")
    decisions = decided(flow, [1, 100, 0, 0, 0, 0, 0, SECOND, SECOND, SECOND])
    assert [(d.allowed, d.remaining, d.cost, d.refuses, d.id) for d in decisions] == [
        (True, 100, 2, False, "d-2"),
        (False, 0, 1, False, "d-2"),
    ]


def test_reset_names_the_buckets_and_says_how_many_there_were() -> None:
    flow = reset([charge("a=1/minute"), charge("b=2/minute")])
    assert next(flow) == Call("reset", ("key-of-a", "key-of-b"), ())
    assert ended(flow, [2]) == 2


@pytest.mark.parametrize("flow", [peek([charge(outage="allow")], Terms("d")), reset([charge(outage="local")])])
def test_only_admission_has_a_policy_for_outages(flow: Flow[object]) -> None:
    next(flow)
    with pytest.raises(StoreError, match="the store is down"):
        flow.throw(DOWN)


# ------------------------------------------------------------ failure policies
def test_allow_lets_pass_and_says_that_nobody_was_asked() -> None:
    (decision,) = failed([charge(outage="allow", cost=3)])
    assert (decision.allowed, decision.refuses, decision.degraded, decision.cost) == (True, False, True, 3)
    assert (decision.retry_after, decision.reset_after, decision.remaining, decision.next_after) == (0, 0, 0, 0)
    assert decision.id == "d-1"


def test_deny_refuses_for_a_second_and_says_that_nobody_was_asked() -> None:
    (decision,) = failed([charge(outage="deny")])
    assert (decision.allowed, decision.refuses, decision.degraded, decision.unavailable) == (False, True, True, True)
    assert decision.retry_after == 1
    refusal = StoreUnavailable([decision])
    assert (refusal.retry_after, refusal.decision_id, refusal.violated) == (1, "d-1", (decision,))


@pytest.mark.parametrize("error", [StoreError("x"), StoreTimeout("x")])
def test_a_late_answer_is_an_outage_too(error: StoreError) -> None:
    flow = admit([charge(outage="deny")], Terms("d-1"))
    next(flow)
    assert ended(flow, error).decisions[0].unavailable


@pytest.mark.parametrize("error", [RuntimeError("a bug"), ValueError("a bug"), KeyboardInterrupt()])
def test_a_bug_is_no_outage(error: BaseException) -> None:
    flow = admit([charge(outage="allow")], Terms("d-1"))
    next(flow)
    with pytest.raises(type(error)):
        flow.throw(error)


def test_local_asks_this_process_for_its_share() -> None:
    charges = [charge("100/minute", cost=2, outage="local"), charge("7/day", shadow=True, outage="local")]
    flow = admit(charges, Terms("d-1", workers=4))
    assert not next(flow).local
    assert flow.throw(DOWN) == Call(
        "admit",
        ("key-of-100-per-minute", "key-of-7-per-day"),
        with_modes(0, 25, 60 * SECOND, 2, 0, 1, 86_400 * SECOND, 1, 1),
        local=True,
    )
    decisions = decided(flow, [1, 23, 0, 60 * SECOND, 60 * SECOND, 0, 0, SECOND, SECOND, SECOND])
    assert [(d.allowed, d.remaining, d.degraded, d.refuses) for d in decisions] == [
        (True, 23, True, False),
        (False, 0, True, False),
    ]


def test_a_local_refusal_is_a_quota_not_an_outage() -> None:
    flow = admit([charge(outage="local")], Terms("d-1", workers=4))
    next(flow)
    flow.throw(DOWN)
    (decision,) = decided(flow, [0, 0, 5 * SECOND, 60 * SECOND, 5 * SECOND])
    assert (decision.refuses, decision.unavailable, decision.degraded) == (True, False, True)
    assert RateLimited([decision]).retry_after == 5


@pytest.mark.parametrize(
    ("amount", "workers", "share"),
    [(100, 1, 100), (100, 4, 25), (100, 3, 33), (100, 100, 1), (100, 101, 1), (1, 8, 1), (2, 8, 1), (0, 1, 0), (0, 8, 0)],
)
def test_a_share_is_at_least_one_unless_nothing_is_allowed(amount: int, workers: int, share: int) -> None:
    assert share_of(parse(f"{amount}/minute")[0], workers) == share


def test_each_policy_says_itself_what_an_outage_means() -> None:
    charges = [charge("a=5/minute", outage="allow"), charge("b=5/minute", outage="local"), charge("c=5/minute", outage="allow")]
    flow = admit(charges, Terms("d-1"))
    next(flow)
    assert flow.throw(DOWN).keys == ("key-of-b",)
    decisions = decided(flow, [0, 0, SECOND, SECOND, SECOND])
    assert [(d.policy, d.allowed, d.degraded) for d in decisions] == [("a", True, True), ("b", False, True), ("c", True, True)]


def test_deny_wins_and_nothing_is_charged_locally() -> None:
    charges = [charge("a=5/minute", outage="local"), charge("b=5/minute", outage="deny"), charge("c=5/minute", outage="allow")]
    decisions = failed(charges)
    assert [(d.policy, d.refuses) for d in decisions] == [("a", False), ("b", True), ("c", False)]
    assert all(d.degraded for d in decisions)


def test_deny_in_shadow_refuses_nothing() -> None:
    charges = [charge("a=5/minute", outage="local"), charge("b=5/minute", outage="deny", shadow=True)]
    flow = admit(charges, Terms("d-1"))
    next(flow)
    assert flow.throw(DOWN).keys == ("key-of-a",)
    decisions = decided(flow, [1, 4, 0, SECOND, SECOND])
    assert [(d.allowed, d.refuses) for d in decisions] == [(True, False), (False, False)]


def test_deny_while_observing_refuses_nothing() -> None:
    charges = [charge("a=5/minute", outage="local"), charge("b=5/minute", outage="deny")]
    flow = admit(charges, Terms("d-1", observe=True))
    next(flow)
    local = flow.throw(DOWN)
    assert (local.keys, local.args[1]) == (("key-of-a",), 1)
    decisions = decided(flow, [1, 4, 0, SECOND, SECOND])
    assert [(d.allowed, d.refuses, d.degraded) for d in decisions] == [(True, False, True), (False, False, True)]


def test_the_local_store_failing_as_well_is_not_hidden() -> None:
    flow = admit([charge(outage="local")], Terms("d-1"))
    next(flow)
    assert flow.throw(DOWN).local
    with pytest.raises(StoreError, match="this one too"):
        flow.throw(StoreError("this one too"))


# ------------------------------------------------- receipts, settling, renewing
def reserved(text: str = "5/minute", key: str = "", subject: str = "s", cost: int = 1, **options: Any) -> Charge:
    """A charge under one subject's hash tag."""
    (limit,) = parse(text)
    name = limit.name or limit.slug
    policy = Policy(limit, name, "bucket", algorithm=algorithm_for(limit, "sliding-window"), **options)
    return Charge(policy, key or f"lw:1:sw:{{{subject}}}:{name}", cost)


def failed_status(status: int) -> bool:
    return status >= 400


FAILURES: dict[str, Any] = {"counts": failed_status}


def receipt(charge: Charge, number: int = 77, local: bool = False) -> Receipt:
    return Receipt(charge, number, charge.policy.mode, charge.policy.numbers, local, charge.cost)


def test_a_reservation_names_the_set_of_open_ones_and_gets_a_receipt() -> None:
    held = reserved(**FAILURES)
    flow = admit([held, reserved("9/hour")], Terms("d-1"))
    assert next(flow) == Call(
        "admit",
        ("lw:1:sw:{s}:5-per-minute", "lw:1:sw:{s}:5-per-minute:open", "lw:1:sw:{s}:9-per-hour"),
        (0, 6, 5, 60 * SECOND, 0, 1, 0, 9, 3600 * SECOND, 0, 1),
    )
    outcome = ended(flow, [1, 4, 0, 1, 1, 77, 1, 8, 0, 1, 1, 0])
    assert outcome.receipts == (receipt(held),)


def test_terms_can_make_everything_given_back() -> None:
    flow = admit([reserved()], Terms("d-1", loose=True))
    assert next(flow).args[1] == 2
    (found,) = ended(flow, [1, 4, 0, 1, 1, 55]).receipts
    assert (found.number, found.mode) == (55, 2)


def test_settling_says_what_was_charged_and_what_it_was_really() -> None:
    held, estimated = reserved(**FAILURES), reserved("tokens=1000/hour", cost=100, settles=True)
    flow = settle([(receipt(held), 0), (receipt(estimated, 88), 30)])
    assert next(flow) == Call(
        "settle",
        ("lw:1:sw:{s}:5-per-minute", "lw:1:sw:{s}:5-per-minute:open", "lw:1:sw:{s}:tokens"),
        (0, 6, 5, 60 * SECOND, 0, 77, 1, 0, 2, 1000, 3600 * SECOND, 0, 88, 100, 30),
    )


def test_what_was_charged_here_is_settled_here() -> None:
    flow = settle([(receipt(reserved("a=5/minute", **FAILURES), local=True), 0), (receipt(reserved("b=5/minute", **FAILURES)), 0)])
    first = next(flow)
    second = flow.send([-1])
    assert [(call.local, call.keys[0]) for call in (first, second)] == [(False, "lw:1:sw:{s}:b"), (True, "lw:1:sw:{s}:a")]


def test_where_the_store_is_split_each_subject_is_settled_alone() -> None:
    items = [(receipt(reserved(subject=subject, **FAILURES)), 0) for subject in ("a", "b", "a")]
    flow = settle(items, split=True)
    first = next(flow)
    second = flow.send([-1, -1])
    assert [len(call.keys) for call in (first, second)] == [4, 2]


def test_only_what_lapses_is_renewed() -> None:
    held, busy, plain = reserved(**FAILURES), reserved("20 concurrent"), reserved("9/hour", settles=True)
    flow = renew([receipt(held), receipt(busy, 5), receipt(plain)])
    assert next(flow) == Call(
        "renew", ("lw:1:sw:{s}:5-per-minute:open", "lw:1:sw:{s}:20-concurrent"), (0, 77, 1, 10 * SECOND, 5, 1, 10 * SECOND)
    )
    assert next(renew([receipt(plain)]), None) is None


def test_the_epoch_is_read_and_raised() -> None:
    flow = epoch("shop", add=1)
    assert next(flow) == Call("epoch", ("shop:1:epoch",), (1, 86_400_000))
    assert ended(flow, [4]) == 4


@pytest.mark.parametrize(
    ("status", "ended_too", "actual", "settled", "left"),
    [
        (200, False, None, {"f": 0, "g": 0}, ["c", "t"]),
        (401, False, None, {"f": 1}, ["c", "t", "g"]),
        (401, False, 7, {"f": 1}, ["c", "t", "g"]),
        (200, True, None, {"f": 0, "c": 0, "g": 0}, ["t"]),
        (200, True, 7, {"f": 0, "c": 0, "t": 7, "g": 0}, []),
        (500, True, None, {"f": 1, "c": 0, "g": 3}, ["t"]),
        (500, True, 0, {"f": 1, "c": 0, "t": 0, "g": 0}, []),
    ],
)
def test_a_response_decides_what_its_reservations_become(
    status: int, ended_too: bool, actual: int | None, settled: dict[str, int], left: list[str]
) -> None:
    receipts = [
        receipt(reserved("f=5/minute", **FAILURES)),
        receipt(reserved("c=20 concurrent")),
        receipt(reserved("t=9/hour", settles=True)),
        receipt(reserved("g=9/hour", settles=True, cost=3, **FAILURES)),
        receipt(reserved("loose=9/hour")),
    ]
    still, items = conclusions(receipts, status, ended_too, actual)
    assert {r.charge.policy.name: cost for r, cost in items} == settled
    assert [r.charge.policy.name for r in still] == left


def test_leases_are_kept_while_they_are_under_way() -> None:
    leases = Leases()
    held, plain = receipt(reserved(**FAILURES)), receipt(reserved("9/hour", settles=True))
    assert not leases.begin([plain], 0.0)
    assert leases.begin([held, plain], 1.0)
    assert leases.due(0.9) == []
    assert leases.due(1.0) == [held]
    leases.end([held, plain, held])
    assert (leases.due(9.0), len(leases)) == ([], 0)


# ------------------------------------------- a store that takes one subject at a time
def apart(*texts: str, **options: Any) -> list[Charge]:
    """Charges of one request for several subjects, the outermost first."""
    return [reserved(text, subject=text.partition("=")[0], **options) for text in texts]


SPLIT = Terms("d-1", split=True)


def test_subjects_are_asked_one_after_the_other_the_outermost_last() -> None:
    charges = apart("app=9/hour", "user=5/minute")
    flow = admit(charges, SPLIT)
    first = next(flow)
    assert (first.keys, first.args[1]) == (("lw:1:sw:{user}:user",), 2)  # it may have to be given back
    second = flow.send([1, 4, 0, 1, 1, 77])
    assert (second.keys, second.args[1]) == (("lw:1:sw:{app}:app",), 0)
    outcome = ended(flow, [1, 8, 0, 1, 1, 0])
    assert [(d.policy, d.remaining) for d in outcome.decisions] == [("app", 8), ("user", 4)]
    assert [r.number for r in outcome.receipts] == [77]


def test_a_late_refusal_gives_back_what_was_charged_before_it() -> None:
    flow = admit(apart("app=9/hour", "user=5/minute"), SPLIT)
    next(flow)
    flow.send([1, 4, 0, 1, 1, 77])
    given_back = flow.send([0, 0, SECOND, SECOND, SECOND, 0])
    assert (given_back.script, given_back.keys, given_back.args[5:]) == ("settle", ("lw:1:sw:{user}:user",), (77, 1, 0))
    outcome = ended(flow, [-1])
    assert [(d.policy, d.allowed) for d in outcome.decisions] == [("app", False), ("user", True)]
    assert outcome.receipts == ()


def test_an_early_refusal_asks_nobody_else() -> None:
    flow = admit(apart("app=9/hour", "user=5/minute"), SPLIT)
    next(flow)
    outcome = ended(flow, [0, 0, SECOND, SECOND, SECOND, 0])
    assert [(c.policy.name, d.allowed) for c, d in zip(outcome.charges, outcome.decisions, strict=True)] == [("user", False)]


def test_a_store_that_fails_half_way_gives_back_and_leaves_it_to_the_policies() -> None:
    flow = admit(apart("app=9/hour", "user=5/minute"), SPLIT)
    next(flow)
    flow.send([1, 4, 0, 1, 1, 77])
    assert flow.throw(DOWN).script == "settle"
    assert all(d.degraded for d in ended(flow, [-1]).decisions)


def test_a_penalty_of_another_subject_is_charged_when_one_refuses() -> None:
    meta = reserved("meta=9/hour", subject="meta", role="penalty")
    flow = admit([meta, *apart("user=5/minute")], SPLIT)
    next(flow)
    punished = flow.send([0, 0, SECOND, SECOND, SECOND, 0])
    assert (punished.keys, punished.args[1]) == (("lw:1:sw:{meta}:meta",), 0)
    assert [d.policy for d in ended(flow, [1, 8, 0, 1, 1, 0]).decisions] == ["user"]


def test_peek_and_reset_ask_each_subject() -> None:
    charges = apart("app=9/hour", "user=5/minute")
    flow = peek(charges, SPLIT)
    assert next(flow).keys == ("lw:1:sw:{user}:user",)
    assert flow.send([1, 4, 0, 1, 1, 0]).keys == ("lw:1:sw:{app}:app",)
    assert [d.remaining for d in ended(flow, [1, 8, 0, 1, 1, 0]).decisions] == [8, 4]
    forget = reset(charges, split=True)
    next(forget)
    forget.send([1])
    assert ended(forget, [1]) == 2


def test_a_full_store_is_no_reason_to_allow_everything() -> None:
    charges = [charge("a=5/minute", outage="allow"), charge("b=5/minute", outage="local")]
    flow = admit(charges, Terms("d-1", workers=5))
    next(flow)
    local = flow.throw(StoreFull("no memory left"))
    assert (local.local, local.keys) == (True, ("key-of-a", "key-of-b"))
    assert [d.allowed for d in decided(flow, [1, 0, 0, SECOND, SECOND, 0, 0, SECOND, SECOND, SECOND])] == [True, False]


# -------------------------------------------------------------------- drivers
class Failing:
    """A store that is down."""

    def __init__(self) -> None:
        self.asked = 0

    def call(self, call: Call) -> Reply:
        self.asked += 1
        raise StoreError(f"no {call.script}")


class Awaited:
    """A store of the other colour."""

    def __init__(self, store: MemoryStore | Failing) -> None:
        self._store = store

    async def call(self, call: Call) -> Reply:
        return self._store.call(call)


async def test_both_drivers_decide_the_same() -> None:
    def stores() -> tuple[MemoryStore, MemoryStore]:
        return MemoryStore(clock=lambda: 5 * SECOND), MemoryStore(clock=lambda: 5 * SECOND)

    charges = [charge("2/minute"), charge("5/day", cost=2)]
    store, local = stores()
    blocking = [run(admit(charges, Terms("d-1")), store, local) for _ in range(4)]
    store, local = stores()
    awaited = [await run_async(admit(charges, Terms("d-1")), Awaited(store), local) for _ in range(4)]
    assert blocking == awaited
    allowed = [[d.allowed for d in found.decisions] for found in blocking]
    assert allowed == [[True, True], [True, True], [False, False], [False, False]]
    assert len(local) == 0


async def test_both_drivers_turn_to_this_process_when_the_store_fails() -> None:
    charges = [charge("4/minute", outage="local")]
    for_blocking, for_awaited = MemoryStore(clock=lambda: SECOND), MemoryStore(clock=lambda: SECOND)
    down = Failing()
    blocking = [run(admit(charges, Terms("d-1", workers=2)), down, for_blocking) for _ in range(3)]
    awaited = [await run_async(admit(charges, Terms("d-1", workers=2)), Awaited(down), for_awaited) for _ in range(3)]
    assert blocking == awaited
    first = [found.decisions[0] for found in blocking]
    assert [(d.allowed, d.remaining, d.degraded) for d in first] == [(True, 1, True), (True, 0, True), (False, 0, True)]
    assert down.asked == 6


async def test_both_drivers_let_an_error_without_a_policy_through() -> None:
    with pytest.raises(StoreError, match="no peek"):
        run(peek([charge()], Terms("d-1")), Failing(), MemoryStore())
    with pytest.raises(StoreError, match="no reset"):
        await run_async(reset([charge()]), Awaited(Failing()), MemoryStore())


def test_reset_and_peek_through_a_store() -> None:
    store = MemoryStore(clock=lambda: 5 * SECOND)
    charges = [charge("2/minute"), charge("5/day")]
    assert run(reset(charges), store, store) == 0
    run(admit(charges, Terms("d-1")), store, store)
    assert [d.remaining for d in run(peek(charges, Terms("d-2")), store, store).decisions] == [1, 4]
    assert [d.remaining for d in run(peek(charges, Terms("d-3")), store, store).decisions] == [1, 4]
    assert run(reset(charges), store, store) == 2
    assert [d.remaining for d in run(peek(charges, Terms("d-4")), store, store).decisions] == [2, 5]
