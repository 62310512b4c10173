"""What is declared, what a route makes of it, and what one request is charged for."""

from __future__ import annotations

import tracemalloc
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockwatch import ConfigurationError, Limit, by_api_key, by_ip, by_user
from lockwatch.client import Client
from lockwatch.engine import drive
from lockwatch.limits.buckets import Buckets
from lockwatch.limits.declaration import Declaration, Plan, charges, make_plan, read_limits
from lockwatch.limits.policy import Charge

ADDRESS = "203.0.113.9"
BUCKETS = Buckets("app", b"a secret of no importance")


class Guest:
    """A request, and what is known of it."""

    def __init__(self, user: str | None = None, tier: str = "free", **headers: str) -> None:
        self.client = Client(ip_address(ADDRESS), f"ip:{ADDRESS}", ADDRESS)
        self.user = user
        self.tier = tier
        self._headers = {name.replace("_", "-").encode(): value for name, value in headers.items()}

    @property
    def lockwatch(self) -> Guest:
        return self

    def header(self, name: bytes) -> str | None:
        return self._headers.get(name)


def planned(*declarations: Declaration, method: str = "GET", template: str = "/a", outage: str | None = None) -> Plan:
    return make_plan(declarations, method, template, outage)


def names(plan: Plan) -> list[str]:
    return [policy.name for step in plan.steps for policy in step.policies]


def buckets(plan: Plan) -> list[str]:
    return [policy.bucket for step in plan.steps for policy in step.policies]


def charged(plan: Plan, guest: Guest | None = None) -> tuple[Charge, ...]:
    """What a request is charged for, where nothing has to be awaited."""
    guest = guest or Guest()
    asked = charges(plan, guest, guest, BUCKETS)
    with pytest.raises(StopIteration) as stopped:
        next(asked)
    result: tuple[Charge, ...] = stopped.value.value
    return result


async def charged_async(plan: Plan, guest: Guest | None = None) -> tuple[Charge, ...]:
    guest = guest or Guest()
    result: tuple[Charge, ...] = await drive(charges(plan, guest, guest, BUCKETS))
    return result


def subjects(found: Sequence[Charge], *expected: str) -> None:
    """Every charge is for the subject in its place."""
    assert [c.key for c in found] == [BUCKETS.key(c.policy, s) for c, s in zip(found, expected, strict=True)]


# -------------------------------------------------------------- construction
@pytest.mark.parametrize(
    "limits",
    [
        "100/minute; 5/second",
        ["100/minute", "5/second"],
        ("100/minute", Limit(5, 1)),
        [Limit(100, 60), "5/second"],
        iter(["100/minute; 5/second"]),
    ],
)
def test_limits_are_texts_limits_or_sequences_of_them(limits: Any) -> None:
    assert Declaration(limits).limits == (Limit(100, 60), Limit(5, 1))


def test_one_limit_is_a_sequence_of_one() -> None:
    assert read_limits(Limit(5, 1)) == (Limit(5, 1),)
    assert read_limits("unlimited") == ()


