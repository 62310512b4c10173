"""What is declared, what a route makes of it, and what one request is charged for."""

from __future__ import annotations

import tracemalloc
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockwatch import ConfigurationError, Limit, by_api_key, by_claim, by_form, by_ip, by_json, by_user
from lockwatch.admission import drive
from lockwatch.client import Client
from lockwatch.limits.buckets import Buckets
from lockwatch.limits.declaration import Declaration, Look, Penalty, read_limits
from lockwatch.limits.plan import Plan, charges, make_plan
from lockwatch.limits.policy import ALGORITHMS, Charge

ADDRESS = "203.0.113.9"
BUCKETS = Buckets("app", b"a secret of no importance")


class Guest:
    """A request, and what is known of it."""

    def __init__(self, user: str | None = None, tier: str = "free", claims: Any = None, **headers: str) -> None:
        self.client = Client(ip_address(ADDRESS), f"ip:{ADDRESS}", ADDRESS)
        self.user = user
        self.tier = tier
        self.claims = claims
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
        ("0/minute", {"algorithm": "gcra"}, "never refills"),
        ("1000003/year burst 1000003", {}, "too fine"),
        ("100001/day", {"algorithm": "sorted-set"}, "too much to be listed"),
        ("5/minute", {"algorithm": "concurrent"}, "'20 concurrent'"),
        ("5/minute", {"algorithm": ""}, "'sliding-window'"),
        ("5/minute burst 3", {"algorithm": "sorted-set"}, "'gcra'"),
        ("5/minute burst 3", {"cost": 4}, "cost=4"),
        ({"*": "5/minute"}, {}, "tier="),
        ("5/minute", {"tier": "plan"}, "'*'"),
        ({"pro": "5/minute"}, {"tier": "plan"}, "'*'"),
        ({"*": "5/minute"}, {"tier": 5}, "tier=5"),
        ({"*": "5/minute", "pro": "1,000/minute"}, {"tier": "plan"}, "1,000/minute"),
        ({"*": "5/minute", "pro": "50/minute"}, {"tier": "plan", "cost": 6}, "5-per-minute"),
        ("5/minute", {"count": "successes"}, "count='successes'"),
        ("5/minute", {"count": 401}, "count=401"),
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
    subjects(charged(plan, guest)[:1], subject)


@pytest.mark.parametrize(
    ("guest", "found"),
    [
        (Guest(x_api_key="made-up"), [("5-per-minute", 5, "key:made-up"), ("50-per-minute-by-address", 50, f"ip:{ADDRESS}")]),
        (Guest(), [("5-per-minute", 5, f"ip:{ADDRESS}")]),
    ],
)
def test_an_unverified_api_key_charges_its_address_too(guest: Guest, found: list[tuple[str, int, str]]) -> None:
    made = charged(planned(Declaration("5/minute", key=by_api_key)), guest)
    assert [(c.policy.name, c.policy.limit.amount) for c in made] == [(name, amount) for name, amount, _ in found]
    subjects(made, *[subject for *_, subject in found])
    assert len({c.policy.bucket for c in made}) == len(found)


@pytest.mark.parametrize(
    ("answer", "subject"),
    [
        (True, "key:k"),
        ("acme", "owner:acme"),
        (7, "owner:7"),
        (None, f"ip:{ADDRESS}"),
        (False, f"ip:{ADDRESS}"),
        ("", f"ip:{ADDRESS}"),
    ],
)
async def test_a_verified_api_key_is_counted_by_owner(answer: Any, subject: str) -> None:
    async def later(key: str) -> Any:
        return answer

    for verify in (lambda key: answer, later):
        plan = planned(Declaration("5/minute", key=by_api_key(verify=verify)))
        subjects(await charged_async(plan, Guest(x_api_key="k")), subject)
        subjects(await charged_async(plan, Guest()), f"ip:{ADDRESS}")


def test_verify_is_never_asked_for_nothing_and_shows_no_key() -> None:
    key = by_api_key(verify=lambda value: 1 / 0)
    subjects(charged(planned(Declaration("5/minute", key=key)), Guest()), f"ip:{ADDRESS}")
    with pytest.raises(TypeError, match="not list"):
        charged(planned(Declaration("5/minute", key=by_api_key(verify=lambda value: [value]))), Guest(x_api_key="k"))
    with pytest.raises(ConfigurationError, match="verify"):
        by_api_key(verify="secret")  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("claims", "subject"),
    [
        ({"plan": "pro"}, "claim:plan:pro"),
        ({"plan": 7}, "claim:plan:7"),
        ({"plan": ["pro"]}, f"ip:{ADDRESS}"),
        ({"plan": ""}, f"ip:{ADDRESS}"),
        ({}, f"ip:{ADDRESS}"),
        (None, f"ip:{ADDRESS}"),
    ],
)
def test_a_claim_says_whom_to_count(claims: Any, subject: str) -> None:
    subjects(charged(planned(Declaration("5/minute", key=by_claim("plan"))), Guest(claims=claims)), subject)


