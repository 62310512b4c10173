"""Bans: who is turned away, who never is, and how fast all processes know."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from importlib import import_module
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import PlainTextResponse

from lockwatch import AnomalyConfig, Banned, ConfigurationError, JWTConfig, LockWatch, StoreError
from lockwatch.anomaly.bans import Bans
from lockwatch.client import trust
from lockwatch.event import ADMIN, SYSTEM, Event
from lockwatch.link import Link
from tests.edges.asgi import http, websocket

SECRET = "0123456789abcdef0123456789abcdef"
ATTACKER, FRIEND = "203.0.113.7", "198.51.100.4"
KINDS = ("memory", "fake", "redis")


def store(kind: str, url: str) -> dict[str, Any]:
    if kind == "fake":
        fakeredis = import_module("fakeredis")
        return {"redis": fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer())}
    return {"redis_url": url, "store_timeout": 2.0} if kind == "redis" else {}


def make(**options: Any) -> tuple[FastAPI, LockWatch]:
    app = FastAPI()
    lockwatch = LockWatch(app, **{"bans": True, "secret_key": SECRET} | options)

    @app.get("/")
    async def index() -> str:
        return "hello"

    @app.websocket("/ws")
    async def socket(websocket: Any) -> None:
        await websocket.accept()

    return app, lockwatch


@pytest.fixture(params=KINDS)
async def made(request: pytest.FixtureRequest, redis_server: str) -> AsyncIterator[tuple[FastAPI, LockWatch]]:
    app, lockwatch = make(**store(request.param, redis_server))
    yield app, lockwatch
    await lockwatch.aclose()


async def status(app: Any, peer: str = ATTACKER, method: str = "GET", **headers: str) -> int:
    return (await http(app, method, "/", peer=peer, headers=headers)).status


async def until(check: Callable[[], Any], wanted: Any = True) -> None:
    deadline = time.monotonic() + 20
    while (found := await check()) != wanted:
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.02)


# --------------------------------------------------------------- at the door
async def test_the_banned_are_refused_with_a_problem_and_others_are_not(made: tuple[FastAPI, LockWatch]) -> None:
    app, lockwatch = made
    assert await status(app) == 200
    ban = await lockwatch.bans.add(ATTACKER, seconds=60, reason="too eager", by="alice")
    refused = await http(app, "GET", "/", peer=ATTACKER)
    assert (refused.status, refused.header("content-type")) == (403, "application/problem+json")
    body = refused.json()
    assert (body["error"], body["status"], body["decision"]) == ("banned", 403, ban.id)
    assert 55 <= body["retry_after"] <= 60
    assert refused.header("retry-after") == str(body["retry_after"])
    assert b"eager" not in refused.body
    assert refused.reads == 0
    assert await status(app, FRIEND) == 200
    assert await lockwatch.bans.lift(ATTACKER, by="alice")
    assert await status(app) == 200
    assert not await lockwatch.bans.lift(ATTACKER)


async def test_the_list_says_who_is_banned_why_and_by_whom(made: tuple[FastAPI, LockWatch]) -> None:
    _, lockwatch = made
    await lockwatch.bans.add("user:alice", seconds=600, reason="stolen account", by="bob")
    await lockwatch.bans.add(ATTACKER, seconds=60)
    await lockwatch.bans.add(FRIEND, seconds=60)
    await lockwatch.bans.lift(FRIEND)
    first, second = await lockwatch.bans.list()
    assert (first.subject, second.subject) == (f"ip:{ATTACKER}", "user:alice")
    assert (second.reason, second.by, second.times) == ("stolen account", "bob", 1)
    assert 590 < second.seconds <= 600
    assert second.age < 10


async def test_a_websocket_of_the_banned_is_not_accepted(made: tuple[FastAPI, LockWatch]) -> None:
    app, lockwatch = made
    await lockwatch.bans.add("192.0.2.1", seconds=60)
    seen = await websocket(app, "/ws")
    assert (seen.accepted, seen.closed) == (False, 1008)
    seen = await websocket(app, "/ws", extensions={"websocket.http.response": {}})
    assert (seen.accepted, seen.status) == (False, 403)


async def test_nothing_of_the_application_runs_for_the_banned_but_pages_may_read_why() -> None:
    app, lockwatch = make()
    ran: list[str] = []

    @app.middleware("http")
    async def look(request: Request, call_next: Any) -> Any:
        ran.append(request.url.path)
        return await call_next(request)

    app.add_middleware(CORSMiddleware, allow_origins=["https://shop.example.com"], allow_methods=["*"])
    await lockwatch.bans.add(ATTACKER)
    seen = await http(app, "GET", "/", peer=ATTACKER, headers={"origin": "https://shop.example.com"})
    assert (seen.status, seen.header("access-control-allow-origin")) == (403, "https://shop.example.com")
    asked = {"origin": "https://shop.example.com", "access-control-request-method": "PUT"}
    assert (await http(app, "OPTIONS", "/", peer=ATTACKER, headers=asked)).status == 200
    assert ran == []
    await lockwatch.aclose()


async def test_an_application_may_answer_in_its_own_way() -> None:
    app, lockwatch = make()

    @app.exception_handler(Banned)
    async def own(request: Request, error: Banned) -> PlainTextResponse:
        return PlainTextResponse(f"gone for {error.seconds:.0f}", 403)

    await lockwatch.bans.add(ATTACKER, seconds=60)
    assert (await http(app, "GET", "/", peer=ATTACKER)).body == b"gone for 60"
    await lockwatch.aclose()


@pytest.mark.parametrize(("mode", "expected"), [("enforce", 403), ("observe", 200), ("off", 200)])
async def test_modes_hold_for_bans_too(mode: str, expected: int) -> None:
    app, lockwatch = make()
    await lockwatch.bans.add(ATTACKER)
    with lockwatch.override(mode=mode):
        assert await status(app) == expected
    await lockwatch.aclose()


async def test_no_request_waits_for_the_store(redis_server: str) -> None:
    app, lockwatch = make(redis_url=redis_server)
    await lockwatch.bans.add(ATTACKER)
    calls: list[object] = []
    real = lockwatch.engine.link.store
    assert real is not None

    class Counting:
        def call(self, call: Any) -> Any:
            calls.append(call)
            return real.call(call)

    lockwatch.engine.link.store = Counting()
    assert [await status(app, peer) for peer in (ATTACKER, FRIEND) * 20] == [403, 200] * 20
    assert [call for call in calls if getattr(call, "script", "") not in ("bans", "workers")] == []
    lockwatch.engine.link.store = real
    await lockwatch.aclose()


# --------------------------------------------------------------- whom it hits
async def test_a_ban_of_an_ipv6_address_is_of_its_network() -> None:
    app, lockwatch = make()
    await lockwatch.bans.add("2001:db8:1:2::5")
    assert [await status(app, f"2001:db8:1:{net}::77") for net in (1, 2, 3)] == [200, 403, 200]
    await lockwatch.bans.add("2001:db8:1::/48")
    assert [await status(app, f"2001:db8:{net}::77") for net in ("1:9", "2:9")] == [403, 200]
    assert (await lockwatch.bans.list())[0].subject.startswith("ip:2001:db8:1:")
    await lockwatch.aclose()


async def test_a_network_of_ipv4_can_be_banned() -> None:
    app, lockwatch = make()
    await lockwatch.bans.add("203.0.113.0/24")
    assert [await status(app, peer) for peer in ("203.0.113.9", "203.0.114.9")] == [403, 200]
    await lockwatch.aclose()


async def test_several_banned_networks_of_one_prefix_become_one() -> None:
    app, lockwatch = make(anomaly=AnomalyConfig(respond="ban"))
    for n in range(3):
        assert await lockwatch.bans.propose(f"2001:db8:7:{n}::1", reason="stuffing", by="logins")
    assert await status(app, "2001:db8:7:99::1") == 200
    assert await lockwatch.bans.propose("2001:db8:7:3::1", reason="stuffing", by="logins")
    assert await status(app, "2001:db8:7:99::1") == 403
    assert await status(app, "2001:db8:8:99::1") == 200
    await lockwatch.aclose()


@pytest.mark.parametrize("subject", ["127.0.0.1", "10.1.2.3", "::1", "fe80::1", "172.16.0.0/12", "198.51.100.9", "192.0.2.77"])
async def test_proxies_private_peers_and_the_allowed_are_never_banned(subject: str) -> None:
    _, lockwatch = make(trusted_proxies=["198.51.100.0/28"], anomaly=AnomalyConfig(never_ban="192.0.2.64/26"))
    with pytest.raises(ValueError, match="is never banned"):
        await lockwatch.bans.add(subject)
    assert await lockwatch.bans.propose(subject, reason="x", by="y") is None
    assert await lockwatch.bans.list() == ()
    await lockwatch.aclose()


async def test_a_process_that_spares_an_address_does_so_whoever_banned_it(redis_server: str) -> None:
    (app, one), (_, other) = make(redis_url=redis_server, exempt_networks=ATTACKER), make(redis_url=redis_server)
    await other.bans.add(ATTACKER)
    await one.bans.hear()
    assert await status(app) == 200
    await one.aclose()
    await other.aclose()


@pytest.mark.parametrize("subject", ["", "nobody", "user:", "user: ", "203.0.113.7/33", "0.0.0.0/0", "::/0", "key:abc"])
async def test_a_subject_that_is_none_is_an_error(subject: str) -> None:
    _, lockwatch = make()
    with pytest.raises(ValueError, match=r"subject|name|internet"):
        await lockwatch.bans.add(subject)
    await lockwatch.aclose()


async def test_without_the_option_nobody_is_banned() -> None:
    _, lockwatch = make(bans=False)
    with pytest.raises(ConfigurationError, match="bans=True"):
        _ = lockwatch.bans


# ------------------------------------------------------------------- sessions
def with_tokens(**options: Any) -> tuple[FastAPI, LockWatch]:
    return make(jwt=JWTConfig(jwt_secret=SECRET), **options)


async def test_a_valid_session_passes_a_ban_of_its_address_and_a_forged_one_does_not() -> None:
    app, lockwatch = with_tokens()
    token = (await lockwatch.tokens.issue_token_pair("alice")).access_token
    await lockwatch.bans.add(ATTACKER)
    assert [await status(app), await status(app, authorization=f"Bearer {token}")] == [403, 200]
    assert await status(app, cookie=f"__Host-lockwatch-access={token}") == 200
    assert await status(app, authorization=f"Bearer {token[:-4]}AAAA") == 403
    await lockwatch.aclose()


async def test_a_banned_user_is_refused_wherever_it_comes_from() -> None:
    app, lockwatch = with_tokens()
    tokens = [(await lockwatch.tokens.issue_token_pair(name)).access_token for name in ("alice", "bob")]
    await lockwatch.bans.add("user:alice")
    assert [await status(app, FRIEND, authorization=f"Bearer {token}") for token in tokens] == [403, 200]
    assert await status(app, FRIEND) == 200
    await lockwatch.bans.lift("user:alice")
    assert await status(app, FRIEND, authorization=f"Bearer {tokens[0]}") == 200
    await lockwatch.aclose()


async def test_the_application_says_whose_session_it_is() -> None:
    config = AnomalyConfig(has_session=lambda request: request.headers.get("cookie") == "sid=good")
    app, lockwatch = make(anomaly=config, user=lambda request: request.headers.get("x-user"))
    await lockwatch.bans.add(ATTACKER)
    await lockwatch.bans.add("user:mallory")
    assert [await status(app, cookie="sid=good"), await status(app, cookie="sid=bad")] == [200, 403]
    assert [await status(app, FRIEND, **{"x-user": name}) for name in ("mallory", "alice")] == [403, 200]
    await lockwatch.aclose()


# ------------------------------------------------------------ over all processes
async def test_bans_and_lifts_reach_other_processes_by_themselves(redis_server: str) -> None:
    (app, one), (_, other) = make(redis_url=redis_server, store_timeout=2.0), make(redis_url=redis_server, store_timeout=2.0)
    assert await status(app) == 200
    await other.bans.add(ATTACKER)
    await until(lambda: status(app), 403)
    await other.bans.lift(ATTACKER)
    await until(lambda: status(app), 200)
    await one.aclose()
    await other.aclose()


async def test_a_process_that_comes_later_knows_at_its_start(redis_server: str) -> None:
    _, one = make(redis_url=redis_server, store_timeout=2.0)
    await one.bans.add(ATTACKER)
    app, other = make(redis_url=redis_server, store_timeout=2.0)
    await other.engine.open()
    assert await status(app) == 403
    await one.aclose()
    await other.aclose()


async def test_an_outage_keeps_known_bans_and_a_rule_bans_here_while_it_lasts(redis_server: str) -> None:
    app, lockwatch = make(redis_url=redis_server)
    await lockwatch.bans.add(ATTACKER)
    real = lockwatch.engine.link.store

    class Away:
        async def call(self, call: Any) -> Any:
            raise StoreError("away")

    lockwatch.engine.link.store = Away()
    await lockwatch.bans.hear()
    assert await status(app) == 403
    with pytest.raises(StoreError):
        await lockwatch.bans.add(FRIEND)
    assert await lockwatch.bans.propose(FRIEND, reason="stuffing", by="logins")
    assert await status(app, FRIEND) == 403
    lockwatch.engine.link.store = real
    await lockwatch.aclose()


async def test_what_is_said_of_the_banned_is_sealed_in_the_store(redis_server: str) -> None:
    import redis

    _, lockwatch = make(redis_url=redis_server, store_timeout=2.0)
    await lockwatch.bans.add(ATTACKER, reason="too eager")
    with redis.Redis.from_url(redis_server) as client:
        seen = b"".join(key + b"".join(k + v for k, v in client.hgetall(key).items()) for key in client.scan_iter("*records"))
    assert seen
    assert not any(text in seen for text in (ATTACKER.encode(), b"eager"))
    await lockwatch.aclose()


async def test_every_change_is_reported() -> None:
    _, lockwatch = make()
    events: list[Event] = []
    lockwatch.bans.report = events.append
    await lockwatch.bans.add(ATTACKER, seconds=60, reason="too eager", by="alice")
    await lockwatch.bans.lift(ATTACKER, by="bob")
    await lockwatch.bans.lift(ATTACKER, by="bob")
    await lockwatch.bans.propose(ATTACKER, reason="stuffing", by="logins")
    told = [(e.kind, e.action, e.actor, e.target) for e in events]
    assert told == [
        (ADMIN, "ban.added", "alice", f"ip:{ATTACKER}"),
        (ADMIN, "ban.lifted", "bob", f"ip:{ATTACKER}"),
        (SYSTEM, "ban.added", "logins", f"ip:{ATTACKER}"),
    ]
    assert (events[0].reasons, events[0].details["seconds"]) == (("too eager",), 60)
    await lockwatch.aclose()


async def test_the_end_of_a_ban_is_reported_by_who_made_it(redis_server: str) -> None:
    (_, one), (_, other) = make(redis_url=redis_server, store_timeout=2.0), make(redis_url=redis_server, store_timeout=2.0)
    events: list[Event] = []
    one.bans.report = other.bans.report = events.append
    await one.bans.add(ATTACKER, seconds=0.2)
    await other.bans.hear()
    assert [event.action for event in events] == ["ban.added"]

    async def told() -> list[str]:
        for lockwatch in (one, other):
            await lockwatch.bans.hear()
        return [event.action for event in events]

    await until(told, ["ban.added", "ban.expired"])
    await one.aclose()
    await other.aclose()


async def test_blocking_code_has_the_same(redis_server: str) -> None:
    app, lockwatch = make(redis_url=redis_server, store_timeout=2.0)
    ban = await asyncio.to_thread(lockwatch.bans.add_sync, ATTACKER, seconds=60)
    assert await status(app) == 403
    assert [b.id for b in await asyncio.to_thread(lockwatch.bans.list_sync)] == [ban.id]
    assert await asyncio.to_thread(lockwatch.bans.lift_sync, ATTACKER)
    assert await status(app) == 200
    await lockwatch.aclose()


# ------------------------------------------------------------ news that are late
class Late:
    """A link to a store of which one answer may stay away for a while."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._next: asyncio.Event | None = None
        self.asked = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)

    async def drive(self, flow: Any) -> Any:
        held, self._next = self._next, None
        found = await self._link.drive(flow)
        self.asked.set()
        if held is not None:
            await held.wait()
        return found

    async def hold(self, work: Any) -> Callable[[], Any]:
        """Begin something, and hold back the answer to what it asks; how to let it come, and to wait for the end."""
        self._next = arriving = asyncio.Event()
        self.asked.clear()
        task = asyncio.create_task(work)
        await self.asked.wait()

        async def release() -> None:
            arriving.set()
            await task

        return release