@pytest.mark.parametrize(
    ("limits", "options", "shown"),
    [
        ("", {}, "100/minute"),
        ("1,000/minute", {}, "1,000/minute"),
        (5, {}, "100/minute"),
        (None, {}, "100/minute"),
        ([None], {}, "100/minute"),
        ([["5/minute"], 7], {}, "100/minute"),
        ("5/minute", {"algorithm": "leaky-bucket"}, "'sliding-window'"),
        ("5/minute", {"algorithm": "gcra"}, "'sliding-window'"),
        ("5/minute", {"algorithm": "concurrent"}, "'sliding-window'"),
        ("5/minute", {"algorithm": ""}, "'sliding-window'"),
        ("5/minute burst 3", {}, "'gcra'"),
        ("5 concurrent", {}, "'concurrent'"),
        ([Limit(5, 60), Limit(3, 0, concurrent=True)], {}, "'concurrent'"),
        ("5/minute", {"cost": -1}, "cost=-1"),
        ("5/minute", {"cost": 1.5}, "cost=1.5"),
        ("5/minute", {"cost": "1"}, "cost='1'"),
        ("5/minute", {"cost": True}, "cost=True"),
        ("5/minute", {"cost": None}, "cost=None"),
        ("5/minute", {"cost": 6}, "cost=6"),
        ("100/minute; 5/second", {"cost": 6}, "5-per-second"),
        ("5/minute", {"key": "user"}, "key='user'"),
        ("5/minute", {"exempt_when": True}, "exempt_when=True"),
        ("5/minute", {"on_breach": "log"}, "on_breach='log'"),
        ("5/minute", {"name": ""}, "name=''"),
        ("5/minute", {"name": "a b"}, "name='a b'"),
        ("5/minute", {"name": 'a"b'}, 'a"b'),
        ("5/minute", {"shared": ""}, "''"),
        ("5/minute", {"shared": "GET:/a"}, "GET:/a"),
        ("5/minute", {"on_store_error": "ignore"}, "'allow', 'deny', 'local'"),
        ("5/minute", {"on_store_error": ""}, "'allow', 'deny', 'local'"),
    ],
)
def test_a_declaration_that_cannot_work_is_refused_when_it_is_made(limits: Any, options: dict[str, Any], shown: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Declaration(limits, **options)
    assert shown in str(caught.value)


@pytest.mark.parametrize("key", [None, 5, "ip", b"ip"])
def test_a_key_is_a_callable(key: Any) -> None:
    with pytest.raises(ConfigurationError, match="key="):
        Declaration("5/minute", key=key)


@pytest.mark.parametrize("cost", [0, 1, 5])
def test_a_cost_up_to_the_quota_can_be(cost: int) -> None:
    assert Declaration("5/minute; 100/day", cost=cost).cost == cost


def test_a_quota_of_nothing_can_be_declared_whatever_the_cost() -> None:
    assert Declaration("0/minute", cost=1).limits == (Limit(0, 60),)


def test_equal_declarations_are_two() -> None:
    first, second = Declaration("5/minute"), Declaration("5/minute")
    assert first != second
    assert len({first, second}) == 2


def test_a_declaration_shows_its_limits_and_key() -> None:
    def tiered(request: Any) -> str:
        return "5/minute"

    assert repr(Declaration("5/minute; 7/day", key=by_user)) == "Declaration('5-per-minute; 7-per-day', key=by_user)"
    assert "tiered" in repr(Declaration(tiered))


# ----------------------------------------------------------------------- names
def test_a_policy_is_called_after_its_limit() -> None:
    assert names(planned(Declaration("100/minute; 5 per 10 seconds"))) == ["100-per-minute", "5-per-10-seconds"]


def test_a_name_of_the_declaration_comes_before_that() -> None:
    assert names(planned(Declaration("5/minute", name="search"))) == ["search"]


def test_a_name_in_the_text_comes_first() -> None:
    assert names(planned(Declaration("slow=5/minute; 7/day", name="search"))) == ["slow", "search"]


def test_names_are_unique_by_position() -> None:
    same = [Declaration("100/minute") for _ in range(3)]
    assert names(planned(*same)) == ["100-per-minute", "100-per-minute-2", "100-per-minute-3"]
    assert names(planned(Declaration("5/minute; 7/day; 9/hour", name="a"))) == ["a", "a-2", "a-3"]


def test_a_name_that_looks_numbered_keeps_the_names_unique() -> None:
    plan = planned(Declaration("a=5/minute; a-2=5/minute; a=5/minute; a-2=5/minute"))
    assert names(plan) == ["a", "a-2", "a-3", "a-2-2"]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["5/minute", "a=5/minute", "a-2=5/minute", "7/minute", "minute=5/hour"]), min_size=1, max_size=6))
def test_names_and_buckets_of_a_plan_are_unique_and_the_same_in_every_process(texts: list[str]) -> None:
    first = planned(*[Declaration(text) for text in texts])
    again = planned(*[Declaration(text) for text in texts])
    assert len(set(names(first))) == len(set(buckets(first))) == len(texts)
    assert (names(first), buckets(first)) == (names(again), buckets(again))


def test_a_declaration_reached_twice_counts_once() -> None:
    twice = Declaration("5/minute")
    plan = planned(twice, Declaration("7/day"), twice)
    assert names(plan) == ["5-per-minute", "7-per-day"]
    assert len(charged(plan)) == 2


