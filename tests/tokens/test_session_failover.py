"""A store that loses its last writes: replicas that take over, flushes, outages, and what a process says again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from lockwatch.errors import StoreError
from lockwatch.flow import Call, run
from lockwatch.stores.connect import address_of
from lockwatch.stores.memory import MemoryStore
from lockwatch.stores.redis_async import AsyncRedisStore
from lockwatch.stores.redis_sync import RedisStore
from lockwatch.tokens.failover import Kept, RecentRevocations, Watch
from lockwatch.tokens.outcomes import Grant, Outcome, Reason
from tests import servers
from tests.contract.bench import PATIENT
from tests.tokens.desk import Desk, make_sessions
from tests.topology import sites


class Pair:
    """A primary and its replica, which can be cut off and promoted."""

    def __init__(self) -> None:
        self.primary = servers.start_redis("--repl-diskless-sync-delay", "0")
        self.replica = servers.start_redis("--replicaof", "127.0.0.1", str(self.primary.port))
        self.wait_until_linked()

    @staticmethod
    def url(server: servers.Proc) -> str:
        return f"redis://127.0.0.1:{server.port}/0"

    def wait_until_linked(self) -> None:
        with redis.Redis.from_url(self.url(self.replica)) as client:
            end = time.monotonic() + 60
            while client.info("replication")["master_link_status"] != "up":
                assert time.monotonic() < end
                time.sleep(0.02)

    def wait_until_even(self) -> None:
        """Until the replica has everything."""
        with redis.Redis.from_url(self.url(self.primary)) as client:
            client.set("even", 1, px=1000)
            assert client.execute_command("WAIT", 1, 5000) == 1

    def cut(self) -> None:
        """From now on the replica hears nothing, and will answer by itself."""
        with redis.Redis.from_url(self.url(self.replica)) as client:
            client.execute_command("REPLICAOF", "NO", "ONE")


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.primary.stop()
    made.replica.stop()


@pytest.fixture
def linked(pair: Pair) -> Pair:
    """The same pair, in order and empty."""
    with redis.Redis.from_url(pair.url(pair.replica)) as client:
        client.execute_command("REPLICAOF", "127.0.0.1", pair.primary.port)
    with redis.Redis.from_url(pair.url(pair.primary)) as client:
        client.flushall()
    pair.wait_until_linked()
    pair.wait_until_even()
    return pair


class Moving(Desk):
    """A process that goes on with another server when it is told to."""

    def __init__(self, pair: Pair) -> None:
        super().__init__("redis", pair.url(pair.primary))
        self.pair = pair
        self.clock.us = int(time.time() * 1_000_000)

    def fail_over(self, noticed: bool = True) -> None:
        """From now on the replica answers."""
        self.store.store.close()
        self.store.store = RedisStore(address_of(self.pair.url(self.pair.replica)), PATIENT)
        if noticed:
            self.sessions.watch.doubt()


@pytest.fixture
def moving(linked: Pair) -> Iterator[Moving]:
    made = Moving(linked)
    yield made
    made.store.store.close()


# ------------------------------------------------------------ a promoted replica
@pytest.mark.parametrize("noticed", [True, False])
async def test_a_rotation_the_store_lost_is_followed(moving: Moving, noticed: bool) -> None:
    old = (await moving.login(role="admin")).refresh_token
    moving.pair.wait_until_even()
    moving.pair.cut()
    lost = (await moving.refresh(old)).refresh_token
    moving.fail_over(noticed)
    healed = await moving.refresh(lost)
    assert (healed.outcome, healed.generation) == (Outcome.HEALED, 2)
    assert healed.grant is not None
    assert healed.grant.claims == {"role": "admin"}
    assert (await moving.refresh(lost)).refresh_token == healed.refresh_token
    moving.clock.advance(11)
    assert await moving.outcome(healed.refresh_token) is Outcome.ROTATED
    assert moving.sessions.watch.failovers == 1


async def test_several_lost_rotations_are_followed(moving: Moving) -> None:
    token = (await moving.login()).refresh_token
    moving.pair.wait_until_even()
    moving.pair.cut()
    for _ in range(3):
        token = (await moving.refresh(token)).refresh_token
        moving.clock.advance(11)
    moving.fail_over()
    found = await moving.refresh(token)
    assert (found.outcome, found.generation) == (Outcome.HEALED, 4)


async def test_a_newer_token_two_minutes_after_a_change_of_servers_ends_the_session(moving: Moving) -> None:
    old = (await moving.login()).refresh_token
    moving.pair.wait_until_even()
    moving.pair.cut()
    lost = (await moving.refresh(old)).refresh_token
    moving.fail_over()
    await moving.login("somebody else")
    moving.clock.advance(121)
    found = await moving.refresh(lost)
    assert (found.outcome, found.reason) == (Outcome.REUSE, Reason.FORK)


async def test_a_newer_token_without_any_change_of_servers_ends_the_session(moving: Moving) -> None:
    token = (await moving.login()).refresh_token
    with redis.Redis.from_url(moving.pair.url(moving.pair.primary)) as client:
        (key,) = [k for k in client.scan_iter() if b"sessions" in k]
        before = client.hgetall(key)
        newer = (await moving.refresh(token)).refresh_token
        client.hset(key, mapping=before)
    found = await moving.refresh(newer)
    assert (found.outcome, found.reason) == (Outcome.REUSE, Reason.FORK)


async def test_a_thief_who_comes_first_after_a_lost_rotation_is_found_out_by_the_victim(moving: Moving) -> None:
    stolen = (await moving.login()).refresh_token
    moving.pair.wait_until_even()
    moving.pair.cut()
    own = (await moving.refresh(stolen)).refresh_token
    moving.fail_over()
    thief = await moving.refresh(stolen)
    assert thief.outcome is Outcome.ROTATED
    victim = await moving.refresh(own)
    assert (victim.outcome, victim.reason) == (Outcome.REUSE, Reason.FORK)
    assert await moving.outcome(thief.refresh_token) is Outcome.REVOKED


async def test_revocations_the_store_lost_are_said_again(moving: Moving) -> None:
    one, other, living = await moving.login(), await moving.login("user:43"), await moving.login("user:44")
    jti = living.session[:16] + "x" * 16
    moving.pair.wait_until_even()
    moving.pair.cut()
    now = moving.clock.now
    await moving.do(moving.sessions.revoke(one.session, now))
    await moving.do(moving.sessions.revoke_subject("user:43", now))
    await moving.do(moving.sessions.deny(jti, 900, now))
    moving.fail_over()
    assert await moving.standing(one.session) is Outcome.LIVE, "the store has lost it"
    again = await moving.login("user:43")
    assert await moving.standing(one.session) is Outcome.REVOKED
    assert await moving.standing(other.session) is Outcome.REVOKED
    assert await moving.standing(living.session, jti) is Outcome.DENIED
    assert await moving.standing(again.session) is Outcome.LIVE
    assert await moving.outcome(living.refresh_token) is Outcome.ROTATED


async def test_a_change_of_servers_that_nobody_noticed_is_found_within_a_minute(moving: Moving) -> None:
    login = await moving.login()
    moving.pair.wait_until_even()
    moving.pair.cut()
    await moving.do(moving.sessions.revoke(login.session, moving.clock.now))
    moving.fail_over(noticed=False)
    moving.clock.advance(60)
    await moving.login("somebody else")
    assert await moving.outcome(login.refresh_token) is Outcome.REVOKED


async def test_a_login_the_store_lost_is_unknown(moving: Moving) -> None:
    moving.pair.cut()
    login = await moving.login()
    moving.fail_over()
    assert await moving.outcome(login.refresh_token) is Outcome.UNKNOWN
    assert await moving.standing(login.session) is Outcome.UNKNOWN


# ------------------------------------------------------------ a server that is killed
async def test_a_refresh_whose_server_is_killed_is_repeated_when_it_is_back(tmp_path: Path) -> None:
    durable = ("--appendonly", "yes", "--appendfsync", "always", "--dir", str(tmp_path))
    server = servers.start_redis(*durable)
    desk = Desk("redis", f"redis://127.0.0.1:{server.port}/0")
    desk.clock.us = int(time.time() * 1_000_000)
    login = await desk.login()
    new = await desk.refresh(login.refresh_token)
    server.popen.kill()
    server.popen.wait(5)
    with pytest.raises(StoreError):
        await desk.refresh(login.refresh_token)
    again = servers.start_redis(*durable, port=server.port)
    sites.until(lambda: sites.ask(again.port, "PING"), "a server that has read its file")
    found = await desk.refresh(login.refresh_token)
    assert (found.outcome, found.refresh_token) == (Outcome.REPLAY, new.refresh_token)
    assert desk.sessions.watch.failovers == 1
    await desk.close()
    again.stop()
    server.stop()


# ------------------------------------------------------------ a flush
async def test_after_a_flush_nobody_is_logged_in_and_it_is_noticed(moving: Moving) -> None:
    login = await moving.login()
    await moving.do(moving.sessions.deny("x" * 32, 900, moving.clock.now))
    with redis.Redis.from_url(moving.pair.url(moving.pair.primary)) as client:
        client.flushall()
    assert await moving.standing(login.session) is Outcome.UNKNOWN
    assert await moving.outcome(login.refresh_token) is Outcome.UNKNOWN
    moving.clock.advance(60)
    await moving.login()
    assert (moving.sessions.watch.flushes, moving.sessions.watch.failovers) == (1, 0)
    assert (await moving.do(moving.sessions.standing(None, "x" * 32))).outcome is Outcome.DENIED


# ------------------------------------------------------------ replicas that confirm
async def test_a_revocation_says_whether_a_replica_has_it(moving: Moving) -> None:
    one, other = await moving.login(), await moving.login()
    sessions, now = moving.sessions, moving.clock.now
    assert (await moving.do(sessions.revoke(one.session, now))).durable is None
    assert (await moving.do(sessions.revoke(other.session, now, wait=5))).durable is True
    assert (await moving.do(sessions.revoke_subject("user:42", now, wait=5))).durable is True
    moving.pair.cut()
    assert (await moving.do(sessions.deny("x" * 32, 900, now, wait=0.02))).durable is False


async def test_on_an_event_loop_a_replica_confirms_too_and_no_connection_stays(linked: Pair) -> None:
    desk = Desk("memory", "")
    desk.store.store = store = AsyncRedisStore(address_of(linked.url(linked.primary)), PATIENT)
    login = await desk.login()
    revoked = await desk.do(desk.sessions.revoke(login.session, desk.clock.now, wait=5))
    assert (revoked.sessions, revoked.durable) == ((login.session,), True)
    assert await desk.standing(login.session) is Outcome.REVOKED
    await store.aclose()


@pytest.mark.parametrize("kind", ["memory", "fake", "fake-async"])
async def test_where_there_are_no_replicas_nothing_is_durable(kind: str) -> None:
    desk = Desk(kind, "")
    login = await desk.login()
    assert (await desk.do(desk.sessions.revoke(login.session, desk.clock.now, wait=0.01))).durable is False
    await desk.close()


# ------------------------------------------------------------ outages
class Outage:
    """A store that is there at times."""

    def __init__(self, store: Any) -> None:
        self.store, self.down = store, False

    def call(self, call: Call) -> Any:
        if self.down:
            raise StoreError("down")
        return self.store.call(call)


@pytest.fixture
def troubled() -> Desk:
    desk = Desk("memory", "")
    desk.store.store = Outage(desk.store.store)
    return desk


async def test_in_an_outage_nothing_is_rotated_and_nobody_is_logged_out(troubled: Desk) -> None:
    login = await troubled.login()
    troubled.store.store.down = True
    with pytest.raises(StoreError):
        await troubled.refresh(login.refresh_token)
    with pytest.raises(StoreError):
        await troubled.login()
    troubled.store.store.down = False
    assert await troubled.outcome(login.refresh_token) is Outcome.ROTATED


async def test_in_an_outage_an_access_token_is_denied_unless_the_policy_says_allow(troubled: Desk) -> None:
    login = await troubled.login()
    troubled.store.store.down = True
    with pytest.raises(StoreError):
        await troubled.standing(login.session)
    found = await troubled.do(troubled.sessions.standing(login.session, "x", on_store_error="allow"))
    assert (found.live, found.degraded) == (True, True)
    assert (await troubled.do(troubled.sessions.standing("none of ours", "x", on_store_error="allow"))).live is False


async def test_what_was_revoked_in_an_outage_is_revoked_when_it_is_over(troubled: Desk) -> None:
    one, all_of_them = await troubled.login(), await troubled.login("user:43")
    now = troubled.clock.now
    troubled.clock.advance(1)
    troubled.store.store.down = True
    for flow in (troubled.sessions.revoke(one.session, now), troubled.sessions.revoke_subject("user:43", troubled.clock.now)):
        with pytest.raises(StoreError):
            await troubled.do(flow)
    troubled.clock.advance(3600)
    troubled.store.store.down = False
    assert await troubled.outcome(one.refresh_token) is Outcome.REVOKED
    assert await troubled.outcome(all_of_them.refresh_token) is Outcome.REVOKED


async def test_who_logs_in_after_a_revocation_that_waits_stays_logged_in(troubled: Desk) -> None:
    other = Desk("memory", "")  # another process, whose store answers
    other.store.store, other.store.clock, other.clock = troubled.store.store.store, troubled.clock, troubled.clock
    before = await troubled.login()
    troubled.clock.advance(5)
    troubled.store.store.down = True
    with pytest.raises(StoreError):
        await troubled.do(troubled.sessions.revoke_subject("user:42", troubled.clock.now))
    troubled.clock.advance(5)
    after = await other.login()
    troubled.clock.advance(5)
    troubled.store.store.down = False
    await troubled.login("somebody else")
    assert await troubled.standing(before.session) is Outcome.REVOKED
    assert await troubled.standing(after.session) is Outcome.LIVE


async def test_one_failure_does_not_keep_the_rest_of_a_revocation_from_being_made() -> None:
    old, new = b"an old secret of thirty-two bytes", b"a new secret of thirty-two bytes"
    store, local = MemoryStore(), MemoryStore()
    both = make_sessions(secrets=(new, old))
    flow = both.revoke_subject("user:42", 0.0)
    first = next(flow)
    second = flow.throw(StoreError("down"))
    assert first.keys != second.keys
    with pytest.raises(StoreError):
        flow.send(store.call(second._replace(args=(1, *second.args[1:]))))
    assert [kept.said for kept in both.spool.due(0.0)] == [False]
    run(both.revoke_subject("user:42", 0.0), store, local)


# ------------------------------------------------------------ what is remembered
def kept(n: int, at: float, said: bool = True) -> Kept:
    return Kept(Call("deny", (f"k{n}",), (0, 1)), at, said)


def test_the_memory_of_revocations_is_bounded_and_says_what_it_dropped() -> None:
    spool = RecentRevocations(seconds=300, most=3)
    for n in range(5):
        spool.keep(kept(n, n))
    assert [k.call.keys for k in spool.due(5)] == [("k2",), ("k3",), ("k4",)]
    assert (len(spool), spool.dropped) == (3, 2)
    assert [k.call.keys for k in spool.due(303.5)] == [("k4",)]


def test_what_the_store_never_confirmed_is_kept_until_it_does() -> None:
    spool = RecentRevocations(seconds=300)
    waiting = kept(1, 0, said=False)
    spool.keep(waiting)
    assert spool.due(10_000) == (waiting,)
    spool.settle(waiting, waiting._replace(said=True))
    assert len(spool.due(200)) == 1
    assert spool.due(10_000) == ()
    spool.keep(waiting)
    spool.settle(waiting, None)
    assert len(spool) == 0


def test_a_watch_asks_at_first_every_minute_and_after_every_doubt() -> None:
    watch = Watch()
    assert watch.due(1000)
    assert watch.learn((7, 0, 0), 1000) is False
    assert [watch.due(t) for t in (1000, 1059.9, 1060, 999)] == [False, False, True, True]
    watch.doubt()
    assert watch.due(1001)
    assert watch.learn((7, 0, 0), 1001) is True
    assert watch.heals(1001) is False
    assert watch.learn((7, 1, 5_000_000), 1002) is True
    assert [watch.heals(t) for t in (1002, 1117, 1117.1)] == [True, True, False]
    assert (watch.failovers, watch.flushes) == (1, 0)
    assert watch.learn((8, 0, 0), 1003) is True
    assert (watch.failovers, watch.flushes) == (1, 1)


def test_entropy_comes_in_as_an_argument_so_that_equal_arguments_ask_the_same() -> None:
    asked = []
    for _ in range(2):
        desk = Desk("memory", "")
        random = bytes(range(64))
        made = run(desk.sessions.issue(Grant("u"), 5.0, random), desk.store, desk.store)
        run(desk.sessions.rotate(made.refresh_token, 5.0, random), desk.store, desk.store)
        asked.append(desk.store.asked)
    assert asked[0] == asked[1]
