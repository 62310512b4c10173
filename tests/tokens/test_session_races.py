"""Many at once on one session, in tasks and in real processes; and processes that die in the middle."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from lockwatch.stores.connect import address_of
from lockwatch.stores.redis_async import AsyncRedisStore
from lockwatch.tokens.outcomes import Outcome, Rotation
from tests.contract.bench import PATIENT
from tests.tokens.desk import Desk

CROWD = 60
ROUNDS = 15


@pytest.fixture
async def desk(redis_server: str) -> AsyncIterator[Desk]:
    made = Desk("redis-async", redis_server)
    made.store.clock.us = int(time.time() * 1_000_000)
    yield made
    await made.close()


def assert_one_winner(found: list[Rotation]) -> str:
    """One rotated, the others got the same successor; which one it is."""
    assert Counter(r.outcome for r in found) == {Outcome.ROTATED: 1, Outcome.REPLAY: len(found) - 1}
    (successor,) = {r.refresh_token for r in found}
    return successor


async def test_a_crowd_that_refreshes_one_token_gets_one_successor(desk: Desk, redis_server: str) -> None:
    stores = [AsyncRedisStore(address_of(redis_server), PATIENT, batch=3) for _ in range(4)]
    desks = [Desk("memory", "") for _ in stores]
    for each, store in zip(desks, stores, strict=True):
        each.store.store, each.store.clock = store, desk.clock
    token = (await desk.login()).refresh_token
    for generation in range(1, ROUNDS + 1):
        found = await asyncio.gather(*[desks[i % 4].refresh(token) for i in range(CROWD)])
        token = assert_one_winner(found)
        assert {r.generation for r in found} == {generation}
        desk.clock.advance(11)
    for store in stores:
        await store.aclose()


async def test_after_a_crowd_the_used_token_ends_the_session_for_all(desk: Desk) -> None:
    login = await desk.login()
    token = assert_one_winner(await asyncio.gather(*[desk.refresh(login.refresh_token) for _ in range(CROWD)]))
    desk.clock.advance(11)
    found = await asyncio.gather(*[desk.outcome(login.refresh_token) for _ in range(CROWD)])
    assert Counter(found) == {Outcome.REUSE: 1, Outcome.REVOKED: CROWD - 1}
    assert await desk.outcome(token) is Outcome.REVOKED
    assert await desk.standing(login.session) is Outcome.REVOKED


@pytest.mark.parametrize("turn", range(5))
async def test_a_revocation_that_races_refreshes_wins_in_the_end(desk: Desk, turn: int) -> None:
    login = await desk.login()
    refreshes = [desk.refresh(login.refresh_token) for _ in range(CROWD)]
    revocation = desk.do(desk.sessions.revoke(login.session, desk.clock.now))
    *found, _ = await asyncio.gather(*refreshes[: turn * 12], revocation, *refreshes[turn * 12 :])
    tokens = {r.refresh_token for r in found if isinstance(r, Rotation) and r.outcome.renewed} | {login.refresh_token}
    assert len(tokens) <= 2
    assert {await desk.outcome(token) for token in tokens} == {Outcome.REVOKED}
    assert await desk.standing(login.session) is Outcome.REVOKED


async def test_a_session_that_races_the_revocation_of_all_is_revoked_or_began_after(desk: Desk) -> None:
    for _ in range(ROUNDS):
        before = [await desk.login() for _ in range(3)]
        logins = [desk.login() for _ in range(20)]
        everywhere = desk.do(desk.sessions.revoke_subject("user:42", desk.clock.now))
        made, revoked = await asyncio.gather(asyncio.gather(*logins), everywhere)
        ended = set(revoked.sessions)
        assert {login.session for login in before} <= ended
        for login in made:
            expected = Outcome.REVOKED if login.session in ended else Outcome.LIVE
            assert await desk.standing(login.session) is expected
        await desk.do(desk.sessions.revoke_subject("user:42", desk.clock.now))


# ------------------------------------------------------------ processes
CHILD = """
import os, sys, time
from lockwatch.flow import run
from lockwatch.stores.connect import address_of
from lockwatch.stores.memory import MemoryStore
from lockwatch.stores.redis_sync import RedisStore
from lockwatch.tokens.policy import SessionPolicy
from tests.tokens.desk import make_sessions
url, token, job, count = sys.argv[1:]
store, local, sessions = RedisStore(address_of(url), 10.0), MemoryStore(), make_sessions(SessionPolicy(grace=60))
do = lambda flow: run(flow, store, local)
print("ready", flush=True)
sys.stdin.readline()
if job == "refresh":
    for _ in range(int(count)):
        found = do(sessions.rotate(token, time.time(), os.urandom(64)))
        print(found.outcome.name, found.refresh_token, flush=True)