# --------------------------------------------------------------------- buckets
def test_raising_a_limit_keeps_its_bucket() -> None:
    before, after = planned(Declaration("100/minute")), planned(Declaration("200/minute"))
    assert buckets(before) == buckets(after)
    assert names(before) != names(after)
    assert charged(before)[0].key == charged(after)[0].key


def test_another_window_is_another_bucket() -> None:
    assert buckets(planned(Declaration("100/minute"))) != buckets(planned(Declaration("100/hour")))


def test_a_named_limit_keeps_its_bucket_whatever_it_says() -> None:
    assert buckets(planned(Declaration("login=5/minute"))) == buckets(planned(Declaration("login=50/hour")))
    assert buckets(planned(Declaration("5/minute", name="login"))) == buckets(planned(Declaration("50/hour", name="login")))


def test_methods_and_routes_have_buckets_of_their_own() -> None:
    declared = Declaration("5/minute")
    plans = [planned(declared, method=m, template=t) for m in ("GET", "POST", "WEBSOCKET") for t in ("/a", "/b", "/a/{b}")]
    assert len({bucket for plan in plans for bucket in buckets(plan)}) == 9


def test_head_counts_as_get() -> None:
    declared = Declaration("5/minute")
    assert buckets(planned(declared, method="HEAD")) == buckets(planned(declared, method="GET"))
    assert buckets(planned(declared, method="head")) == buckets(planned(declared, method="get"))


def test_a_shared_bucket_replaces_method_and_route() -> None:
    one, other = Declaration("5/minute", shared="api"), Declaration("5/minute", shared="api")
    assert buckets(planned(one, method="GET", template="/a")) == buckets(planned(other, method="POST", template="/b"))
    assert buckets(planned(one)) != buckets(planned(Declaration("5/minute", shared="other")))
    assert buckets(planned(one)) != buckets(planned(Declaration("5/minute")))


def test_two_limits_of_one_route_never_share_a_bucket_with_another_route() -> None:
    several = planned(Declaration("5/minute"), Declaration("7/minute"), template="/v")
    other = planned(Declaration("5/minute"), template="/v-2")
    assert not set(buckets(several)) & set(buckets(other))
    named = planned(Declaration("5/minute; 7/day", name="api"), template="/v")
    assert not set(buckets(named)) & set(buckets(planned(Declaration("5/minute", name="api"), template="/v-2")))


@pytest.mark.parametrize("limits", ["5/minute", lambda _: "5/minute"], ids=["fixed", "dynamic"])
def test_a_shared_bucket_is_one_whatever_else_a_route_declares(limits: Any) -> None:
    shared = Declaration(limits, shared="api")
    alone = charged(planned(shared, template="/a"))
    beside = charged(planned(Declaration("7/minute; 9/minute"), Declaration(lambda _: "3/minute"), shared, template="/b"))
    assert alone[0].key == beside[-1].key
    assert len({c.key for c in beside}) == 4


@pytest.mark.parametrize("limits", ["5/minute", lambda _: "5/minute"], ids=["fixed", "dynamic"])
def test_the_bucket_of_a_route_is_one_whether_a_shared_limit_comes_before_it_or_not(limits: Any) -> None:
    mine, application = Declaration(limits), Declaration("9/minute", shared="application")
    assert charged(planned(mine))[0].key == charged(planned(application, mine))[1].key


# --------------------------------------------------------------------- methods
def test_a_declaration_applies_to_its_methods_only() -> None:
    declared = Declaration("5/minute", methods=["post", "PUT"])
    assert names(planned(declared, method="POST")) == ["5-per-minute"]
    assert names(planned(declared, method="put")) == ["5-per-minute"]
    assert names(planned(declared, method="GET")) == []
    assert charged(planned(declared, method="GET")) == ()


@pytest.mark.parametrize("methods", [["GET"], "GET", "get", ("HEAD",), {"head"}, "HEAD"])
def test_a_declaration_for_get_is_one_for_head(methods: Any) -> None:
    declared = Declaration("5/minute", methods=methods)
    assert names(planned(declared, method="GET")) == names(planned(declared, method="HEAD")) == ["5-per-minute"]
    assert names(planned(declared, method="POST")) == []


