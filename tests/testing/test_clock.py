"""Time that a test moves drives everything that has one, over every store."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from fastapi import Depends, FastAPI
from starlette.testclient import TestClient

from lockwatch import LockWatch, RateLimit, RateLimitConfig, RateLimiter, TokenError
from lockwatch.testing import assert_limited, assert_not_limited, clock, isolated, reset, token_for
from tests.testing.shops import SECRET, Shop, fastapi_shop


def statuses(shop: Shop, count: int, path: str = "/search", **request: Any) -> list[int]:
    return [shop.client.get(path, **request).status_code for _ in range(count)]


def test_a_window_passes_at_once(shop: Shop) -> None:
    with clock(shop.app) as held:
        assert statuses(shop, 6) == [200] * 5 + [429]
        held.advance(59.999999)
        assert statuses(shop, 1) == [429]
        held.advance(timedelta(microseconds=1))
        assert statuses(shop, 6) == [200] * 5 + [429]


def test_it_stands_still(shop: Shop) -> None:
    with clock(shop.app) as held:
        first = shop.client.get("/search")
        assert statuses(shop, 4) == [200] * 4
        refused = [shop.client.get("/search") for _ in range(3)]
        assert [one.headers["retry-after"] for one in refused] == ["60"] * 3
        assert first.headers["x-ratelimit-reset"] == str(-(-int((held.now + 60) * 1e6) // 1_000_000))


def test_days_pass_and_every_window_with_them(shop: Shop) -> None:
    with clock(shop.app) as held:
        for _ in range(3):
            assert statuses(shop, 6) == [200] * 5 + [429]
            held.advance(timedelta(days=3))


def test_what_was_counted_in_the_future_is_forgotten(shop: Shop) -> None:
    with clock(shop.app) as held:
        held.advance(10**6)
        assert statuses(shop, 6)[-1] == 429
    assert statuses(shop, 6) == [200] * 5 + [429]


def test_tokens_and_sessions_expire(shop: Shop) -> None:
    with clock(shop.app) as held:
        pair = shop.lockwatch.tokens.issue_token_pair_sync("alice", {"roles": ["admin"]})
        said = {"headers": {"Authorization": f"Bearer {pair.access_token}"}}
        assert statuses(shop, 1, "/admin", **said) == [200]
        held.advance(301)
        assert statuses(shop, 1, "/admin", **said) == [200], "within the leeway"
        held.advance(100)
        assert statuses(shop, 1, "/admin", **said) == [401], "the login is too long ago"
        held.advance(600)
        assert shop.client.get("/admin", **said).headers["www-authenticate"].count("expired")
        shop.lockwatch.tokens.rotate_sync(pair.refresh_token)
        held.advance(8 * 86_400)
        with pytest.raises(TokenError, match="expired"):
            shop.lockwatch.tokens.rotate_sync(pair.refresh_token)


async def test_bans_end() -> None:
    shop = fastapi_shop()
    with clock(shop.lockwatch) as held:
        await shop.lockwatch.bans.add("192.0.2.1", seconds=3600)
        assert shop.client.get("/search").status_code == 403
        held.advance(3601)
        assert shop.client.get("/search").status_code == 200


@pytest.mark.parametrize("algorithm", ["sliding-window", "sorted-set", "sliding-counter", "gcra", "fixed-window"])
def test_every_algorithm_goes_by_it(algorithm: str, store: dict[str, Any]) -> None:
    app = FastAPI()
    LockWatch(app, config=isolated(**{"store_timeout": 10.0, **store}))

    @app.get("/", dependencies=[Depends(RateLimit("3/10s", algorithm=algorithm))])
    async def home() -> None: ...

    with TestClient(app, client=("192.0.2.1", 1)) as client, clock(app) as held:
        assert_limited(client, "GET", "/", after=3, per=20, clock=held)


def test_an_application_has_one_clock_and_no_other_application_has_it(plain: Shop) -> None:
    other = fastapi_shop()
    with clock(plain.app) as held:
        with pytest.raises(RuntimeError, match="held already"), clock(plain.client):
            pass
        assert statuses(other, 6) == [200] * 5 + [429]
        held.advance(60)
        assert statuses(other, 1) == [429]
        assert statuses(plain, 1) == [200]


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), timedelta(seconds=-1)], ids=str)
def test_time_only_goes_forward(seconds: Any) -> None:
    shop = fastapi_shop()
    with clock(shop.app) as held:
        before = held.now
        with pytest.raises(ValueError, match="goes forward"):
            held.advance(seconds)
        assert held.now == before
        assert abs(before - time.time()) < 600


def test_the_real_time_is_back_afterwards_also_after_an_error() -> None:
    shop = fastapi_shop()

    def fail() -> None:
        with clock(shop.app) as held:
            held.advance(10**6)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert abs(float(shop.client.get("/search").headers["x-ratelimit-reset"]) - time.time()) < 600


def test_reset_forgets_limits_and_keeps_sessions(shop: Shop) -> None:
    token = token_for(shop.app, "alice", roles="admin")
    for _ in range(3):
        assert statuses(shop, 6) == [200] * 5 + [429]
        reset(shop.app)
    assert statuses(shop, 1, "/admin", headers={"Authorization": f"Bearer {token}"}) == [200]


async def test_reset_lifts_the_bans_of_this_process() -> None:
    shop = fastapi_shop()
    await shop.lockwatch.bans.add("192.0.2.1")
    await shop.lockwatch.bans.add("user:mallory")
    assert shop.client.get("/search").status_code == 403
    reset(shop.client)
    assert_not_limited(shop.client, "GET", "/search", times=5)
    assert shop.client.get("/search").status_code == 429


def test_an_isolated_application_reads_nothing_and_shares_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCKWATCH_REDIS_URL", "redis://192.0.2.1:1")
    monkeypatch.setenv("LOCKWATCH_MODE", "off")
    one, other = isolated(), isolated(jwt_secret=SECRET, mode="observe")
    assert (one.in_memory, one.mode, one.spool_dir) == (True, "enforce", None)
    assert other.mode == "observe"
    assert one.secret_key != other.secret_key


def test_what_has_no_lockwatch_is_named() -> None:
    for target in (FastAPI(), object(), TestClient(FastAPI())):
        with pytest.raises(TypeError, match=f"a {type(target).__name__} without lockwatch"), clock(target):
            pass


async def test_a_limiter_by_hand_has_a_time_too() -> None:
    limiter = RateLimiter(config=RateLimitConfig(requests_per_window=2, window_seconds=60))
    with clock(limiter) as held:
        answers = [await limiter.check("ip:192.0.2.1") for _ in range(3)]
        assert [allowed for allowed, _ in answers] == [True, True, False]
        assert answers[-1][1].reset_at == pytest.approx(held.now + 60, abs=1)
        held.advance(60)
        assert limiter.check_sync("ip:192.0.2.1")[0]


def test_middleware_is_looked_through() -> None:
    shop = fastapi_shop()

    class Around:
        def __init__(self, app: Any) -> None:
            self.app = app

    with clock(TestClient(Around(Around(shop.app)))) as held:  # type: ignore[arg-type]
        assert repr(held).startswith("VirtualClock(now=")
