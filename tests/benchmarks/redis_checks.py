"""One check on a real Redis, one at a time and many at once, beside `PING`, `limits` and throttled-py."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from importlib.util import find_spec
from time import perf_counter
from typing import Any, Final

import redis
import redis.asyncio

from lockwatch.flow import run, run_async
from lockwatch.limits import parse
from lockwatch.limits.buckets import Buckets
from lockwatch.limits.flows import Terms, admit
from lockwatch.limits.policy import Charge, Policy
from lockwatch.stores.connect import address_of
from lockwatch.stores.memory import MemoryStore
from lockwatch.stores.redis_async import AsyncRedisStore
from lockwatch.stores.redis_sync import RedisStore
from tests.benchmarks.rounds import AsyncCheck, Check, Scenario, alternating, compared, interleaved, spread_out
from tests.benchmarks.table import Table

CONCURRENT: Final = (1, 10, 50, 200)
PING: Final = "one PING of redis.asyncio at a time"
SYNC_PING: Final = "one PING of redis-py"
_PLENTY: Final = "100000/hour"
_CONNECTIONS: Final = 256
_PATIENT: Final = 5.0
"""Seconds; a deadline that is missed here would be the machine's fault."""


def tables(url: str, rounds: int, checks: int) -> list[Table]:
    """Async at each number of concurrent checks, then sync."""
    scenario = spread_out(checks)
    costs = on_loop(lambda: _async_costs(url, scenario, rounds))
    blocking = {SYNC_PING: _ping(url), "lockwatch, RedisStore": _blocking(url), **_limits_blocking(url)}
    sync_costs = interleaved(blocking, scenario, rounds)
    return [
        compared("On Redis, async; a ratio is to one PING awaited alone", costs, PING),
        compared("On Redis, blocking", sync_costs, SYNC_PING),
    ]


def on_loop(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run on uvloop when it is installed, as servers do."""
    factory = __import__("uvloop").new_event_loop if find_spec("uvloop") else None
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work())


async def _async_costs(url: str, scenario: Scenario, rounds: int) -> dict[str, list[float]]:
    contenders, close = async_contenders(url)
    costs: dict[str, list[float]] = {_row(name, many): [] for name in contenders for many in CONCURRENT}
    for turn in range(rounds + 1):
        for name, check in alternating(contenders, turn):
            for many in CONCURRENT:
                cost = await timed_async(check, scenario.subjects(turn), many)
                if turn:
                    costs[_row(name, many)].append(cost)
    await close()
    return costs


async def timed_async(check: AsyncCheck, subjects: Sequence[str], many: int) -> float:
    """Microseconds per check with `many` of them waiting at any time."""

    async def work(own: Sequence[str]) -> None:
        for subject in own:
            await check(subject)

    began = perf_counter()
    await asyncio.gather(*[work(subjects[i::many]) for i in range(many)])
    return (perf_counter() - began) / len(subjects) * 1e6


def async_contenders(url: str) -> tuple[dict[str, AsyncCheck], Callable[[], Coroutine[Any, Any, None]]]:
    """The contenders, and what closes their connections."""
    store, memory, buckets = AsyncRedisStore(address_of(url), _PATIENT), MemoryStore(), Buckets("bench", b"x" * 32)
    client = redis.asyncio.Redis.from_url(url, max_connections=_CONNECTIONS)
    policy = Policy(parse(_PLENTY)[0], "plenty", "hour:GET:/items/{id}")

    async def ours(subject: str) -> object:
        return await run_async(admit((Charge(policy, buckets.key(policy, subject), 1),), Terms("id")), store, memory)

    async def ping(_: str) -> object:
        return await client.ping()

    async def close() -> None:
        await store.aclose()
        await client.aclose()

    return {"PING": ping, "lockwatch": ours, **_limits(url), **_throttled(url)}, close


def _row(name: str, many: int) -> str:
    return PING if name == "PING" and many == 1 else f"{name}, {many} at a time"


def _ping(url: str) -> Check:
    client = redis.Redis.from_url(url)
    return lambda _: client.ping()


def _blocking(url: str) -> Check:
    store, memory, buckets = RedisStore(address_of(url), _PATIENT), MemoryStore(), Buckets("blocking", b"x" * 32)
    policy = Policy(parse(_PLENTY)[0], "plenty", "hour:GET:/items/{id}")
    return lambda subject: run(admit((Charge(policy, buckets.key(policy, subject), 1),), Terms("id")), store, memory)


def _limits(url: str) -> dict[str, AsyncCheck]:
    if not find_spec("limits"):
        return {}
    from limits import parse as parse_theirs
    from limits.aio.strategies import MovingWindowRateLimiter
    from limits.storage import storage_from_string

    options: Any = {"implementation": "redispy", "max_connections": _CONNECTIONS}
    limiter: Any = MovingWindowRateLimiter(storage_from_string(f"async+{url}", **options))
    limit = parse_theirs(_PLENTY)
    return {"limits, moving window": lambda subject: limiter.hit(limit, "GET:/items/{id}", subject)}


def _limits_blocking(url: str) -> dict[str, Check]:
    if not find_spec("limits"):
        return {}
    from limits import parse as parse_theirs
    from limits.storage import storage_from_string
    from limits.strategies import MovingWindowRateLimiter

    limiter, limit = MovingWindowRateLimiter(storage_from_string(url)), parse_theirs(_PLENTY)
    return {"limits, moving window": lambda subject: limiter.hit(limit, "blocking", subject)}


def _throttled(url: str) -> dict[str, AsyncCheck]:
    if not find_spec("throttled"):
        return {}
    from throttled.asyncio import RedisStore as TheirStore
    from throttled.asyncio import Throttled, per_hour

    store = TheirStore(server=url, options={"CONNECTION_POOL_KWARGS": {"max_connections": _CONNECTIONS}})
    limiter = Throttled(using="sliding_window", quota=per_hour(100_000), store=store)
    return {"throttled-py, sliding window (approximate)": limiter.limit}
