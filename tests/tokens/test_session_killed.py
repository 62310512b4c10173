"""A store that is killed while a refresh is under way: who asks again with the same token has a session, and it is the only one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from lockwatch.errors import StoreError
from lockwatch.flow import run_async
from lockwatch.stores.connect import address_of
from lockwatch.stores.memory import MemoryStore
from lockwatch.stores.redis_async import AsyncRedisStore
from lockwatch.tokens.names import Names
from lockwatch.tokens.outcomes import Grant, Outcome, Rotation
from lockwatch.tokens.policy import SessionPolicy
from lockwatch.tokens.refresh import NO_PARENT, Opaque, RefreshToken
from lockwatch.tokens.sealing import Sealer
from lockwatch.tokens.sessions import Sessions
from tests import servers
from tests.failure.proxy import Proxy

SECRETS = (b"a secret of a test of servers that are killed",)
PATIENCE = 20.0
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
SAME = frozenset({Outcome.ROTATED, Outcome.REPLAY, Outcome.FRESH})


class Mortal:
    """A server that writes down what it did before it says so, and can be killed and started again on the same port."""

    def __init__(self) -> None:
        self.process = servers.start_redis(*DURABLE)
        self.port, self._root = self.process.port, self.process.root

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def hold(self) -> None:
        """From now on it takes what is sent and does nothing."""
        os.kill(self.process.popen.pid, signal.SIGSTOP)

    def kill(self) -> None:
        self.process.popen.kill()
        self.process.popen.wait()

    def rise(self) -> None:
        """Start again, with what it had written down."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                self.process = servers.start_redis("--dir", self._root, *DURABLE, port=self.port)
                return
            except servers.AddressTaken:
                assert time.monotonic() < end
                time.sleep(0.05)

    def generation(self, session: str) -> int:
        """Which token of a session the server knows."""
        with redis.Redis.from_url(self.url) as client:
            [key] = client.scan_iter("killed:*:sessions:*")
            text: Any = client.hget(key, session[16:])
        return int(text.split()[4])


class Client:
    """An application with one session."""

    def __init__(self, url: str) -> None:
        self.sessions = Sessions(Names("killed"), Sealer(SECRETS, "killed"), Opaque(SECRETS, "killed"), SessionPolicy(grace=60))
        self.store = AsyncRedisStore(address_of(url), PATIENCE)
        self.memory = MemoryStore()

    async def log_in(self) -> tuple[str, str]:
        """A refresh token of a new session, and the session."""
        flow = self.sessions.issue(Grant("ada", {}), time.time(), os.urandom(64))
        issued = await run_async(flow, self.store, self.memory)
        return issued.refresh_token, issued.session

    async def miss(self) -> None:
        """Refresh what is no session. The server knows the script then, and answers the next refresh with one reply."""
        stray = Opaque(SECRETS, "killed").write(RefreshToken("t" * 16, "f" * 16, 0, NO_PARENT, "s" * 24))
        assert (await self.refresh(stray)).outcome is Outcome.UNKNOWN

    async def refresh(self, token: str) -> Rotation:
        """Raises: StoreError."""
        return await run_async(self.sessions.rotate(token, time.time(), os.urandom(64)), self.store, self.memory)

    async def insist(self, token: str) -> Rotation:
        """Ask until the store answers."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return await self.refresh(token)
            except StoreError:
                assert time.monotonic() < end
                await asyncio.sleep(0.02)


@pytest.fixture
def mortal() -> Iterator[Mortal]:
    made = Mortal()
    yield made
    made.process.stop()


async def settled(client: Client, token: str, said: Rotation | StoreError) -> None:
    """Whoever asks again gets the one successor there is, and goes on from there."""
    again = await client.insist(token)
    assert again.outcome in SAME
    if isinstance(said, Rotation):
        assert said.outcome is Outcome.ROTATED
        assert again.refresh_token == said.refresh_token
    third = await client.insist(token)
    assert third.refresh_token == again.refresh_token
    assert (await client.insist(again.refresh_token)).outcome in SAME


async def outcome_of(task: asyncio.Task[Rotation]) -> Rotation | StoreError:
    try:
        return await asyncio.wait_for(task, PATIENCE)
    except StoreError as error:
        return error


async def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


async def test_a_refresh_the_store_never_came_to_is_made_by_the_next(mortal: Mortal) -> None:
    client = Client(mortal.url)
    token, session = await client.log_in()
    mortal.hold()
    task = asyncio.ensure_future(client.refresh(token))
    await asyncio.sleep(0.05)
    mortal.kill()
    said = await outcome_of(task)
    assert isinstance(said, StoreError)
    mortal.rise()
    assert mortal.generation(session) == 0
    await settled(client, token, said)
    assert mortal.generation(session) == 1
    await client.store.aclose()


async def test_a_refresh_whose_answer_was_lost_is_answered_again(mortal: Mortal) -> None:
    proxy = Proxy(mortal.port)
    client = Client(proxy.url)
    token, session = await client.log_in()
    await client.miss()
    proxy.become("drop")
    task = asyncio.ensure_future(client.refresh(token))
    await until(lambda: mortal.generation(session) == 1)
    mortal.kill()
    proxy.become("reset")
    said = await outcome_of(task)
    assert isinstance(said, StoreError)
    mortal.rise()
    proxy.become("pass")
    assert (await client.insist(token)).outcome is Outcome.REPLAY
    await settled(client, token, said)
    assert mortal.generation(session) == 1
    await client.store.aclose()
    proxy.close()


async def test_whenever_it_is_killed_there_is_one_successor(mortal: Mortal) -> None:
    client = Client(mortal.url)
    for turn in range(8):
        with redis.Redis.from_url(mortal.url) as server:
            server.flushall()
        token, session = await client.log_in()
        task = asyncio.ensure_future(client.refresh(token))
        for _ in range(turn % 3):
            await asyncio.sleep(0)
        if turn >= 3:
            await asyncio.sleep(random.random() * 0.002)
        mortal.kill()
        said = await outcome_of(task)
        mortal.rise()
        await settled(client, token, said)
        assert mortal.generation(session) == 1
    await client.store.aclose()


async def test_a_store_that_comes_back_empty_ends_sessions_and_accuses_nobody(mortal: Mortal) -> None:
    client = Client(mortal.url)
    token, _ = await client.log_in()
    task = asyncio.ensure_future(client.refresh(token))
    mortal.kill()
    await outcome_of(task)
    mortal.rise()
    with redis.Redis.from_url(mortal.url) as server:
        server.flushall()
    with contextlib.suppress(StoreError):
        assert (await client.insist(token)).outcome is Outcome.UNKNOWN
    await client.store.aclose()
