"""`RateLimiter` by hand: every client of either colour, one bucket for both."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import fakeredis
import pytest
import redis
import redis.asyncio
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from lockwatch import ConfigurationError, RateLimitConfig, RateLimiter, RateLimitState, key_by_api_key, key_by_ip, key_by_user_id
from lockwatch.errors import StoreError
from tests import servers
from tests.operators.test_subjects import starlette, werkzeug

SECRET = "0123456789abcdef"
PATIENT = 5.0
"""Seconds to wait for a store, where a busy machine must not look like an outage."""


def clients() -> Iterator[tuple[str, Callable[[str], Any]]]:
    """Every kind of client there is."""
    for decoded in (False, True):
        suffix = "-decoded" if decoded else ""
        yield f"async{suffix}", lambda url, d=decoded: redis.asyncio.Redis.from_url(url, decode_responses=d)
        yield f"sync{suffix}", lambda url, d=decoded: redis.Redis.from_url(url, decode_responses=d)
        yield f"fake-async{suffix}", lambda url, d=decoded: fakeredis.FakeAsyncRedis(decode_responses=d)
        yield f"fake-sync{suffix}", lambda url, d=decoded: fakeredis.FakeRedis(decode_responses=d)


CLIENTS = dict(clients())


@pytest.fixture(params=[*CLIENTS, "url", "none"])
def client(request: pytest.FixtureRequest) -> Any:
    if request.param == "none":
        return None
    url = request.getfixturevalue("redis_server")
    return url if request.param == "url" else CLIENTS[request.param](url)


@pytest.fixture
async def made() -> AsyncIterator[Callable[..., RateLimiter]]:
    """Makes limiters, and closes them."""
    limiters: list[RateLimiter] = []

    def make(client: Any = None, quota: int = 3, **settings: Any) -> RateLimiter:
        limiters.append(RateLimiter(client, RateLimitConfig(quota, 60, secret_key=SECRET, store_timeout=PATIENT, **settings)))
        return limiters[-1]

    yield make
    for limiter in limiters:
        await limiter.aclose()


async def test_a_quota_is_exact_and_a_refusal_costs_nothing(client: Any, made: Callable[..., RateLimiter]) -> None:
    limiter = made(client)
    answers = [await limiter.check("alice") for _ in range(6)]
    assert [allowed for allowed, _ in answers] == [True] * 3 + [False] * 3
    assert [state.remaining for _, state in answers] == [2, 1, 0, 0, 0, 0]
    assert (await limiter.check("bob"))[0]


async def test_both_halves_count_in_one_bucket(client: Any, made: Callable[..., RateLimiter]) -> None:
    limiter = made(client)
    answers = [
        (await limiter.check("alice"))[0],
        limiter.check_sync("alice")[0],
        (await limiter.is_allowed("alice"))[0],
        limiter.is_allowed_sync("alice")[0],
        (await limiter.check("alice"))[0],
    ]
    assert answers == [True, True, True, False, False]
    assert await limiter.reset("alice")
    assert not limiter.reset_sync("alice")
    assert limiter.check_sync("alice")[1].remaining == 2
    assert limiter.reset_sync("alice")


async def test_the_state_speaks_in_whole_seconds_and_epoch_time(made: Callable[..., RateLimiter]) -> None:
    limiter = made(quota=1)
    _, first = await limiter.check("alice")
    now = time.time()
    assert first == RateLimitState(True, 1, 0, first.reset_at, 0)
    assert now + 58 <= first.reset_at <= now + 62
    allowed, state = await limiter.check("alice")
    assert not allowed
    assert (state.allowed, state.limit, state.remaining, state.degraded) == (False, 1, 0, False)
    assert state.retry_after in (59, 60)
    assert abs(state.reset_at - (time.time() + state.retry_after)) <= 2
    assert state.headers == {
        "X-RateLimit-Limit": "1",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": str(state.reset_at),
        "Retry-After": str(state.retry_after),
    }
    assert "Retry-After" not in first.headers


async def test_what_can_never_be_admitted_says_so(made: Callable[..., RateLimiter]) -> None:
    allowed, state = await made(quota=0).check("alice")
    assert (allowed, state.retry_after) == (False, None)
    assert "Retry-After" not in state.headers
    assert (await made(quota=2).check("alice", cost=3))[1].retry_after is None


async def test_a_cost_of_nothing_only_looks(made: Callable[..., RateLimiter]) -> None:
    limiter = made()
    await limiter.check("alice", cost=2)
    assert [(await limiter.check("alice", cost=0))[1].remaining for _ in range(2)] == [1, 1]


@pytest.mark.parametrize("cost", [-1, 1.5, True, "1"])
def test_a_cost_that_is_none_is_an_error(cost: Any) -> None:
    with pytest.raises(ValueError, match="whole number"):
        RateLimiter().check_sync("alice", cost)


async def test_many_at_once_are_never_too_many(redis_server: str, made: Callable[..., RateLimiter]) -> None:
    limiters = [made(redis_server, quota=20) for _ in range(4)]
    answers = await asyncio.gather(*(limiter.check("alice") for limiter in limiters for _ in range(25)))
    assert sum(allowed for allowed, _ in answers) == 20


@pytest.mark.parametrize("algorithm", ["sliding-window", "sorted-set", "sliding-counter", "gcra", "fixed-window"])
async def test_every_algorithm_counts(redis_server: str, algorithm: str, made: Callable[..., RateLimiter]) -> None:
    for client in (redis_server, None):
        limiter = made(client, algorithm=algorithm)
        assert [(await limiter.check("alice"))[0] for _ in range(4)] == [True, True, True, False]


async def test_keys_are_hashed_prefixed_and_expire(redis_server: str, made: Callable[..., RateLimiter]) -> None:
    for prefix in ("shop", "shop:api:"):
        limiter = made(redis_server, key_prefix=prefix)
        await limiter.check("alice@example.com")
        limiter.check_sync("alice@example.com")
    with redis.Redis.from_url(redis_server, decode_responses=True) as own:
        keys = sorted(own.scan_iter("*{*"))
        assert [key.partition("{")[0] for key in keys] == ["shop:1:sw:", "shop:api:1:sw:"]
        assert not any("alice" in key for key in keys)
        assert all(0 < own.pttl(key) <= 60_000 for key in keys)


async def test_without_a_secret_all_processes_share_the_one_in_the_store(redis_server: str) -> None:
    first, second = (RateLimiter(redis_server, RateLimitConfig(2, 60, store_timeout=PATIENT)) for _ in range(2))
    answers = [(await first.check("alice"))[0], second.check_sync("alice")[0], (await first.check("alice"))[0]]
    assert answers == [True, True, False]
    await first.aclose()
    await second.aclose()


def test_blocking_code_needs_no_event_loop(redis_server: str) -> None:
    limiter = RateLimiter(redis.Redis.from_url(redis_server), RateLimitConfig(2, 60, store_timeout=PATIENT))
    assert [limiter.check_sync("alice")[0] for _ in range(3)] == [True, True, False]
    assert limiter.reset_sync("alice")
    limiter.close()
    assert limiter.check_sync("alice")[0]
    limiter.close()


# ------------------------------------------------------------ requests as keys
@pytest.mark.parametrize("make", [starlette, werkzeug])
async def test_a_request_is_counted_by_the_key_function(make: Callable[..., Any], made: Callable[..., RateLimiter]) -> None:
    limiter = made(key_func=key_by_ip)
    await limiter.check(make({}, peer="203.0.113.7"))
    limiter.check_sync(make({}, peer="203.0.113.7"))
    assert (await limiter.check("ip:203.0.113.7", cost=0))[1].remaining == 1
    assert (await limiter.check(make({}, peer="198.51.100.9")))[1].remaining == 2


async def test_the_key_functions_of_the_seed_work_without_a_lockwatch(made: Callable[..., RateLimiter]) -> None:
    by_user, by_key = made(key_func=key_by_user_id), made(key_func=key_by_api_key)
    await by_user.check(starlette({}, user="alice"))
    await by_key.check(starlette({"X-API-Key": "s3cret"}))
    assert (await by_user.check("user:alice", cost=0))[1].remaining == 2
    assert (await by_key.check("key:s3cret", cost=0))[1].remaining == 2


async def test_a_key_function_of_ones_own_may_be_async_on_an_event_loop_only(made: Callable[..., RateLimiter]) -> None:
    async def whom(request: Any) -> str:
        await asyncio.sleep(0)
        return "alice"

    limiter = made(key_func=whom)
    assert (await limiter.check(starlette({})))[1].remaining == 2
    assert (await limiter.check("alice", cost=0))[1].remaining == 2
    with pytest.raises(TypeError, match="key_func is async"):
        limiter.check_sync(starlette({}))


async def test_a_key_function_that_knows_nobody_means_the_address(made: Callable[..., RateLimiter]) -> None:
    limiter = made(key_func=lambda request: None)
    await limiter.check(starlette({}, peer="203.0.113.7"))
    assert (await limiter.check("ip:203.0.113.7", cost=0))[1].remaining == 2


async def test_proxies_are_trusted_as_configured(made: Callable[..., RateLimiter]) -> None:
    limiter = made(trusted_proxies="private")
    await limiter.check(starlette({"X-Forwarded-For": "198.51.100.9"}, peer="10.0.0.1"))
    assert (await limiter.check("ip:198.51.100.9", cost=0))[1].remaining == 2


async def test_something_that_is_no_key_is_an_error(made: Callable[..., RateLimiter]) -> None:
    with pytest.raises(TypeError, match="a request of Starlette, FastAPI or Flask was expected"):
        await made().check(42)
    with pytest.raises(ValueError, match="whom should be counted"):
        made().check_sync("")


def test_the_seed_s_way_of_using_it_in_a_route(redis_server: str) -> None:
    limiter = RateLimiter(
        redis.asyncio.Redis.from_url(redis_server), RateLimitConfig(requests_per_window=2, window_seconds=60, store_timeout=PATIENT)
    )
    app = FastAPI()

    @app.get("/")
    async def index(request: Request) -> dict[str, bool]:
        allowed, _ = await limiter.check(request)
        return {"allowed": allowed}

    with TestClient(app, client=("203.0.113.7", 1)) as http:
        assert [http.get("/").json()["allowed"] for _ in range(3)] == [True, True, False]


# ------------------------------------------------------------ failures, settings
@pytest.mark.parametrize(
    ("policy", "allowed"), [("allow", [True, True, True]), ("deny", [False, False, False]), ("local", [True, True, False])]
)
async def test_an_outage_means_what_on_store_error_says(policy: str, allowed: list[bool], made: Callable[..., RateLimiter]) -> None:
    url = f"redis://127.0.0.1:{servers.free_port()}"
    for secret in ({}, {"secret_key": None}):
        ways = RateLimiter(url, RateLimitConfig(2, 60, on_store_error=policy, **{"secret_key": SECRET, **secret}))
        answers = [await ways.check("alice") for _ in range(3)]
        assert [answer for answer, _ in answers] == allowed
        assert all(state.degraded for _, state in answers)
        assert not set(answers[0][1].headers) - {"Retry-After"}
        assert [ways.check_sync("bob")[0] for _ in range(3)] == allowed
        with pytest.raises(StoreError):
            await ways.reset("alice")
        with pytest.raises(StoreError):
            ways.reset_sync("alice")
        await ways.aclose()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"requests_per_window": -1}, "requests_per_window=-1"),
        ({"requests_per_window": 1.5}, "requests_per_window=1.5"),
        ({"requests_per_window": True}, "requests_per_window=True"),
        ({"window_seconds": 0}, "window_seconds=0"),
        ({"window_seconds": "60"}, "window_seconds='60'"),
        ({"key_func": "ip"}, "key_func='ip'"),
        ({"key_prefix": ""}, "key_prefix=''"),
        ({"key_prefix": "{shop}"}, "key_prefix='{shop}'"),
        ({"key_prefix": 7}, "key_prefix=7"),
        ({"algorithm": "leaky"}, "algorithm='leaky'"),
        ({"on_store_error": "panic"}, "on_store_error='panic'"),
        ({"secret_key": "short"}, "secret_key"),
        ({"trusted_proxies": "everyone"}, "trusted_proxies"),
        ({"store_timeout": 0}, "store_timeout=0"),
    ],
)
def test_a_setting_that_cannot_work_is_named(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        RateLimiter(None, RateLimitConfig(**settings))
    assert says in str(raised.value)


@pytest.mark.parametrize("client", [42, object(), "localhost:6379"])
def test_something_that_is_no_client_is_refused(client: Any) -> None:
    with pytest.raises(ConfigurationError, match="redis"):
        RateLimiter(client)


def test_secrets_do_not_show() -> None:
    limiter = RateLimiter("redis://:hunter22@localhost:6379/0", RateLimitConfig(secret_key=SECRET))
    for text in (repr(limiter), repr(limiter.config), repr(limiter.engine.link)):
        assert SECRET not in text
        assert "hunter22" not in text
