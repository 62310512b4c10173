"""What stands behind a route: stores, outages, modes, keys, options."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import fakeredis
import pytest
import redis
import redis.asyncio
from fastapi import Depends, FastAPI, Request
from fastapi.openapi.models import OpenAPI
from redis.sentinel import Sentinel
from starlette.testclient import TestClient

from lockwatch import ConfigurationError, Limit, LockWatch, LockWatchConfig, RateLimit, StoreError, by_api_key, by_user, rate_limit
from tests import servers
from tests.edges.asgi import http


def make(limit: Any = "2/minute", key: Any = None, **options: Any) -> tuple[FastAPI, LockWatch]:
    app = FastAPI()
    lockwatch = LockWatch(app, **options)
    declared = RateLimit(limit, **({"key": key} if key else {}))

    @app.get("/a", dependencies=[Depends(declared)])
    async def a() -> dict[str, bool]:
        return {"ok": True}

    return app, lockwatch


async def statuses(app: Any, count: int, **extra: Any) -> list[int]:
    return [(await http(app, "GET", "/a", **extra)).status for _ in range(count)]


# --------------------------------------------------------------- stores
async def test_two_applications_on_one_redis_share_their_buckets(redis_server: str) -> None:
    first, one = make(redis_url=redis_server)
    second, two = make(redis_url=redis_server)
    assert [*await statuses(first, 1), *await statuses(second, 2)] == [200, 200, 429]
    assert await one.engine.link.buckets() is not await two.engine.link.buckets()
    await one.aclose()
    await two.aclose()


async def test_namespaces_separate_applications(redis_server: str) -> None:
    first, one = make("1/minute", redis_url=redis_server, namespace="one")
    second, two = make("1/minute", redis_url=redis_server, namespace="two")
    assert [*await statuses(first, 2), *await statuses(second, 2)] == [200, 429, 200, 429]
    await one.aclose()
    await two.aclose()


@pytest.mark.parametrize(
    "client",
    [
        pytest.param(redis.Redis.from_url, id="sync"),
        pytest.param(lambda url: redis.Redis.from_url(url, decode_responses=True), id="decoding"),
        pytest.param(redis.asyncio.Redis.from_url, id="async"),
        pytest.param(lambda url: lambda: redis.asyncio.Redis.from_url(url), id="factory"),
        pytest.param(lambda url: fakeredis.FakeRedis(server=fakeredis.FakeServer()), id="fakeredis"),
        pytest.param(lambda url: fakeredis.FakeAsyncRedis(), id="fakeredis-async"),
    ],
)
async def test_any_redis_client_lends_its_address(redis_server: str, client: Any) -> None:
    app, lockwatch = make(redis=client(redis_server))
    assert await statuses(app, 3) == [200, 200, 429]
    await lockwatch.aclose()


async def test_nothing_readable_about_a_subject_reaches_the_store(redis_server: str) -> None:
    app, lockwatch = make(key=by_api_key, redis_url=redis_server)
    await statuses(app, 1, headers={"x-api-key": "very-secret-api-key"}, peer="192.0.2.77")
    with redis.Redis.from_url(redis_server) as client:
        keys: Any = client.keys("*")
        values = [client.get(key) if client.type(key) == b"string" else client.zrange(key, 0, -1) for key in keys]
        stored = f"{keys} {values}"
        lifetimes: list[Any] = [client.pttl(key) for key in keys]
    assert min(lifetimes) > 0
    assert "very-secret" not in stored
    assert "192.0.2.77" not in stored
    assert "lockwatch:1:sw:{" in stored
    await lockwatch.aclose()


def test_every_event_loop_of_a_process_is_served(redis_server: str) -> None:
    app, _ = make("100/minute", redis_url=redis_server, store_timeout=5)
    for _ in range(3):
        assert asyncio.run(statuses(app, 2)) == [200, 200]
    client = TestClient(app)  # each request runs in a loop of its own
    assert [client.get("/a").status_code for _ in range(3)] == [200] * 3
    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.extend(asyncio.run(statuses(app, 2)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [200] * 8
    assert client.get("/a").headers["x-ratelimit-remaining"] == str(100 - 3 - 1)
    gc.collect()  # whatever was left open would warn now, and warnings are errors


def test_the_lifespan_is_joined_not_replaced(redis_server: str) -> None:
    events: list[str] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        events.append("up")
        yield {"mine": "kept"}
        events.append("down")

    app = FastAPI(lifespan=lifespan)
    LockWatch(app, redis_url=redis_server)

    @app.get("/state")
    async def state(request: Request) -> str:
        return str(request.state.mine)

    with TestClient(app) as client:
        assert client.get("/state").json() == "kept"
    assert events == ["up", "down"]


# --------------------------------------------------------------- outages
@pytest.fixture
def dead_url() -> str:
    return f"redis://:hunter2secret@127.0.0.1:{servers.free_port()}/0"


@pytest.mark.parametrize(
    ("choice", "expected"), [(None, [200] * 4), ("allow", [200] * 4), ("deny", [503] * 4), ("local", [200, 200, 429, 429])]
)
async def test_an_outage_means_what_the_policy_says(dead_url: str, choice: str | None, expected: list[int]) -> None:
    app, lockwatch = make("2/minute", redis_url=dead_url, on_redis_failure=choice, secret_key="0123456789abcdef")
    assert await statuses(app, 4) == expected
    health = lockwatch.health()
    assert (health.status, health.store_ok) == ("degraded", False)
    assert health.store_error
    assert "hunter2" not in repr(health)
    await lockwatch.aclose()


async def test_without_a_secret_key_an_outage_means_the_same(dead_url: str) -> None:
    app, lockwatch = make("2/minute", redis_url=dead_url, on_redis_failure="local")
    assert await statuses(app, 3) == [200, 200, 429]
    await lockwatch.aclose()


@pytest.mark.parametrize("options", [{}, {"secret_key": "correct-horse-battery"}], ids=["without a secret key", "with one"])
async def test_requests_during_an_outage_leave_nothing_to_the_garbage_collector(dead_url: str, options: dict[str, Any]) -> None:
    app, _ = make("100/minute", redis_url=dead_url, **options)
    for _ in range(5):
        await http(app, "GET", "/a")
    gc.collect()
    gc.disable()
    try:
        for _ in range(400):
            await http(app, "GET", "/a")
        assert gc.collect() < 400  # less than one for each; the background fails to connect meanwhile
    finally:
        gc.enable()


async def test_local_limits_divide_the_quota_by_the_workers(dead_url: str) -> None:
    app, lockwatch = make("8/minute", redis_url=dead_url, on_redis_failure="local", workers=4)
    assert await statuses(app, 3) == [200, 200, 429]
    await lockwatch.aclose()


async def test_a_denied_request_is_a_503_problem_without_quota_headers(dead_url: str) -> None:
    app, lockwatch = make("2/minute", redis_url=dead_url, on_redis_failure="deny")
    seen = await http(app, "GET", "/a")
    assert (seen.status, seen.header("retry-after"), seen.header("ratelimit")) == (503, "1", None)
    assert seen.json()["type"].endswith("#temporary-reduced-capacity")
    await lockwatch.aclose()


async def test_health_follows_an_outage_and_the_log_says_each_transition_once(caplog: pytest.LogCaptureFixture) -> None:
    server = servers.start_redis()
    app, lockwatch = make("100/minute", redis_url=f"redis://127.0.0.1:{server.port}/0", secret_key="0123456789abcdef")
    caplog.set_level(logging.WARNING, "lockwatch")
    assert await statuses(app, 1) == [200]
    assert lockwatch.health().status == "ok"
    server.stop()
    assert await statuses(app, 3) == [200] * 3
    assert not lockwatch.health().store_ok
    again = servers.start_redis(port=server.port)
    ends = time.monotonic() + 30
    while not lockwatch.health().store_ok and time.monotonic() < ends:
        assert await statuses(app, 1) == [200]
        await asyncio.sleep(0.05)
    assert lockwatch.health().status == "ok"
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    await lockwatch.aclose()
    again.stop()


async def test_a_redis_that_refuses_every_call_degrades_health(redis_server: str) -> None:
    with redis.Redis.from_url(redis_server) as admin:
        admin.acl_setuser("reader", enabled=True, nopass=True, keys=["*"], commands=["+eval", "+evalsha", "+getrange", "+time"])
        app, lockwatch = make(redis_url=redis_server.replace("redis://", "redis://reader:any@"), secret_key="0123456789abcdef")
        assert await statuses(app, 1) == [200]
        admin.acl_deluser("reader")
    health = lockwatch.health()
    assert (health.status, health.store_ok) == ("degraded", False)
    await lockwatch.aclose()


async def test_a_bug_in_a_key_function_raises_and_does_not_allow() -> None:
    app, _ = make(key=lambda request: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await http(app, "GET", "/a")


# --------------------------------------------------------------- modes
async def test_observe_decides_and_reports_and_refuses_nothing() -> None:
    app, _ = make("1/minute", mode="observe")
    seen = [await http(app, "GET", "/a") for _ in range(3)]
    assert [s.status for s in seen] == [200] * 3
    assert seen[-1].header("ratelimit") == '"1-per-minute";r=0;t=60'


async def test_off_does_nothing_at_all() -> None:
    app, _ = make("0/minute", mode="off")
    seen = await http(app, "GET", "/a")
    assert (seen.status, seen.header("ratelimit")) == (200, None)


async def test_tests_override_the_mode() -> None:
    app, lockwatch = make("0/minute")
    with lockwatch.override(mode="off"):
        assert await statuses(app, 1) == [200]
    assert await statuses(app, 1) == [429]
    with pytest.raises(ConfigurationError, match="'of' is not one of"), lockwatch.override(mode="of"):
        pass


@pytest.mark.parametrize(("dialect", "present"), [("both", "rx"), ("draft-11", "r"), ("x", "x"), ("off", "")])
async def test_header_dialects(dialect: str, present: str) -> None:
    app, _ = make("1/minute", headers=dialect)
    for seen in [await http(app, "GET", "/a"), await http(app, "GET", "/a")]:
        assert (seen.header("ratelimit") is not None) == ("r" in present)
        assert (seen.header("x-ratelimit-reset") is not None) == ("x" in present)


# --------------------------------------------------------------- without LockWatch(app)
async def test_a_limit_without_lockwatch_works_in_memory_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    app = FastAPI()

    @app.get("/bare", dependencies=[Depends(rate_limit("1/minute")), Depends(RateLimit("5/minute"))])
    async def bare() -> None: ...

    seen = [await http(app, "GET", "/bare") for _ in range(3)]
    assert [s.status for s in seen] == [200, 429, 429]
    assert seen[1].header("content-type") == "application/problem+json"
    assert seen[1].header("ratelimit") == '"1-per-minute";r=0;t=60, "5-per-minute";r=4;t=60'
    assert sum("without LockWatch(app)" in record.message for record in caplog.records) <= 1


# --------------------------------------------------------------- keys
async def test_by_user_counts_the_user_and_anonymous_requests_by_address() -> None:
    app, _ = make("1/minute", key=by_user, user=lambda request: request.headers.get("x-user"))
    as_ann, as_bob = {"headers": {"x-user": "ann"}}, {"headers": {"x-user": "bob"}}
    assert [*await statuses(app, 2, **as_ann), *await statuses(app, 1, **as_bob), *await statuses(app, 2)] == [
        200,
        429,
        200,
        200,
        429,
    ]


async def test_a_user_named_like_an_address_has_a_bucket_of_its_own() -> None:
    app, _ = make("1/minute", key=by_user, user=lambda request: request.headers.get("x-user"))
    named = {"headers": {"x-user": "192.0.2.1"}}
    assert [*await statuses(app, 1, **named), *await statuses(app, 1)] == [200, 200]


@pytest.mark.parametrize("headers", [{"x-api-key": "k1"}, {"authorization": "Bearer k1"}])
async def test_by_api_key_reads_the_header_or_the_bearer_value(headers: dict[str, str]) -> None:
    app, _ = make("1/minute", key=by_api_key)
    assert [*await statuses(app, 2, headers=headers), *await statuses(app, 1)] == [200, 429, 200]


async def test_custom_keys_may_be_async_and_none_means_the_address() -> None:
    async def tenant(request: Request) -> str | None:
        await asyncio.sleep(0)
        return request.headers.get("x-tenant")

    app, _ = make("1/minute", key=tenant)
    assert [*await statuses(app, 2, headers={"x-tenant": "t"}), *await statuses(app, 2)] == [200, 429, 200, 429]


async def test_limits_may_depend_on_the_request() -> None:
    async def by_plan(request: Request) -> str:
        return "unlimited" if request.headers.get("x-plan") == "pro" else "1/minute"

    app, _ = make(by_plan)
    assert await statuses(app, 2) == [200, 429]
    assert await statuses(app, 3, headers={"x-plan": "pro"}) == [200] * 3


async def test_cost_exemption_shadow_and_breach_hook() -> None:
    app, breaches = FastAPI(), []
    LockWatch(app)
    limit = RateLimit(
        "10/minute",
        cost=lambda request: int(request.headers.get("x-cost", "1")),
        exempt_when=lambda request: request.headers.get("x-admin") == "1",
        on_breach=lambda request, decision: breaches.append((request.url.path, decision.policy)),
    )

    @app.get("/a", dependencies=[Depends(limit), Depends(RateLimit("1/minute", shadow=True, name="trial"))])
    async def a() -> None: ...

    assert [*await statuses(app, 1, headers={"x-cost": "8"}), *await statuses(app, 1, headers={"x-cost": "3"})] == [200, 429]
    assert await statuses(app, 2) == [200, 200]
    assert await statuses(app, 3, headers={"x-admin": "1"}) == [200] * 3
    never = await http(app, "GET", "/a", headers={"x-cost": "11"})
    assert (never.status, never.header("retry-after"), never.json()["retry_after"]) == (429, None, None)
    assert breaches == [("/a", "10-per-minute")] * 2


# --------------------------------------------------------------- outside of routes
async def test_take_peek_and_reset_anywhere(redis_server: str) -> None:
    for options in ({}, {"redis_url": redis_server}):
        lockwatch = LockWatch(**options)
        assert (await lockwatch.take("export", "user:1", "2/hour")).remaining == 1
        assert (await lockwatch.peek("export", "user:1", Limit(2, 3600))).remaining == 1
        assert (await lockwatch.take("export", "user:1", "2/hour")).allowed
        refused = await lockwatch.take("export", "user:1", "2/hour")
        assert (refused.allowed, refused.remaining) == (False, 0)
        assert 3590 < (refused.retry_after or 0) <= 3600
        assert (await lockwatch.take("export", "user:2", "2/hour")).allowed
        assert await lockwatch.reset("export", "user:1", "2/hour")
        assert not await lockwatch.reset("export", "user:1", "2/hour")
        assert (await lockwatch.take("export", "user:1", "2/hour", cost=2)).allowed
        await lockwatch.aclose()


async def test_peek_and_reset_raise_when_the_store_is_down(dead_url: str) -> None:
    lockwatch = LockWatch(redis_url=dead_url, secret_key="0123456789abcdef")
    with pytest.raises(StoreError):
        await lockwatch.peek("a", "b", "1/minute")
    await lockwatch.aclose()


async def test_take_answers_for_costs_no_quota_holds_and_for_mode_off() -> None:
    lockwatch = LockWatch()
    never = await lockwatch.take("a", "b", "1/minute", cost=5)
    assert (never.allowed, never.retry_after) == (False, None)
    with lockwatch.override(mode="off"):
        assert [(await lockwatch.take("a", "b", "1/minute")).allowed for _ in range(3)] == [True] * 3
    assert (await lockwatch.take("a", "b", "1/minute")).allowed
    with pytest.raises(ConfigurationError, match="no request"):
        await lockwatch.take("a", "b", lambda request: "1/minute")  # type: ignore[arg-type]


async def test_a_breach_hook_gets_the_request() -> None:
    app, seen = FastAPI(), []
    LockWatch(app)
    limit = RateLimit("0/minute", on_breach=lambda request, decision: seen.append((request.url.path, decision.policy)))

    @app.get("/a", dependencies=[Depends(limit)])
    async def a() -> None: ...

    assert await statuses(app, 1) == [429]
    assert seen == [("/a", "0-per-minute")]


async def test_a_shadow_limit_never_speaks_in_the_x_headers() -> None:
    app = FastAPI()
    LockWatch(app)

    @app.get("/a", dependencies=[Depends(RateLimit("0/minute", shadow=True)), Depends(RateLimit("9/minute"))])
    async def a() -> None: ...

    seen = await http(app, "GET", "/a")
    assert (seen.status, seen.header("x-ratelimit-limit"), seen.header("x-ratelimit-remaining")) == (200, "9", "8")


async def test_a_lockwatch_inside_a_mounted_application_speaks_once() -> None:
    app, sub = FastAPI(), FastAPI()
    LockWatch(app, application_limits="100/minute")
    LockWatch(sub)

    @sub.get("/a", dependencies=[Depends(RateLimit("5/minute"))])
    async def a() -> None: ...

    app.mount("/sub", sub)
    seen = await http(app, "GET", "/sub/a")
    assert (seen.status, seen.all("x-ratelimit-limit")) == (200, ["5"])


async def test_an_address_the_server_has_rewritten_is_no_unknown_proxy() -> None:
    app, lockwatch = make()
    await http(app, "GET", "/a", client=("10.1.2.3", 0), headers={"x-forwarded-for": "10.1.2.3"})
    assert lockwatch.health().warnings == ()
    await http(app, "GET", "/a", client=("10.1.2.3", 5000), headers={"x-forwarded-for": "192.0.2.1"})
    assert "trusted_proxies=['10.1.2.3/32']" in lockwatch.health().warnings[0]


# --------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"redis_urll": "x"}, "unknown option 'redis_urll'; did you mean 'redis_url'"),
        ({"redis_url": "http://localhost"}, "unknown scheme 'http'"),
        ({"redis_url": "redis://localhost:port"}, "cannot be read"),
        ({"redis_url": "localhost:6379"}, "redis://localhost:6379/0"),
        ({"redis_url": "user:hunter2@redis-host"}, "redis_url is not a URL"),
        ({"redis_url": ""}, "redis_url is empty"),
        ({"redis": 7}, "redis-py client"),
        ({"redis": Sentinel([("localhost", 26379)]).slave_for("mymaster")}, "master_for"),
        ({"user": asyncio.sleep}, "async function"),
        ({"redis": redis.Redis(), "redis_url": "redis://localhost"}, "keep one"),
        ({"default_limits": "ten per minute"}, "expected a whole number"),
        ({"application_limits": "1,000/minute"}, "1,000/minute"),
        ({"mode": "on"}, "'enforce', 'observe', 'off'"),
        ({"trusted_proxies": ["10.0.0.0/33"]}, "10.0.0.0/33"),
        ({"store_timeout": 0}, "store_timeout=0"),
    ],
)
def test_a_wrong_option_is_one_clear_error_at_construction(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        LockWatch(FastAPI(), **options)
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("text", ["1,000/minute", "0.5/second", "-1/minute", "5/fortnight", "", "5 5/minute"])
def test_a_wrong_limit_is_one_clear_error_at_construction(text: str) -> None:
    with pytest.raises(ConfigurationError, match="100/minute"):
        RateLimit(text)


def test_a_second_lockwatch_on_one_application_is_refused() -> None:
    app = FastAPI()
    LockWatch(app)
    with pytest.raises(ConfigurationError, match="already"):
        LockWatch(app)


def test_a_late_lockwatch_is_refused() -> None:
    app = FastAPI()
    TestClient(app).get("/")
    with pytest.raises(ConfigurationError, match="after the application started"):
        LockWatch(app)


def test_the_memory_store_warns_where_there_are_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    assert "4" in LockWatch().health().warnings[0]
    assert LockWatch(workers=1).health().warnings == ()


def test_exempt_paths_may_be_one_text() -> None:
    assert LockWatch(exempt_paths="/health").config.exempt_paths == ("/health",)
    assert LockWatch(exempt_paths="/health, /static/*").config.exempt_paths == ("/health", "/static/*")


def test_a_config_object_and_options_combine() -> None:
    assert LockWatch(config=LockWatchConfig.from_env({"REDIS_URL": "redis://x"}), mode="off").config.sources == {
        "redis_url": "REDIS_URL",
        "mode": "argument",
    }
    config = LockWatchConfig(namespace="shop", mode="observe")
    assert LockWatch(config=config, mode="off").config.namespace == "shop"
    assert LockWatch(config=config, mode="off").config.mode == "off"


# --------------------------------------------------------------- OpenAPI
def test_openapi_documents_refusals_where_they_can_happen() -> None:
    app, _ = make("2/minute", on_redis_failure="deny")

    @app.get("/free")
    async def free() -> None: ...

    @app.get("/own", responses={429: {"description": "mine"}}, dependencies=[Depends(RateLimit("1/minute"))])
    async def own() -> None: ...

    paths = app.openapi()["paths"]
    assert app.openapi()["paths"] == paths
    assert set(paths["/a"]["get"]["responses"]) == {"200", "429", "503"}
    assert set(paths["/free"]["get"]["responses"]) == {"200"}
    assert paths["/own"]["get"]["responses"]["429"]["description"] == "mine"
    documented = paths["/a"]["get"]["responses"]["429"]
    assert {"Retry-After", "RateLimit", "RateLimit-Policy", "X-RateLimit-Remaining"} <= set(documented["headers"])
    assert "application/problem+json" in documented["content"]
    refusal = documented["content"]["application/problem+json"]["schema"]["properties"]
    assert refusal["retry_after"] == {"anyOf": [{"type": "integer"}, {"type": "null"}]}, "OpenAPI 3.1 knows no nullable"
    OpenAPI.model_validate(app.openapi())


async def test_what_cannot_be_decorated_is_one_clear_error_and_methods_are_decorated_in_their_class() -> None:
    app = FastAPI()
    lockwatch = LockWatch(app)

    class Shop:
        @lockwatch.limit("1/minute")
        async def sell(self) -> None: ...

        async def close(self) -> None: ...

    shop = Shop()
    app.get("/sell")(shop.sell)
    assert [(await http(app, "GET", "/sell")).status for _ in range(2)] == [200, 429]
    for decorator in (lockwatch.limit("1/minute"), lockwatch.exempt):
        with pytest.raises(ConfigurationError, match="the one in its class"):
            decorator(shop.close)