def test_a_declaration_for_no_method_applies_to_none() -> None:
    assert names(planned(Declaration("5/minute", methods=[]))) == []


def test_a_plan_knows_what_it_settles() -> None:
    inside, outside = Declaration("5/minute"), Declaration("5/minute")
    assert planned(inside).settles(inside)
    assert not planned(inside).settles(outside)


# ------------------------------------------------------------- outage policies
@pytest.mark.parametrize(
    ("declared", "configured", "expected"),
    [
        (None, None, "allow"),
        (None, "deny", "deny"),
        ("local", None, "local"),
        ("local", "deny", "local"),
        ("allow", "deny", "allow"),
    ],
)
def test_an_outage_is_decided_by_the_declaration_before_the_configuration(
    declared: str | None, configured: str | None, expected: str
) -> None:
    plan = planned(Declaration("5/minute", on_store_error=declared), outage=configured)
    assert [policy.on_store_error for step in plan.steps for policy in step.policies] == [expected]


def test_shadow_and_on_breach_reach_every_policy() -> None:
    def told(request: Any, decision: Any) -> None:
        """Not called here."""

    plan = planned(Declaration("5/minute; 7/day", shadow=True, on_breach=told))
    assert [(p.shadow, p.on_breach) for step in plan.steps for p in step.policies] == [(True, told)] * 2


# --------------------------------------------------------------------- charges
def test_a_plan_that_asks_nothing_charges_the_address() -> None:
    plan = planned(Declaration("5/minute", cost=2), Declaration("7/day; 9/hour"))
    assert plan.fixed is not None
    found = charged(plan)
    assert [(c.policy.name, c.cost) for c in found] == [("5-per-minute", 2), ("7-per-day", 1), ("9-per-hour", 1)]
    subjects(found, *[f"ip:{ADDRESS}"] * 3)


def test_subjects_do_not_show_in_keys() -> None:
    (found,) = charged(planned(Declaration("5/minute", key=by_user)), Guest(user="alice@example.com"))
    assert "alice" not in found.key
    assert ADDRESS not in charged(planned(Declaration("5/minute")))[0].key
    assert found.key.startswith("app:1:sw:{")
    assert "GET:/a" in found.key


def test_another_secret_or_namespace_is_another_key() -> None:
    plan = planned(Declaration("5/minute"))
    (policy, _), *_ = plan.fixed or ()
    others = [Buckets("app", b"another secret"), Buckets("other", b"a secret of no importance"), BUCKETS]
    assert len({held.key(policy, "ip:1.2.3.4") for held in others}) == 3


def test_any_text_is_a_subject_of_its_own() -> None:
    (policy, _), *_ = planned(Declaration("5/minute")).fixed or ()
    texts = ["", "a", "a ", "A", "\x00", "\n", "{", "}", ":", "\ud800", "\u00e9", "e\u0301", "x" * 10_000]
    keys = {BUCKETS.key(policy, text) for text in texts}
    assert len(keys) == len(texts)
    assert all(len(key) < 100 for key in keys)


def test_the_same_subject_has_the_same_key_however_many_came_between() -> None:
    (policy, _), *_ = planned(Declaration("5/minute")).fixed or ()
    held = Buckets("app", b"a secret of no importance")
    before = held.key(policy, "first")
    assert len({held.key(policy, str(i)) for i in range(20_000)}) == 20_000
    assert held.key(policy, "first") == before == BUCKETS.key(policy, "first")


