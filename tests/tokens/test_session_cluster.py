"""Sessions on a Redis Cluster: every call is on the keys of one slot, and works whichever node has it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from lockwatch.stores.cluster import slot_of
from lockwatch.stores.connect import address_of
from lockwatch.stores.redis_async import AsyncRedisStore
from lockwatch.tokens.names import jti_of
from lockwatch.tokens.outcomes import Outcome
from tests import servers
from tests.contract.bench import PATIENT
from tests.tokens.desk import Desk


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
