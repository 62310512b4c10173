"""What a request costs Redis, counted by Redis: one awaited round trip, however many limits there are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis
from fastapi import Depends, FastAPI, Request

from lockwatch import LockWatch, RateLimit, by_user
from tests.edges.asgi import Exchange, http
from tests.watch import Spoken, Watch, watching

REQUESTS = 20
BACKGROUND = {"workers", "epoch"}
"""What the thread in the background says, now and then, and no request waits for."""
POLICIES = ['"all"', '"user"', '"address"', '"tier"']


def make(url: str, **options: Any) -> tuple[FastAPI, LockWatch]:
    """A route with limits by address and by user, an application limit, and a tier."""
    app = FastAPI()
    lockwatch = LockWatch(
        app,
        redis_url=url,
        store_timeout=5.0,
        application_limits="all=1000/minute",
        user=lambda request: request.headers.get("x-user"),
    )
    tiers = {"pro": "tier=600/minute", "*": "tier=100/minute"}
    limits = [
        RateLimit("user=500/minute", key=by_user, **options),
        RateLimit("address=900/minute", **options),
        RateLimit(tiers, tier=lambda request: request.headers.get("x-plan"), key=by_user, **options),
    ]

    @app.post("/login", dependencies=[Depends(limit) for limit in limits])
    async def login(request: Request) -> dict[str, bool]:
        if during := request.scope.get("during"):
            during()
        return {"ok": True}

    return app, lockwatch


async def ask(app: FastAPI, **extra: Any) -> Exchange:
    answer = await http(app, "POST", "/login", headers={"x-user": "ann", "x-plan": "pro"}, **extra)
    assert answer.status == 200
    assert [item.split(";")[0] for item in (answer.header("ratelimit") or "").split(", ")] == POLICIES
    return answer


@pytest.fixture
async def watch(redis_server: str) -> AsyncIterator[Watch]:
    with watching(redis_server) as watch:
        yield watch


def calls(url: str) -> int:
    """How many EVALSHA the server has run."""
    with redis.Redis.from_url(url) as client:
        return int(client.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0))


def of_requests(heard: list[Spoken]) -> list[Spoken]:
    """What was said on the connections that ask for admission: whatever it is."""
    asking = {said.client for said in heard if said.words[0] == "EVALSHA" and "admit" in said.scripts}
    return [said for said in heard if said.client in asking]


async def test_three_limits_and_a_tier_are_one_round_trip(redis_server: str, watch: Watch) -> None:
    app, lockwatch = make(redis_server)
    await ask(app)  # opens a connection, fetches the secret, sends the script
    watch.heard()
    for _ in range(REQUESTS):
        await ask(app)
    heard = watch.heard()
    assert [said.scripts for said in of_requests(heard)] == [["admit"]] * REQUESTS
    assert {len(said.keys) for said in of_requests(heard)} == {len(POLICIES)}
    others = [said for said in heard if said.words[0] == "EVALSHA" and said not in of_requests(heard)]
    assert all(set(said.scripts) <= BACKGROUND for said in others)
    await lockwatch.aclose()


async def test_counted_by_the_statistics_of_the_server_too(redis_server: str, watch: Watch) -> None:
    app, lockwatch = make(redis_server)
    await ask(app)
    watch.heard()
    before = calls(redis_server)
    for _ in range(REQUESTS):
        await ask(app)
    counted = calls(redis_server) - before
    beside = sum(said.words[0] == "EVALSHA" and set(said.scripts) <= BACKGROUND for said in watch.heard())
    assert REQUESTS <= counted <= REQUESTS + beside
    await lockwatch.aclose()


async def test_what_turns_out_later_is_settled_without_a_request_waiting_for_it(redis_server: str, watch: Watch) -> None:
    app, lockwatch = make(redis_server, count="failures")
    await ask(app)
    await lockwatch.flush()
    watch.heard()
    for _ in range(REQUESTS):
        await ask(app)
    await lockwatch.flush()
    scripts = [script for said in of_requests(watch.heard()) for script in said.scripts]
    assert scripts.count("admit") == REQUESTS
    assert scripts.count("settle") == REQUESTS
    assert set(scripts) == {"admit", "settle"}
    await lockwatch.aclose()


async def test_a_response_ends_while_the_server_that_has_to_settle_it_answers_nobody(redis_server: str, watch: Watch) -> None:
    app, lockwatch = make(redis_server, count="failures")
    await ask(app)
    await lockwatch.flush()
    watch.heard()
    with redis.Redis.from_url(redis_server) as admin:
        await ask(app, during=lambda: admin.execute_command("CLIENT", "PAUSE", 60_000, "WRITE"))  # scripts may write
        admin.execute_command("CLIENT", "UNPAUSE")  # not before the response was complete
    await lockwatch.flush()
    assert [said.scripts for said in of_requests(watch.heard()) if said.words[0] == "EVALSHA"] == [["admit"], ["settle"]]
    assert (await ask(app)).header("ratelimit") == '"all";r=997;t=60, "user";r=499;t=60, "address";r=899;t=60, "tier";r=599;t=60'
    await lockwatch.aclose()