def test_subjects_of_any_length_take_little_memory() -> None:
    (policy, _), *_ = planned(Declaration("5/minute")).fixed or ()
    held = Buckets("app", b"a secret of no importance")
    tracemalloc.start()
    try:
        assert len({held.key(policy, f"key:{i}" + "x" * 60_000) for i in range(200)}) == 200
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("key", "guest", "subject"),
    [
        (by_ip, Guest(user="alice"), f"ip:{ADDRESS}"),
        (by_user, Guest(user="alice"), "user:alice"),
        (by_user, Guest(), f"ip:{ADDRESS}"),
        (by_user, Guest(user=""), f"ip:{ADDRESS}"),
        (by_api_key, Guest(x_api_key="k-1"), "key:k-1"),
        (by_api_key, Guest(authorization="Bearer k-2"), "key:k-2"),
        (by_api_key, Guest(authorization="bearer  k-2 "), "key:k-2"),
        (by_api_key, Guest(authorization="Basic dTpw"), f"ip:{ADDRESS}"),
        (by_api_key, Guest(authorization="Bearer "), f"ip:{ADDRESS}"),
        (by_api_key, Guest(x_api_key="", authorization="Bearer k-2"), "key:k-2"),
        (by_api_key, Guest(), f"ip:{ADDRESS}"),
        (lambda _: "alice", Guest(), "custom:alice"),
        (lambda _: f"ip:{ADDRESS}", Guest(), f"custom:ip:{ADDRESS}"),
        (lambda _: 7, Guest(), "custom:7"),
        (lambda _: 0, Guest(), "custom:0"),
        (lambda _: None, Guest(), f"ip:{ADDRESS}"),
        (lambda _: "", Guest(), f"ip:{ADDRESS}"),
    ],
)
def test_a_key_says_whom_to_count(key: Any, guest: Guest, subject: str) -> None:
    plan = planned(Declaration("5/minute", key=key))
    subjects(charged(plan, guest), subject)


def test_a_user_named_like_an_address_does_not_fill_its_bucket() -> None:
    plan = planned(Declaration("5/minute", key=by_user))
    assert charged(plan, Guest(user=f"ip:{ADDRESS}"))[0].key != charged(plan, Guest())[0].key


@pytest.mark.parametrize("value", [1.5, b"alice", ["alice"], object(), {"sub": "alice"}])
def test_a_key_of_the_wrong_kind_is_an_error_that_names_the_function(value: Any) -> None:
    def who(request: Any) -> Any:
        return value

    with pytest.raises(TypeError, match=f"not {type(value).__name__} .*who"):
        drained(planned(Declaration("5/minute", key=who)))


def drained(plan: Plan) -> None:
    guest = Guest()
    for _ in charges(plan, guest, guest, BUCKETS):
        raise AssertionError("nothing here has to be awaited")


def test_any_callable_can_be_a_key() -> None:
    @dataclass
    class Claim:
        name: str

        def __call__(self, request: Any) -> str:
            return f"{self.name} of {request.tier}"

    plan = planned(Declaration("5/minute", key=Claim("plan")))
    subjects(charged(plan), "custom:plan of free")


async def test_an_async_key_is_awaited() -> None:
    async def who(request: Guest) -> str:
        return f"tier-{request.tier}"

    plan = planned(Declaration("5/minute", key=who))
    subjects(await charged_async(plan), "custom:tier-free")


def test_only_what_has_to_be_awaited_is_yielded() -> None:
    async def who(request: Guest) -> str:
        return "awaited"

    guest = Guest()
    asked = charges(planned(Declaration("7/day"), Declaration("5/minute", key=who)), guest, guest, BUCKETS)
    waiting: Any = next(asked)
    waiting.close()
    with pytest.raises(StopIteration) as stopped:
        asked.send("alice")
    subjects(stopped.value.value, f"ip:{ADDRESS}", "custom:alice")


# ------------------------------------------------------------------- exemption
def test_an_exempt_request_is_not_charged_for_that_declaration() -> None:
    plan = planned(Declaration("5/minute", exempt_when=lambda r: r.tier == "staff"), Declaration("7/day"))
    assert [c.policy.name for c in charged(plan, Guest(tier="staff"))] == ["7-per-day"]
    assert [c.policy.name for c in charged(plan, Guest())] == ["5-per-minute", "7-per-day"]


async def test_an_async_exemption_is_awaited() -> None:
    async def staff(request: Guest) -> bool:
        return request.tier == "staff"

    plan = planned(Declaration("5/minute", exempt_when=staff))
    assert await charged_async(plan, Guest(tier="staff")) == ()
    assert len(await charged_async(plan, Guest())) == 1


