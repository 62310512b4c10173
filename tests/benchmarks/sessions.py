"""``sessions``: what a refresh and a check of an access token cost on a real Redis, beside one `PING`; and bytes per session."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final, TypeAlias

import redis
import redis.asyncio

from lockwatch.flow import run, run_async
from lockwatch.stores.connect import address_of
from lockwatch.stores.memory import MemoryStore
from lockwatch.stores.redis_async import AsyncRedisStore
from lockwatch.stores.redis_sync import RedisStore
from lockwatch.tokens.names import Names
from lockwatch.tokens.outcomes import Grant, Outcome
from lockwatch.tokens.policy import SessionPolicy
from lockwatch.tokens.refresh import Opaque
from lockwatch.tokens.sealing import Sealer
from lockwatch.tokens.sessions import Sessions
from tests.benchmarks.machine import cores, description, pin
from tests.benchmarks.redis_checks import PING, SYNC_PING
from tests.benchmarks.rounds import alternating, compared
from tests.benchmarks.table import Report, Table
from tests.servers import start_redis

USERS: Final = 200
DEVICE: Final = {"ip": "203.0.113.9", "agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"}
GRANT: Final = {"roles": ["reader"], "scope": "profile reports"}
_PATIENT: Final = 5.0
Spent: TypeAlias = Callable[[], float]
"""Seconds that processors have worked for the measurement."""


class Users:
    """So many sessions, each with its newest refresh token."""

    def __init__(self, namespace: str) -> None:
        secrets = (b"a secret for a benchmark of sessions",)
        # A grace of a microsecond, so that every refresh seals a successor, and rotates.
        policy = SessionPolicy(grace=0.000001)
        self.sessions = Sessions(Names(namespace), Sealer(secrets, namespace), Opaque(secrets, namespace), policy)
        self.tokens: list[str] = []
        self.names: list[str] = []
        self.memory = MemoryStore()
        self._next = 0

    def log_in(self, store: RedisStore) -> None:
        """Begin all sessions."""
        for n in range(USERS):
            issued = run(self.sessions.issue(Grant(f"user:{n}", GRANT), time.time(), os.urandom(64), DEVICE), store, self.memory)
            self.tokens.append(issued.refresh_token)
            self.names.append(issued.session)

    def turn(self) -> int:
        """Whose turn it is."""
        self._next = (self._next + 1) % USERS
        return self._next

    async def refresh(self, store: AsyncRedisStore, device: bool) -> None:
        """Rotate the token of the next user."""
        n = self.turn()
        flow = self.sessions.rotate(self.tokens[n], time.time(), os.urandom(64), DEVICE if device else None)
        found = await run_async(flow, store, self.memory)
        assert found.outcome is Outcome.ROTATED
        self.tokens[n] = found.refresh_token

    def refresh_sync(self, store: RedisStore) -> None:
        """The same for blocking code."""
        n = self.turn()
        found = run(self.sessions.rotate(self.tokens[n], time.time(), os.urandom(64)), store, self.memory)
        assert found.outcome is Outcome.ROTATED
        self.tokens[n] = found.refresh_token

    async def check(self, store: AsyncRedisStore) -> None:
        """Ask after an access token of the next user."""
        name = self.names[self.turn()]
        assert (await run_async(self.sessions.standing(name, name), store, self.memory)).live


def run_all(rounds: int, checks: int) -> Report:
    """Measure in this process, with Redis on another core."""
    server = start_redis()
    pin(server.popen.pid, cores().load)
    pin(0, cores().server)
    url = f"redis://127.0.0.1:{server.port}/0"
    try:
        spent = partial(_processor_time, server.popen.pid)
        waiting, blocking = asyncio.run(_waiting(url, rounds, checks, spent)), _blocking(url, rounds, checks, spent)
        found = (*waiting, *blocking, _memory(url))
    finally:
        server.stop()
    return Report((*description(Path.cwd()), f"store: {server.origin}; {rounds} interleaved rounds of {checks:,}"), found)


async def _waiting(url: str, rounds: int, checks: int, spent: Spent) -> tuple[Table, Table]:
    store, users = AsyncRedisStore(address_of(url), _PATIENT), Users("waiting")
    users.log_in(RedisStore(address_of(url), _PATIENT))
    client = redis.asyncio.Redis.from_url(url)

    async def ping() -> None:
        await client.ping()

    contenders: dict[str, Callable[[], Awaitable[None]]] = {
        PING: ping,
        "refresh": lambda: users.refresh(store, False),
        "refresh, with a device": lambda: users.refresh(store, True),
        "check of an access token": lambda: users.check(store),
    }
    costs = Costs(contenders, checks, spent)
    for turn in range(rounds + 1):
        for name, work in alternating(contenders, turn):
            costs.begin()
            for _ in range(checks):
                await work()
            costs.end(name, turn)
    await store.aclose()
    await client.aclose()
    return costs.tables("Sessions on Redis, async, one at a time", PING)


def _blocking(url: str, rounds: int, checks: int, spent: Spent) -> tuple[Table, Table]:
    store, users, client = RedisStore(address_of(url), _PATIENT), Users("blocking"), redis.Redis.from_url(url)
    users.log_in(store)
    contenders: dict[str, Callable[[], object]] = {SYNC_PING: client.ping, "refresh": lambda: users.refresh_sync(store)}
    costs = Costs(contenders, checks, spent)
    for turn in range(rounds + 1):
        for name, work in alternating(contenders, turn):
            costs.begin()
            for _ in range(checks):
                work()
            costs.end(name, turn)
    store.close()
    client.close()
    return costs.tables("Sessions on Redis, blocking", SYNC_PING)


class Costs:
    """Microseconds per call, on the clock and on the processors; the first round warms up and is left out."""

    def __init__(self, contenders: Iterable[str], checks: int, spent: Spent) -> None:
        self._clock: dict[str, list[float]] = {name: [] for name in contenders}
        self._used: dict[str, list[float]] = {name: [] for name in self._clock}
        self._checks, self._spent = checks, spent

    def begin(self) -> None:
        """Note when the work of a contender begins."""
        self._began = self._spent(), time.perf_counter()

    def end(self, name: str, turn: int) -> None:
        """Note what it cost."""
        clock, used = time.perf_counter() - self._began[1], self._spent() - self._began[0]
        if turn:
            self._clock[name].append(clock / self._checks * 1e6)
            self._used[name].append(used / self._checks * 1e6)

    def tables(self, title: str, reference: str) -> tuple[Table, Table]:
        """By the clock, which neighbours disturb, and by the processors, which they disturb less."""
        used = compared(f"{title}: processor time of client and server together", self._used, reference)
        return compared(title, self._clock, reference), used


def _processor_time(pid: int) -> float:
    """Seconds that this process and a server have computed, all their threads together."""
    tasks = [task / "schedstat" for task in Path(f"/proc/{pid}/task").iterdir()]
    return time.process_time() + sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def _memory(url: str) -> Table:
    """What `MEMORY USAGE` says of a subject with so many sessions."""
    rows: list[tuple[str, ...]] = []
    with redis.Redis.from_url(url) as client:
        store = RedisStore(address_of(url), _PATIENT)
        for sessions in (1, 3, 100):
            users = Users(f"memory{sessions}")
            for subject in range(20):
                for _ in range(sessions):
                    grant = Grant(f"user:{subject}", GRANT)
                    run(users.sessions.issue(grant, time.time(), os.urandom(64), DEVICE), store, users.memory)
            keys = client.scan_iter(f"memory{sessions}:*:sessions:*")
            used = [client.memory_usage(key, samples=0) for key in keys]
            rows.append((f"{sessions} of one subject", f"{median(used) / sessions:,.0f}"))
        store.close()
    return Table("Memory per session, grant and device sealed in it", ("sessions", "bytes each"), tuple(rows))
