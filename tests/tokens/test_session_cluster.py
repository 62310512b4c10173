"""Sessions on a Redis Cluster: every call is on the keys of one slot, and works whichever node has it."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from lockwatch.errors import StoreError
from lockwatch.stores.cluster import slot_of
from lockwatch.stores.connect import address_of
from lockwatch.stores.redis_async import AsyncRedisStore
from lockwatch.tokens.names import GROUP, Names, jti_of
from lockwatch.tokens.outcomes import Outcome, Rotation
from lockwatch.tokens.sealing import encoded
from tests import servers
from tests.contract.bench import PATIENT
from tests.tokens.desk import Desk, make_sessions
from tests.topology import sites
from tests.topology.sites import Site


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    nodes = servers.start_cluster()
    yield f"redis+cluster://127.0.0.1:{nodes[0].port}"
    for node in nodes:
        node.stop()


@pytest.fixture
async def desk(cluster: str) -> AsyncIterator[Desk]:
    made = Desk("memory", "")
    made.store.store = store = AsyncRedisStore(address_of(cluster), PATIENT)
    yield made
    await store.aclose()


async def live(desk: Desk, subject: str) -> None:
    """Everything a session does in its life."""
    sessions, now = desk.sessions, desk.clock.now
    login, other = await desk.login(subject, {"agent": "phone"}), await desk.login(subject)
    new = await desk.refresh(login.refresh_token)
    assert new.outcome is Outcome.ROTATED
    assert (await desk.refresh(login.refresh_token)).refresh_token == new.refresh_token
    assert len(await desk.do(sessions.listed(subject, now))) == 2
    jti = jti_of(login.session[:16], os.urandom(12))
    assert await desk.standing(login.session, jti) is Outcome.LIVE
    await desk.do(sessions.deny(jti, 900, now))
    assert await desk.standing(login.session, jti) is Outcome.DENIED
    assert (await desk.do(sessions.revoke(other.session, now, wait=0.01))).durable is False
    assert (await desk.do(sessions.revoke_subject(subject, now))).sessions == (login.session,)
    assert await desk.outcome(new.refresh_token) is Outcome.REVOKED


async def test_sessions_live_on_every_node_of_a_cluster(desk: Desk) -> None:
    for n in range(12):
        await live(desk, f"user:{n}")
    assert len({slot_of(call.keys) for call in desk.store.asked}) > 6


async def test_every_call_is_on_keys_of_one_slot() -> None:
    desk = Desk("memory", "")
    await live(desk, "user:42")
    assert {call.script for call in desk.store.asked} == {"origin", "issue", "rotate", "sessions", "standing", "deny", "revoke"}
    for call in desk.store.asked:
        slot_of(call.keys)


# ------------------------------------------------------------ a node that is lost
@pytest.fixture
def replicated() -> Iterator[Site]:
    with sites.running(sites.start_cluster(replicas=True)) as site:
        for node in (*site.nodes, *site.replicas):
            sites.ask(node.port, "CONFIG", "SET", "cluster-require-full-coverage", "no")
        yield site


def even(node: servers.Proc) -> None:
    """Wait until the replica of a node has everything."""
    with sites.client(node.port) as client:
        client.execute_command("SET", f"{{{slot_mark(node)}}}even", 1, "PX", 1000)
        assert client.execute_command("WAIT", 1, 5000) == 1


def slot_mark(node: servers.Proc) -> str:
    """A hash tag that leads to a node."""
    first, last = next((a, b) for a, b, (_, port, *_), *_ in sites.ask(node.port, "CLUSTER", "SLOTS") if port == node.port)
    return next(str(n) for n in range(10_000) if first <= (slot_of((f"{{{n}}}",)) or 0) <= last)


def cut(replica: servers.Proc) -> None:
    """From now on a replica hears nothing: its master does not know the user it comes as."""
    for words in (
        ("CONFIG", "SET", "masteruser", "nobody"),
        ("CONFIG", "SET", "masterauth", "x"),
        ("CLIENT", "KILL", "TYPE", "MASTER"),
    ):
        sites.ask(replica.port, *words)
    sites.until(lambda: sites.fields(sites.ask(replica.port, "INFO", "replication"))["master_link_status"] == "down", "a cut")


async def test_a_rotation_and_a_revocation_that_one_node_lost_are_followed_and_said_again(replicated: Site) -> None:
    desk = Desk("memory", "")
    desk.store.store = store = AsyncRedisStore(address_of(replicated.url), PATIENT)
    desk.sessions, desk.clock.us = make_sessions(split=True), int(time.time() * 1_000_000)
    elsewhere = sites.node_of(replicated, slot_of((Names("shop").origin("any"),)) or 0)
    logins = [await desk.login(f"user:{n}") for n in range(30)]
    found = [(login, sites.node_of(replicated, slot_of((f"{{{login.session[:16]}}}",)) or 0)) for login in logins]
    lost = next(node for _, node in found if node is not elsewhere)
    rotated, revoked = [login for login, node in found if node is lost][:2]
    replica = replicated.replicas[replicated.nodes.index(lost)]
    even(lost)
    cut(replica)
    newer = await desk.refresh(rotated.refresh_token)
    await desk.do(desk.sessions.revoke(revoked.session, desk.clock.now))
    sites.kill(lost)
    sites.ask(replica.port, "CLUSTER", "FAILOVER", "TAKEOVER")
    sites.until(lambda: sites.node_of(replicated, slot_of((f"{{{rotated.session[:16]}}}",)) or 0) is replica, "a takeover")
    healed = await patient(desk, newer.refresh_token)
    assert (healed.outcome, healed.generation) == (Outcome.HEALED, 2)
    assert await patient_outcome(desk, revoked.refresh_token) is Outcome.REVOKED
    assert desk.sessions.watch.failovers >= 1
    await store.aclose()


async def patient(desk: Desk, token: str) -> Rotation:
    """A refresh, as soon as the nodes know who serves what."""
    ends = time.monotonic() + 20
    while True:
        try:
            return await desk.refresh(token)
        except StoreError:
            assert time.monotonic() < ends


async def patient_outcome(desk: Desk, token: str) -> Outcome:
    return (await patient(desk, token)).outcome


def test_the_note_of_a_server_lies_in_the_group_of_slots_it_is_about() -> None:
    names = Names("shop", split=True)
    tags = [encoded(os.urandom(12)) for _ in range(2000)]
    for tag in tags:
        slot, noted = slot_of((names.sessions(tag),)), slot_of((names.origin(tag),))
        assert slot is not None
        assert noted is not None
        assert slot // GROUP == noted // GROUP
    assert len({names.origin(tag) for tag in tags}) == 64
    assert {Names("shop").origin(tag) for tag in tags} == {"shop:1:origin"}