def test_an_exempt_request_is_asked_nothing_more() -> None:
    def never(request: Any) -> Any:
        raise AssertionError("asked although exempt")

    plan = planned(Declaration("5/minute", exempt_when=lambda _: True, key=never, cost=never))
    assert charged(plan) == ()


# ------------------------------------------------------------------------ cost
@pytest.mark.parametrize("cost", [0, 1, 5, 6, 2**40])
def test_a_cost_may_be_asked_for(cost: int) -> None:
    plan = planned(Declaration("5/minute; 7/day", cost=lambda _: cost))
    assert [c.cost for c in charged(plan)] == [cost, cost]


async def test_an_async_cost_is_awaited() -> None:
    async def cost(request: Guest) -> int:
        return 3

    assert [c.cost for c in await charged_async(planned(Declaration("5/minute", cost=cost)))] == [3]


@pytest.mark.parametrize("cost", [-1, 1.5, "1", None])
def test_a_cost_that_is_no_whole_number_is_an_error(cost: Any) -> None:
    with pytest.raises(TypeError, match="whole number"):
        drained(planned(Declaration("5/minute", cost=lambda _: cost)))


# -------------------------------------------------------------- dynamic limits
TIERS = {"free": "5/minute", "pro": "50/minute; 1000/day", "unlimited": "unlimited"}


@pytest.mark.parametrize(
    ("tier", "expected"), [("free", ["5-per-minute"]), ("pro", ["50-per-minute", "1000-per-day"]), ("unlimited", [])]
)
async def test_limits_may_be_asked_for(tier: str, expected: list[str]) -> None:
    async def awaited(request: Guest) -> str:
        return TIERS[request.tier]

    kinds: list[Callable[[Any], str | Awaitable[str]]] = [lambda r: TIERS[r.tier], awaited]
    for limits in kinds:
        plan = planned(Declaration(limits))
        assert plan.fixed is None
        assert [c.policy.name for c in await charged_async(plan, Guest(tier=tier))] == expected


def test_limits_asked_for_may_be_limits() -> None:
    plan = planned(Declaration(lambda _: [Limit(5, 60), "7/day"], name="x", shadow=True, on_store_error="deny"))
    found = charged(plan)
    assert [(c.policy.name, c.policy.limit) for c in found] == [("x", Limit(5, 60)), ("x-2", Limit(7, 86_400))]
    assert all(c.policy.shadow and c.policy.on_store_error == "deny" for c in found)


def test_a_tier_with_another_amount_keeps_the_bucket() -> None:
    plan = planned(Declaration(lambda r: TIERS[r.tier]))
    assert charged(plan, Guest(tier="free"))[0].key == charged(plan, Guest(tier="pro"))[0].key


@pytest.mark.parametrize("answer", ["5/minute burst 3", "5 concurrent", "", "soon", None, 5])
def test_limits_asked_for_that_cannot_work_are_refused(answer: Any) -> None:
    with pytest.raises(ConfigurationError):
        drained(planned(Declaration(lambda _: answer)))


def test_fixed_and_dynamic_limits_of_one_route_keep_their_order() -> None:
    plan = planned(Declaration("5/minute"), Declaration(lambda _: "5/minute"), Declaration("5/minute; 7/day"))
    found = charged(plan)
    assert [c.policy.name for c in found] == ["5-per-minute", "5-per-minute-2", "5-per-minute-3", "7-per-day"]
    assert len({c.key for c in found}) == 4


def test_an_exemption_does_not_move_another_declaration_to_another_bucket() -> None:
    plan = planned(Declaration("5/minute", exempt_when=lambda r: r.tier == "staff"), Declaration(lambda _: "9/minute"))
    both, alone = charged(plan, Guest()), charged(plan, Guest(tier="staff"))
    assert [c.policy.limit.amount for c in alone] == [9]
    assert alone[0].key == both[1].key
    assert alone[0].key != both[0].key


def test_what_one_declaration_asks_for_does_not_move_another_to_another_bucket() -> None:
    plan = planned(Declaration(lambda r: TIERS[r.tier]), Declaration("9/minute"))
    found = [charged(plan, Guest(tier=tier))[-1] for tier in TIERS]
    assert {c.policy.limit.amount for c in found} == {9}
    assert len({c.key for c in found}) == 1
