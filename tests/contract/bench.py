"""Every kind of store behind one face, under a clock that a test sets."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final, NamedTuple

from lockwatch.errors import StoreError
from lockwatch.flow import Call, Reply
from lockwatch.stores import wire
from lockwatch.stores.connect import address_of, sync_pool
from lockwatch.stores.memory import MemoryStore
from lockwatch.stores.redis_async import AsyncRedisStore
from lockwatch.stores.redis_sync import RedisStore

MILLISECOND: Final = 1_000
SECOND: Final = 1_000_000
START: Final = 1_700_000_000 * SECOND
"""When a test begins: a time a server's clock may show, with room below it."""
REAL: Final = ("redis", "redis-async")
KINDS: Final = ("memory", "fake", "fake-async", *REAL)
BATCH: Final = 64
"""How many calls of one tick travel together, and in order."""
SHADOW, LOOSE, HELD, PENALTY, LOOK = 1, 2, 4, 8, 16
FLAGS: Final = 32
"""A mode is an algorithm times this, and flags."""
WINDOW, SET, COUNTER, GCRA, FIXED, CONCURRENT = range(6)
NAMES: Final = ("sliding-window", "sorted-set", "sliding-counter", "gcra", "fixed-window", "concurrent")
PATIENT: Final = 10.0
"""A deadline no test here is about."""


class Verdict(NamedTuple):
    """What a script says about one bucket, in microseconds."""

    allowed: int
    remaining: int
    retry: int
    reset: int
    following: int
    receipt: int = 0


class Ask(NamedTuple):
    """One bucket in a call."""

    key: str
    quota: int
    span: int
    cost: int = 1
    shadow: int = 0
    mode: int = 0
    burst: int = 0

    @property
    def keys(self) -> tuple[str, ...]:
        """Its bucket, and its open reservations if it has any."""
        return (self.key, held_by(self.key)) if self.mode & HELD and self.mode // FLAGS != CONCURRENT else (self.key,)

    @property
    def limit(self) -> tuple[int, int, int, int]:
        """Mode, quota, span and burst."""
        return (self.mode | self.shadow, self.quota, self.span, self.burst)


def fake(name: str) -> Any:
    """A fakeredis client with a server of its own. It takes long to import: not for child processes."""
    fakeredis = import_module("fakeredis")
    return getattr(fakeredis, name)(server=fakeredis.FakeServer())


def make_store(kind: str, url: str) -> MemoryStore | RedisStore | AsyncRedisStore:
    """A store of its own; those on a real server share the server at `url`."""
    if kind == "memory":
        return MemoryStore()
    if kind == "fake":
        return RedisStore(address_of(fake("FakeRedis")), PATIENT)
    if kind == "fake-async":
        return AsyncRedisStore(address_of(fake("FakeAsyncRedis")), PATIENT)
    return RedisStore(address_of(url), PATIENT) if kind == "redis" else AsyncRedisStore(address_of(url), PATIENT)


def admit(now: int, *asks: Ask, script: str = "admit") -> Call:
    """The call that asks for all of `asks`."""
    numbers = [number for ask in asks for number in (*ask.limit, ask.cost)]
    return Call(script, tuple([key for ask in asks for key in ask.keys]), (now, *numbers))


def settle(now: int, *items: tuple[Ask, int, int]) -> Call:
    """The call that settles charges: what was asked, its receipt, what it came to."""
    numbers = [number for ask, receipt, actual in items for number in (*ask.limit, receipt, ask.cost, actual)]
    return Call("settle", tuple([key for ask, _, _ in items for key in ask.keys]), (now, *numbers))


def held_by(key: str) -> str:
    """Where the open reservations of a bucket are."""
    return f"{key}:open"


def verdicts(reply: Reply) -> list[Verdict]:
    """A reply, bucket by bucket."""
    assert len(reply) % 6 == 0
    return [Verdict(*reply[i : i + 6]) for i in range(0, len(reply), 6)]