else:
    revoked = do(sessions.revoke_token(token, time.time()))
    print("REVOCATION", len(revoked.sessions), flush=True)
"""


class Process:
    """A process of its own that refreshes, or revokes, when told."""

    def __init__(self, script: str, *arguments: str) -> None:
        command = [sys.executable, "-W", "error", "-c", script, *arguments]
        self.popen = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.popen.stdout is not None
        assert self.popen.stdout.readline() == "ready\n"

    def start(self) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write("\n")
        self.popen.stdin.flush()

    def lines(self, code: int = 0) -> list[list[str]]:
        """What it said, when it is over."""
        out, error = self.popen.communicate(timeout=110)
        assert (self.popen.returncode, error) == (code, "")
        return [line.split() for line in out.splitlines()]


async def test_processes_that_refresh_one_token_get_one_successor(desk: Desk, redis_server: str) -> None:
    token = (await desk.login()).refresh_token
    processes = [Process(CHILD, redis_server, token, "refresh", "15") for _ in range(4)]
    for process in processes:
        process.start()
    said = [line for process in processes for line in process.lines()]
    assert Counter(line[0] for line in said) == {"ROTATED": 1, "REPLAY": CROWD - 1}
    assert len({line[1] for line in said}) == 1


async def test_processes_that_revoke_while_others_refresh_leave_nothing_alive(desk: Desk, redis_server: str) -> None:
    login = await desk.login()
    jobs = ["refresh", "revoke", "refresh", "revoke"]
    processes = [Process(CHILD, redis_server, login.refresh_token, job, "10") for job in jobs]
    for process in processes:
        process.start()
    said = [line for process in processes for line in process.lines()]
    assert sum(int(line[1]) for line in said if line[0] == "REVOCATION") == 1
    assert {line[0] for line in said} <= {"ROTATED", "REPLAY", "REVOKED", "REVOCATION"}
    for token in {line[1] for line in said if line[0] in ("ROTATED", "REPLAY")} | {login.refresh_token}:
        assert await desk.outcome(token) is Outcome.REVOKED


KILLED = """
import os, signal, sys, time
from lockwatch.flow import run
from lockwatch.stores.connect import address_of
from lockwatch.stores.memory import MemoryStore
from lockwatch.stores.redis_sync import RedisStore
from tests.tokens.desk import make_sessions

class Killed:
    def __init__(self, store):
        self.store = store
    def call(self, call):
        reply = self.store.call(call)
        if call.script == "rotate":
            os.kill(os.getpid(), signal.SIGKILL)
        return reply

print("ready", flush=True)
sys.stdin.readline()
store = Killed(RedisStore(address_of(sys.argv[1]), 10.0))
run(make_sessions().rotate(sys.argv[2], time.time(), os.urandom(64)), store, MemoryStore())
"""


async def test_a_process_killed_between_commit_and_response_costs_nobody_the_session(desk: Desk, redis_server: str) -> None:
    login = await desk.login()
    process = Process(KILLED, redis_server, login.refresh_token)
    process.start()
    assert process.lines(-signal.SIGKILL) == []
    again = await desk.refresh(login.refresh_token)
    assert (again.outcome, again.generation) == (Outcome.REPLAY, 1)
    desk.clock.us = int(time.time() * 1_000_000)
    desk.clock.advance(11)
    assert (await desk.refresh(again.refresh_token)).generation == 2


async def test_a_lost_response_is_repeated_and_after_the_grace_the_session_ends(desk: Desk) -> None:
    token = (await desk.login()).refresh_token
    await desk.refresh(token)  # the response is lost
    lost = await desk.refresh(token)
    desk.clock.advance(11)
    assert await desk.outcome(lost.refresh_token) is Outcome.ROTATED
    assert await desk.outcome(token) is Outcome.REUSE


def test_entropy_is_never_stretched() -> None:
    desk = Desk("memory", "")
    with pytest.raises(ValueError, match="64 random bytes"):
        asyncio.run(desk.do(desk.sessions.rotate(asyncio.run(desk.login()).refresh_token, 0, os.urandom(20))))
