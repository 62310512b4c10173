"""Metrics of a working application: what requests, refusals and outages leave in the counters."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry

from lockwatch import LockWatch, RateLimit, RateLimitConfig, RateLimiter, metrics
from tests import servers

SECRET = "0123456789abcdef"


class Scraped:
    """An application and what Prometheus sees of it."""

    def __init__(self, **options: Any) -> None:
        self.registry = CollectorRegistry()
        self.app = FastAPI()
        self.lockwatch = LockWatch(self.app, **{"secret_key": SECRET, "namespace": "shop", "store_timeout": 5} | options)
        metrics.register(self.lockwatch, registry=self.registry)

        @self.app.get("/search", dependencies=[Depends(RateLimit("2/minute", name="search"))])
        async def search() -> str:
            return "found"

        @self.app.get("/shadow", dependencies=[Depends(RateLimit("1/minute", name="shadow", shadow=True))])
        async def shadow() -> str:
            return "seen"

    def value(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"lockwatch_{name}", {"namespace": "shop", **labels}) or 0.0

    def outcomes(self, policy: str) -> dict[str, float]:
        names = ("allowed", "refused", "shadow_refused", "degraded")
        found = {name: self.value("decisions_total", policy=policy, outcome=name) for name in names}
        return {name: number for name, number in found.items() if number}


@pytest.fixture(params=["memory", "redis"])
def scraped(request: pytest.FixtureRequest) -> Scraped:
    options = {} if request.param == "memory" else {"redis_url": request.getfixturevalue("redis_server")}
    return Scraped(**options)


def test_requests_are_counted_by_policy_and_outcome(scraped: Scraped) -> None:
    with TestClient(scraped.app, client=("203.0.113.7", 1)) as http:
        assert [http.get("/search").status_code for _ in range(5)] == [200, 200, 429, 429, 429]
        for _ in range(3):
            http.get("/shadow")
    assert scraped.outcomes("search") == {"allowed": 2, "refused": 3}
    assert scraped.outcomes("shadow") == {"allowed": 1, "shadow_refused": 2}
    assert scraped.value("refusals_total", policy="search") == 3
    assert scraped.value("refusals_total", policy="shadow") == 0


async def test_what_is_taken_by_hand_is_counted_too() -> None:
    scraped = Scraped()
    await scraped.lockwatch.take("export", "alice", "login=1/hour")
    await scraped.lockwatch.take("export", "alice", "login=1/hour")
    assert scraped.outcomes("login") == {"allowed": 1, "refused": 1}


async def test_a_limiter_has_metrics_of_its_own() -> None:
    registry, limiter = CollectorRegistry(), RateLimiter(None, RateLimitConfig(1, 60, key_prefix="jobs"))
    metrics.register(limiter, registry=registry)
    await limiter.check("alice")
    limiter.check_sync("alice")
    labels = {"namespace": "jobs", "policy": "1-per-minute"}
    assert registry.get_sample_value("lockwatch_decisions_total", {**labels, "outcome": "allowed"}) == 1
    assert registry.get_sample_value("lockwatch_refusals_total", labels) == 1


def test_a_store_that_is_down_shows_in_every_way() -> None:
    scraped = Scraped(redis_url=f"redis://127.0.0.1:{servers.free_port()}/0", store_timeout=0.02)
    with TestClient(scraped.app, client=("203.0.113.7", 1)) as http:
        for _ in range(5):
            assert http.get("/search").status_code == 200
        assert scraped.outcomes("search") == {"degraded": 5}
        assert scraped.value("store_up") == 0
        assert scraped.value("store_errors_total", error="store_error") >= 3


def test_a_denied_request_counts_as_a_refusal() -> None:
    scraped = Scraped(redis_url=f"redis://127.0.0.1:{servers.free_port()}/0", on_redis_failure="deny")
    with TestClient(scraped.app, client=("203.0.113.7", 1)) as http:
        assert http.get("/search").status_code == 503
    assert scraped.outcomes("search") == {"degraded": 1}
    assert scraped.value("refusals_total", policy="search") == 1


def test_a_full_memory_store_shows() -> None:
    scraped = Scraped(max_buckets=1)
    for number in range(3):
        with TestClient(scraped.app, client=(f"203.0.113.{number}", 1)) as http:
            http.get("/search")
    assert scraped.value("overflowed_total") == 2
    assert scraped.value("buckets") >= 1


async def test_exchanges_are_timed_by_batch_in_both_colours(redis_server: str) -> None:
    registry = CollectorRegistry()
    limiter = RateLimiter(redis_server, RateLimitConfig(100, 60, key_prefix="jobs", secret_key=SECRET, store_timeout=5))
    metrics.register(limiter, registry=registry)

    def exchanges() -> float:
        return registry.get_sample_value("lockwatch_store_call_duration_seconds_count", {"namespace": "jobs"}) or 0.0

    await limiter.check("alice")
    before = exchanges()
    await asyncio.gather(*(limiter.check("alice") for _ in range(50)))
    assert before + 1 <= exchanges() <= before + 2  # a heartbeat may come between
    before = exchanges()
    limiter.check_sync("alice")
    assert before + 1 <= exchanges() <= before + 2
    total = registry.get_sample_value("lockwatch_store_call_duration_seconds_sum", {"namespace": "jobs"}) or 0.0
    assert 0 < total < 5
    await limiter.aclose()


def test_a_store_that_hangs_is_timed_up_to_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        scraped = Scraped(redis_url=f"redis://127.0.0.1:{deaf.getsockname()[1]}/0", store_timeout=0.05)
        with TestClient(scraped.app, client=("203.0.113.7", 1)) as http:
            assert http.get("/search").status_code == 200
        assert scraped.value("store_errors_total", error="store_timeout") >= 1
        assert scraped.value("store_call_duration_seconds_count") >= 1
        assert scraped.value("store_call_duration_seconds_sum") >= 0.05