@pytest.mark.parametrize(
    ("claims", "amount"), [({"plan": "pro"}, 600), ({"plan": "none"}, 10), ({"plan": 7}, 10), ({}, 10), (None, 10)]
)
def test_a_tier_says_which_limit_applies(claims: Any, amount: int) -> None:
    tiers = {"pro": "600/min", "free": "60/min", "*": "10/min"}
    for tier in ("plan", lambda guest: (guest.claims or {}).get("plan")):
        (found,) = charged(planned(Declaration(tiers, tier=tier)), Guest(claims=claims))
        assert found.policy.limit == Limit(amount, 60)
    moved = [charged(planned(Declaration(tiers, tier="plan")), Guest(claims={"plan": p}))[0].key for p in ("pro", "free")]
    assert moved[0] == moved[1]


@pytest.mark.parametrize(
    ("body", "subject"),
    [
        ({"email": " Ann@Example.com"}, "json:email:ann@example.com"),
        ({"email": "\uff21nn@example.com"}, "json:email:ann@example.com"),
        ({"email": 7}, "json:email:7"),
        ({"email": True}, f"ip:{ADDRESS}"),
        ({"email": None}, f"ip:{ADDRESS}"),
        ({"email": ["a"]}, f"ip:{ADDRESS}"),
        ({}, f"ip:{ADDRESS}"),
        (None, "body:too-long"),
    ],
)
def test_a_body_says_whom_to_count(body: Any, subject: str) -> None:
    read = SimpleNamespace(fields=body or {}, too_long=body is None)
    assert by_json("email").subject(read, Guest().client) == subject
    with pytest.raises(LookupError, match="by_json"):
        by_json("email")(Guest())


@pytest.mark.parametrize("options", [{"name": ""}, {"name": "a", "max_bytes": 0}, {"name": "a", "max_bytes": 1.5}])
def test_a_body_key_that_cannot_work_is_refused_when_it_is_made(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        by_form(options.pop("name"), **options)


def test_keys_of_the_body_are_decided_later() -> None:
    early, late = Declaration("5/minute"), Declaration("7/minute", key=by_json("email"))
    plan = planned(late, early)
    assert [s.declaration for s in plan.steps] == [early]
    assert [s.declaration for s in plan.later] == [late]
    assert plan.fixed is None
    assert (plan.reads, planned(early).reads) == (65_536, 0)
    assert plan.settles(late)
    assert plan.settles(early)


# ------------------------------------------------------------------- algorithms
@pytest.mark.parametrize(
    ("text", "algorithm", "found", "numbers"),
    [
        ("100/minute", "sliding-window", "sliding-window", (100, 60_000_000, 0)),
        ("100/minute burst 20", "sliding-window", "gcra", (100, 60_000_000, 20)),
        ("100/minute", "gcra", "gcra", (100, 60_000_000, 100)),
        ("20 concurrent", "sliding-window", "concurrent", (20, 10_000_000, 0)),
        ("20 concurrent", "fixed-window", "concurrent", (20, 10_000_000, 0)),
        ("5/s", "sorted-set", "sorted-set", (5, 1_000_000, 0)),
        ("5/s", "sliding-counter", "sliding-counter", (5, 1_000_000, 0)),
        ("5/s", "fixed-window", "fixed-window", (5, 1_000_000, 0)),
    ],
)
def test_the_limit_and_the_declaration_choose_the_algorithm(
    text: str, algorithm: str, found: str, numbers: tuple[int, int, int]
) -> None:
    ((policy,),) = [step.policies for step in planned(Declaration(text, algorithm=algorithm)).steps]
    assert (policy.algorithm, policy.numbers) == (found, numbers)


def test_each_algorithm_has_buckets_of_its_own() -> None:
    plans = [planned(Declaration("5/minute", algorithm=name)) for name in ALGORITHMS if name != "concurrent"]
    plans.append(planned(Declaration("5 concurrent")))
    assert len({charged(plan)[0].key for plan in plans}) == len(ALGORITHMS)


@pytest.mark.parametrize(
    ("options", "flags", "outage"),
    [
        ({}, 0, "allow"),
        ({"shadow": True}, 1, "allow"),
        ({"cost": 2}, 2, "allow"),
        ({"cost": len}, 2, "allow"),
        ({"cost": 0}, 0, "allow"),
        ({"count": "failures"}, 6, "local"),
        ({"count": lambda status: status == 401}, 6, "local"),
        ({"count": "failures", "on_store_error": "deny"}, 6, "deny"),
    ],
)
def test_what_is_declared_becomes_flags(options: dict[str, Any], flags: int, outage: str) -> None:
    ((policy,),) = [step.policies for step in planned(Declaration("5/minute", **options)).steps]
    assert (policy.mode, policy.on_store_error, policy.held) == (flags, outage, bool(flags & 4))


@pytest.mark.parametrize(("kind", "flags"), [(Penalty, 8), (Look, 16)])
def test_limits_on_refusals_and_failures_are_marked(kind: type[Declaration], flags: int) -> None:
    ((policy,),) = [step.policies for step in planned(kind("5/minute")).steps]
    assert (policy.mode, policy.role) == (flags, kind.role)


def test_failures_are_what_is_not_a_success() -> None:
    counts = Declaration("5/minute", count="failures").counts
    assert counts is not None
    assert [counts(status) for status in (101, 200, 304, 400, 401, 500)] == [False, False, False, True, True, True]


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


@pytest.mark.parametrize("answer", ["1000003/year burst 1000003", "", "soon", None, 5])
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
