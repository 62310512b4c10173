"""What operators see of a running application: usage by subject, explanations, resets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import fakeredis
import pytest
import redis
from fastapi import Depends, FastAPI, Request
from fastapi.testclient import TestClient

from lockwatch import ConfigurationError, LockWatch, RateLimit, StoreError
from lockwatch.limits.survey import BATCH, Usage
from tests import servers
from tests.operators.shop import SECRET, create

PEER = "203.0.113.7"
SUBJECT = f"ip:{PEER}"


@pytest.fixture(params=["memory", "fakeredis", "redis"])
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    if request.param == "memory":
        return {}
    if request.param == "fakeredis":
        return {"redis": fakeredis.FakeAsyncRedis()}
    return {"redis_url": request.getfixturevalue("redis_server")}


@pytest.fixture
def shop(options: dict[str, Any]) -> Iterator[TestClient]:
    with TestClient(create(**options), client=(PEER, 1)) as http:
        yield http


def lockwatch_of(http: TestClient) -> LockWatch:
    app: Any = http.app
    found: LockWatch = app.state.lockwatch
    return found


def ask(http: TestClient, question: Callable[[LockWatch], Any]) -> Any:
    """Ask on the event loop that serves."""
    assert http.portal is not None
    return http.portal.call(lambda: question(lockwatch_of(http)))


def used(usages: tuple[Usage, ...]) -> dict[str, tuple[int, int]]:
    return {usage.policy: (usage.used, usage.remaining) for usage in usages if usage.used}


def test_a_subject_has_used_what_its_requests_took(shop: TestClient) -> None:
    assert used(ask(shop, lambda lw: lw.limits_of(SUBJECT))) == {}
    for _ in range(2):
        shop.get("/items/1")
    usages = ask(shop, lambda lw: lw.limits_of(SUBJECT))
    assert used(usages) == {
        "100-per-minute": (2, 98), "app": (2, 998), "route": (2, 1), "parameter": (2, 6), "marked": (2, 18),
    }  # fmt: skip
    assert used(ask(shop, lambda lw: lw.limits_of("ip:198.51.100.9"))) == {}
    route = next(usage for usage in usages if usage.policy == "route")
    assert (route.routes, route.subject, route.algorithm) == (("GET /items/{number}",), SUBJECT, "sliding-window")
    assert 58 < route.reset_after <= 60
    assert route.retry_after == 0
    assert route.key.startswith("shop:1:sw:{")
    assert PEER not in route.key


def test_looking_charges_nothing(shop: TestClient) -> None:
    shop.get("/items/1")
    seen = [used(ask(shop, lambda lw: lw.limits_of(SUBJECT))) for _ in range(5)]
    assert seen[0] == seen[-1]


def test_a_full_bucket_says_when_it_admits_again(shop: TestClient) -> None:
    for _ in range(5):
        shop.get("/items/1")
    route = next(u for u in ask(shop, lambda lw: lw.limits_of(SUBJECT, "GET /items/{number}")) if u.policy == "route")
    assert (route.used, route.remaining) == (3, 0)
    assert 58 < route.retry_after <= 60


def test_one_route_may_be_asked_for(shop: TestClient) -> None:
    shop.get("/items/1")
    shop.get("/v1/reports/daily")
    assert used(ask(shop, lambda lw: lw.limits_of(SUBJECT, "get /v1/reports/daily"))) == {
        "100-per-minute": (2, 98), "app": (1, 999), "including": (1, 39), "router": (1, 29),
    }  # fmt: skip


def test_routes_that_share_a_bucket_share_a_line(shop: TestClient) -> None:
    shop.get("/v1/reports/daily")
    shop.get("/v1/reports/weekly")
    by_policy = {usage.policy: usage for usage in ask(shop, lambda lw: lw.limits_of(SUBJECT)) if usage.used > 1}
    assert by_policy["router"].routes == ("GET /v1/reports/daily", "GET /v1/reports/weekly", "WEBSOCKET /v1/reports/feed")
    assert by_policy["router"].used == 2
    assert len(by_policy["100-per-minute"].routes) > 10


def test_a_websocket_and_what_no_route_matches_are_seen(shop: TestClient) -> None:
    with shop.websocket_connect("/v1/reports/feed"):
        pass
    shop.get("/nowhere")
    assert used(ask(shop, lambda lw: lw.limits_of(SUBJECT, "WEBSOCKET /v1/reports/feed")))["including"] == (1, 39)
    unmatched = ask(shop, lambda lw: lw.limits_of(SUBJECT, "GET <unmatched>"))
    assert used(unmatched) == {"100-per-minute": (2, 98), "50-per-minute": (1, 49)}


def test_api_keys_users_and_own_subjects_are_found(shop: TestClient) -> None:
    shop.get("/keyed", headers={"X-API-Key": "s3cret"})
    shop.get("/own")
    assert used(ask(shop, lambda lw: lw.limits_of("key:s3cret"))) == {"keyed": (1, 3)}
    assert used(ask(shop, lambda lw: lw.limits_of(SUBJECT, "GET /keyed")))["keyed-by-address"] == (1, 39)
    assert used(ask(shop, lambda lw: lw.limits_of("custom:everyone"))) == {"own": (1, 3)}
    assert {usage.policy for usage in ask(shop, lambda lw: lw.limits_of("user:alice"))} == {"nested"}


def test_every_tier_is_listed(shop: TestClient) -> None:
    shop.get("/tiers")
    usages = ask(shop, lambda lw: lw.limits_of(SUBJECT, "GET /tiers"))
    assert {(usage.tier, usage.used, usage.remaining) for usage in usages if usage.tier} == {("pro", 1, 59), ("*", 1, 1)}


@pytest.mark.parametrize(
    ("limits", "algorithm", "seen"),
    [
        ("5/minute", "sliding-window", (2, 3)),
        ("5/minute", "sorted-set", (2, 3)),
        ("5/minute", "sliding-counter", (2, 3)),
        ("5/minute", "fixed-window", (2, 3)),
        ("5/hour", "gcra", (2, 3)),
        ("5/hour burst 8", "gcra", (2, 6)),
    ],
)
def test_every_algorithm_says_what_is_used(options: dict[str, Any], limits: str, algorithm: str, seen: tuple[int, int]) -> None:
    app = FastAPI()
    LockWatch(app, **options, secret_key=SECRET, store_timeout=5)

    @app.get("/", dependencies=[Depends(RateLimit(limits, name="it", algorithm=algorithm))])
    async def index() -> str:
        return "welcome"

    with TestClient(app, client=(PEER, 1)) as http:
        http.get("/")
        http.get("/")
        (usage,) = ask(http, lambda lw: lw.limits_of(SUBJECT))
        assert (usage.used, usage.remaining, usage.algorithm) == (*seen, algorithm)
        assert ask(http, lambda lw: lw.reset_limits(SUBJECT)) == 1
        assert used(ask(http, lambda lw: lw.limits_of(SUBJECT))) == {}


def test_requests_in_flight_are_used_as_long_as_they_are(options: dict[str, Any]) -> None:
    app = FastAPI()
    lockwatch = LockWatch(app, **options, secret_key=SECRET, store_timeout=5)

    @app.get("/", dependencies=[Depends(RateLimit("3 concurrent", name="it"))])
    async def index() -> list[int]:
        (usage,) = await lockwatch.limits_of(SUBJECT)
        return [usage.used, usage.remaining]

    with TestClient(app, client=(PEER, 1)) as http:
        assert http.get("/").json() == [1, 2]
        assert http.portal is not None
        http.portal.call(lockwatch.flush)
        assert used(ask(http, lambda lw: lw.limits_of(SUBJECT))) == {}


def test_several_subjects_at_once(shop: TestClient) -> None:
    shop.get("/keyed", headers={"X-API-Key": "s3cret"})
    usages = ask(shop, lambda lw: lw.limits_of([SUBJECT, "key:s3cret"], "GET /keyed"))
    assert {(u.subject, u.policy) for u in usages if u.used} == {
        (SUBJECT, "100-per-minute"), (SUBJECT, "app"), (SUBJECT, "keyed-by-address"), ("key:s3cret", "keyed"),
    }  # fmt: skip


def test_no_subject_shows_in_a_repr(shop: TestClient) -> None:
    usages = ask(shop, lambda lw: lw.limits_of(["key:s3cret", SUBJECT]))
    told = ask(shop, lambda lw: lw.explain("GET /keyed", ["key:s3cret", SUBJECT]))
    assert "s3cret" not in repr((usages, told))
    assert PEER not in repr((usages, told))


# ------------------------------------------------------------ reset
def test_a_reset_lets_a_refused_client_in_again(shop: TestClient) -> None:
    assert [shop.get("/items/1").status_code for _ in range(5)] == [200, 200, 200, 429, 429]
    assert ask(shop, lambda lw: lw.reset_limits(SUBJECT)) == 5
    assert shop.get("/items/1").status_code == 200
    assert ask(shop, lambda lw: lw.reset_limits("ip:198.51.100.9")) == 0


def test_a_reset_of_one_route_leaves_the_others(shop: TestClient) -> None:
    shop.get("/v1/reports/daily")
    shop.get("/keyed")
    ask(shop, lambda lw: lw.reset_limits(SUBJECT, "GET /keyed"))
    assert used(ask(shop, lambda lw: lw.limits_of(SUBJECT))) == {"app": (1, 999), "including": (1, 39), "router": (1, 29)}


def test_a_reset_forgets_open_reservations_too(redis_server: str) -> None:
    app = FastAPI()
    lockwatch = LockWatch(app, redis_url=redis_server, secret_key=SECRET, store_timeout=5)
    seen: list[int] = []

    @app.get("/login", dependencies=[Depends(RateLimit("5/minute", count="failures"))])
    async def login() -> str:
        with redis.Redis.from_url(redis_server) as own:
            before = len(own.keys("*:open"))
            await lockwatch.reset_limits(SUBJECT)
            seen.extend((before, len(own.keys("*:open"))))
        return "welcome"

    with TestClient(app, client=(PEER, 1)) as http:
        assert http.get("/login").status_code == 200
    assert seen == [1, 0]


def test_a_reset_raises_the_epoch(redis_server: str) -> None:
    with TestClient(create(redis_url=redis_server), client=(PEER, 1)) as http:
        ask(http, lambda lw: lw.reset_limits(SUBJECT))
        ask(http, lambda lw: lw.reset_limits(SUBJECT))
        with redis.Redis.from_url(redis_server, decode_responses=True) as own:
            assert own.get("shop:1:epoch") == "2"


def test_the_store_is_asked_in_batches_and_never_searched(redis_server: str) -> None:
    with TestClient(create(redis_url=redis_server), client=(PEER, 1)) as http, redis.Redis.from_url(redis_server) as own:
        looked = len(ask(http, lambda lw: lw.limits_of(SUBJECT)))
        own.config_resetstat()
        ask(http, lambda lw: lw.limits_of(SUBJECT))
        stats = own.info("commandstats")
        assert looked < BATCH
        alive = stats.get("cmdstat_zadd", {}).get("calls", 0)  # scripts in which the background says that it lives
        assert stats["cmdstat_evalsha"]["calls"] - alive == 2  # the second for the other tier of a bucket
        ask(http, lambda lw: lw.reset_limits(SUBJECT))
        assert not {"cmdstat_keys", "cmdstat_scan"} & set(own.info("commandstats"))


# ------------------------------------------------------------ explain
def test_an_explanation_lists_the_plan_in_order_and_where_it_was_declared(shop: TestClient) -> None:
    told = ask(shop, lambda lw: lw.explain("GET /items/{number}", SUBJECT))
    assert [(policy.policy, policy.origin) for policy in told.policies] == [
        ("100-per-minute", "application_limits"),
        ("app", "dependencies of the application"),
        ("route", "dependencies of the route or its router"),
        ("parameter", "parameter of create.<locals>.item"),
        ("marked", "decorator of create.<locals>.item"),
    ]
    assert (told.refused_by, told.retry_after, told.mode) == ((), 0, "enforce")
    key = told.policies[2].key
    assert (key.namespace, key.schema, key.algorithm, key.policy, key.scope) == ("shop", "1", "sw", "route", "GET:/items/{number}")
    assert len(key.subject) == 32
    assert told.policies[2].counts_by == "by_ip"


def test_an_explanation_finds_routers_and_nested_dependencies(shop: TestClient) -> None:
    origins = {p.policy: p.origin for p in ask(shop, lambda lw: lw.explain("GET /v1/reports/daily", SUBJECT)).policies}
    assert origins["including"] == "dependencies of an including router"
    assert origins["router"] == "dependencies of the route or its router"
    origins = {p.policy: p.origin for p in ask(shop, lambda lw: lw.explain("POST /login", SUBJECT)).policies}
    assert origins["nested"] == "dependency of create.<locals>.checked"
    assert {p.policy: p.origin for p in ask(shop, lambda lw: lw.explain("GET <unmatched>", SUBJECT)).policies} == {
        "100-per-minute": "application_limits",
        "50-per-minute": "default_limits",
    }


def test_an_explanation_says_who_would_refuse_and_until_when(shop: TestClient) -> None:
    for _ in range(4):
        shop.get("/items/1")
    told = ask(shop, lambda lw: lw.explain("GET /items/{number}", SUBJECT))
    assert told.refused_by == ("route",)
    assert 58 < told.retry_after <= 60
    assert [policy.allowed for policy in told.policies] == [True, True, False, True, True]
    assert told.policies[2].usage.used == 3


def test_an_explanation_agrees_with_the_next_answer(shop: TestClient) -> None:
    for _ in range(6):
        told = ask(shop, lambda lw: lw.explain("GET /items/{number}", SUBJECT))
        assert shop.get("/items/1").status_code == (429 if told.refused_by else 200)


def test_a_user_takes_the_place_of_the_address_where_a_policy_counts_users(shop: TestClient) -> None:
    told = ask(shop, lambda lw: lw.explain("POST /login", [SUBJECT, "user:alice"]))
    subjects = {policy.policy: policy.usage.subject for policy in told.policies}
    assert subjects == {"100-per-minute": SUBJECT, "app": SUBJECT, "nested": "user:alice"}
    alone = ask(shop, lambda lw: lw.explain("POST /login", "user:alice"))
    missing = next(policy for policy in alone.policies if policy.policy == "app")
    assert (missing.usage, missing.key, missing.refuses) == (None, None, False)
    assert "by_ip" in missing.notes[0]


def test_what_there_is_to_know_is_noted(shop: TestClient) -> None:
    notes = {p.policy: p.notes for p in ask(shop, lambda lw: lw.explain("GET /own", SUBJECT)).policies}
    assert notes["own"][0] == "shadow: reports, never refuses"
    assert notes["100-per-minute"] == ("when the store fails: allow",)
    dynamic = ask(shop, lambda lw: lw.explain("GET /busy", SUBJECT)).policies[-1]
    assert (dynamic.policy, dynamic.notes) == ("(per request)", ("its limits are decided per request, by busy",))
    assert "for the tier 'pro'" in ask(shop, lambda lw: lw.explain("GET /tiers", SUBJECT)).policies[-2].notes
    assert ask(shop, lambda lw: lw.explain("GET /free", SUBJECT)).notes == ("the endpoint is exempt from every limit",)


def test_a_shadow_policy_refuses_nobody(shop: TestClient) -> None:
    for _ in range(5):
        shop.get("/own")
    told = ask(shop, lambda lw: lw.explain("GET /own", [SUBJECT, "custom:everyone"]))
    own = told.policies[-1]
    assert (own.allowed, own.refuses, told.refused_by) == (False, False, ())


@pytest.mark.parametrize("mode", ["observe", "off"])
def test_in_other_modes_nothing_is_refused(mode: str) -> None:
    with TestClient(create(mode=mode), client=(PEER, 1)) as http:
        for _ in range(5):
            http.get("/items/1")
        told = ask(http, lambda lw: lw.explain("GET /items/{number}", SUBJECT))
        assert told.refused_by == ()
        assert any(mode in note for note in told.notes)


def test_an_exempt_address_is_said_to_be_one() -> None:
    with TestClient(create(exempt_networks=("203.0.113.0/24", "2001:db8::/32")), client=(PEER, 1)) as http:
        for subject in (SUBJECT, "ip:2001:db8::1"):
            told = ask(http, lambda lw, s=subject: lw.explain("GET /items/{number}", s))
            assert told.notes == ("nothing is limited for this address: it is among exempt_networks",)
        assert ask(http, lambda lw: lw.explain("GET /items/{number}", "ip:198.51.100.9")).notes == ()
        assert ask(http, lambda lw: lw.explain("GET /items/{number}", "ip:unknown")).notes == ()


def test_overridden_dependencies_are_seen_as_they_are() -> None:
    app = FastAPI()
    lockwatch, limit = LockWatch(app), RateLimit("5/minute", name="search")

    @app.get("/search", dependencies=[Depends(limit)])
    async def search() -> str:
        return "found"

    assert [step.policies[0].name for route in lockwatch.overview().routes for step in route.plan.steps] == ["search"]
    app.dependency_overrides[limit] = lambda: None
    assert not [step for route in lockwatch.overview().routes for step in route.plan.steps]


def test_mounted_applications_are_seen_with_their_prefix() -> None:
    app, mounted = FastAPI(), FastAPI()
    lockwatch = LockWatch(app)

    @mounted.get("/search", dependencies=[Depends(RateLimit("5/minute", name="search"))])
    async def search() -> str:
        return "found"

    app.mount("/v2", mounted)
    app.mount("/files", lambda scope, receive, send: None)
    found = {route.name: [s.policies[0].name for s in route.plan.steps] for route in lockwatch.overview().routes}
    assert found["GET /v2/search"] == ["search"]
    assert "PUT /files/{path}" in found


# ------------------------------------------------------------ mistakes
@pytest.mark.parametrize(
    ("question", "says"),
    [
        (lambda lw: lw.limits_of(SUBJECT, "GET /item/{number}"), "did you mean 'GET /items/{number}'?"),
        (lambda lw: lw.explain("/items/{number}", SUBJECT), "did you mean 'GET /items/{number}'?"),
        (lambda lw: lw.limits_of(PEER), "a subject is one of"),
        (lambda lw: lw.limits_of("ip:shop.example.com"), "is no address"),
        (lambda lw: lw.limits_of("user:"), "a subject is one of"),
        (lambda lw: lw.reset_limits("who:alice"), "a subject is one of"),
        (lambda lw: lw.limits_of(SUBJECT, tenant="acme"), "has none"),
    ],
)
def test_a_mistake_is_explained(question: Callable[[LockWatch], Any], says: str) -> None:
    with TestClient(create()) as http, pytest.raises(ConfigurationError) as raised:
        ask(http, question)
    assert says in str(raised.value)
    assert "alice" not in str(raised.value)


def test_tenants_are_apart() -> None:
    with TestClient(create(tenant=lambda request: request.headers["tenant"]), client=(PEER, 1)) as http:
        http.get("/items/1", headers={"tenant": "acme"})
        assert used(ask(http, lambda lw: lw.limits_of(SUBJECT, tenant="acme")))["route"] == (1, 2)
        assert used(ask(http, lambda lw: lw.limits_of(SUBJECT, tenant="other"))) == {}
        with pytest.raises(ConfigurationError, match="which one"):
            ask(http, lambda lw: lw.limits_of(SUBJECT))


def test_a_store_that_is_down_is_an_error_not_an_empty_answer() -> None:
    with TestClient(create(redis_url=f"redis://127.0.0.1:{servers.free_port()}/0")) as http, pytest.raises(StoreError):
        ask(http, lambda lw: lw.limits_of(SUBJECT))


# ------------------------------------------------------------ the limiter of an application
def test_the_limiter_of_an_application_is_its_application_limit(shop: TestClient) -> None:
    shop.get("/keyed")
    shop.get("/own")
    allowed, state = ask(shop, lambda lw: lw.limiter.check(SUBJECT))
    assert (allowed, state.limit, state.remaining) == (True, 100, 97)
    assert shop.get("/keyed").headers["x-ratelimit-remaining"] == "2"
    assert used(ask(shop, lambda lw: lw.limits_of(SUBJECT)))["100-per-minute"] == (4, 96)
    assert ask(shop, lambda lw: lw.limiter.reset(SUBJECT))
    assert lockwatch_of(shop).limiter is lockwatch_of(shop).limiter


def test_the_limiter_of_an_application_counts_tenants_apart() -> None:
    app = FastAPI()
    lockwatch = LockWatch(app, application_limits="9/minute", tenant=lambda request: request.headers["tenant"])

    @app.get("/")
    async def index(request: Request) -> int:
        return (await lockwatch.limiter.check(request, 2))[1].remaining

    with TestClient(app, client=(PEER, 1)) as http:
        assert [http.get("/", headers={"tenant": name}).json() for name in ("acme", "acme", "other")] == [6, 3, 6]
        assert used(ask(http, lambda lw: lw.limits_of(SUBJECT, tenant="acme"))) == {"9-per-minute": (6, 3)}
        with pytest.raises(ConfigurationError, match="give the limiter a request"):
            ask(http, lambda lw: lw.limiter.check(SUBJECT))


def test_a_limiter_takes_no_request_in_flight() -> None:
    for limits, quota in (("5 concurrent", 100), ("5 concurrent; 7/minute", 7)):
        with TestClient(create(application_limits=limits), client=(PEER, 1)) as http:
            assert ask(http, lambda lw: lw.limiter.check(SUBJECT))[1].limit == quota


def test_without_application_limits_the_limiter_has_its_default() -> None:
    with TestClient(create(application_limits=None)) as http:
        assert ask(http, lambda lw: lw.limiter.check("alice"))[1].limit == 100