def others(client: Any) -> list[bytes]:
    """The keys on a server but those by which applications of other tests say that they live, until their threads have ended."""
    found: list[bytes] = client.keys()
    return [key for key in found if not key.endswith(b":workers")]


class Bench:
    """A store, and the time it is told."""

    def __init__(self, kind: str, url: str) -> None:
        self.kind = kind
        self.url = url
        self.store: Any = make_store(kind, url)
        self.now = START

    async def call(self, call: Call) -> Reply:
        """Run one script."""
        reply = self.store.call(call)
        found: Reply = await reply if inspect.isawaitable(reply) else reply
        return found

    async def calls(self, calls: Sequence[Call]) -> list[Reply]:
        """Run scripts in their order, together where the store can."""
        if "async" not in self.kind:
            return [self.store.call(call) for call in calls]
        found: list[Reply] = []
        for i in range(0, len(calls), BATCH):
            found += await asyncio.gather(*[self.store.call(call) for call in calls[i : i + BATCH]])
        return found

    async def outcomes(self, calls: Sequence[Call]) -> list[Reply | StoreError]:
        """Run scripts, each of which may fail alone."""
        outcomes: list[Reply | StoreError] = []
        if "async" in self.kind:
            for found in await asyncio.gather(*[self.store.call(c) for c in calls], return_exceptions=True):
                assert not isinstance(found, BaseException) or isinstance(found, StoreError), found
                outcomes.append(found)
            return outcomes
        for call in calls:
            try:
                outcomes.append(self.store.call(call))
            except StoreError as error:
                outcomes.append(error)
        return outcomes

    async def take(self, quota: int, span: int, cost: int = 1, *, key: str = "k", shadow: int = 0) -> Verdict:
        """Ask for `cost` of one bucket now."""
        (verdict,) = await self.take_all(Ask(key, quota, span, cost, shadow))
        return verdict

    async def take_all(self, *asks: Ask) -> list[Verdict]:
        """Ask several buckets at once now."""
        return verdicts(await self.call(admit(self.now, *asks)))

    async def peek(self, quota: int, span: int, cost: int = 1, *, key: str = "k") -> Verdict:
        """What `take` would say."""
        (verdict,) = await self.peek_all(Ask(key, quota, span, cost))
        return verdict

    async def peek_all(self, *asks: Ask) -> list[Verdict]:
        """What `take_all` would say."""
        return verdicts(await self.call(admit(self.now, *asks, script="peek")))

    async def ask(self, ask: Ask) -> Verdict:
        """Ask one bucket now."""
        (verdict,) = await self.take_all(ask)
        return verdict

    async def settle(self, ask: Ask, receipt: int, actual: int) -> int:
        """Say what a charge came to; by how much what counts has changed."""
        (change,) = await self.call(settle(self.now, (ask, receipt, actual)))
        return change

    async def reset(self, *keys: str) -> int:
        """Forget buckets; how many there were."""
        (found,) = await self.call(Call("reset", keys, ()))
        return found

    async def close(self) -> None:
        """Give everything back."""
        closed = getattr(self.store, "aclose", None) or getattr(self.store, "close", None)
        if closed is not None and inspect.isawaitable(waiting := closed()):
            await waiting


class Line:
    """One connection to a real server, on which whole histories travel as one batch."""

    def __init__(self, url: str) -> None:
        self._connection = sync_pool(address_of(url), PATIENT).make_connection()
        self.call([Call("peek", (), (0,))], whole=True)

    def call(self, calls: Sequence[Call], whole: bool = False) -> list[Reply | StoreError]:
        """Run scripts in their order, in one round trip."""
        self._connection.send_packed_command([wire.command(calls, whole)])
        return wire.replies(self._connection.read_response(disable_decoding=True), len(calls))

    def close(self) -> None:
        """Hang up."""
        self._connection.disconnect()