@pytest.fixture
async def late() -> AsyncIterator[tuple[Late, Bans, Bans]]:
    """A store that may answer late, and the bans of two processes that use it: one through that, the other at once."""
    _, lockwatch = make()
    engine = lockwatch.engine
    link = Late(engine.link)
    settings, trusted = AnomalyConfig(), trust(())
    slow, quick = [Bans(engine.config, settings, each, trusted) for each in (link, engine.link)]  # type: ignore[arg-type]
    yield link, slow, quick
    await lockwatch.aclose()


def banned(bans: Bans) -> bool:
    return bans.table.get(f"ip:{ATTACKER}", time.monotonic()) is not None


async def test_what_was_asked_before_a_ban_was_lifted_does_not_bring_it_back(late: tuple[Late, Bans, Bans]) -> None:
    link, bans, quick = late
    await quick.add(ATTACKER, seconds=60)
    release = await link.hold(bans.hear())
    bans.lift_sync(ATTACKER)
    await release()
    assert not banned(bans)
    await bans.hear()
    assert not banned(bans)


async def test_what_was_asked_before_somebody_was_banned_does_not_let_them_in(late: tuple[Late, Bans, Bans]) -> None:
    link, bans, quick = late
    await quick.add(ATTACKER, seconds=60)
    await quick.lift(ATTACKER)
    release = await link.hold(bans.hear())
    bans.add_sync(ATTACKER, seconds=60)
    await release()
    assert banned(bans)


async def test_a_ban_that_another_process_lifted_before_its_maker_had_the_answer_is_heard_of(late: tuple[Late, Bans, Bans]) -> None:
    link, bans, quick = late
    release = await link.hold(bans.add(ATTACKER, seconds=60))
    await quick.lift(ATTACKER)
    await bans.hear()
    await release()
    await bans.hear()
    assert not banned(bans)


async def test_others_are_heard_of_while_one_is_changed_here(late: tuple[Late, Bans, Bans]) -> None:
    link, bans, quick = late
    await quick.add(ATTACKER, seconds=60)
    release = await link.hold(bans.hear())
    bans.add_sync(FRIEND, seconds=60)
    await release()
    assert banned(bans)
    await bans.hear()
    assert {ban.subject for ban in await bans.list()} == {f"ip:{ATTACKER}", f"ip:{FRIEND}"}
    assert len(bans.table) == 2
