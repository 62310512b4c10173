"""Servers that hang, die or come back: a call fails in time, alone, and nothing is left broken behind it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise

import pytest
import redis

from lockwatch.errors import StoreError, StoreTimeout
from lockwatch.flow import Reply
from lockwatch.stores.connect import address_of
from lockwatch.stores.redis_async import AsyncRedisStore
from lockwatch.stores.redis_sync import RedisStore
from tests import servers
from tests.contract.bench import SECOND, Ask, admit

DEADLINE = 0.1
GRACE = 1.0
SOON = 15.0
MINUTE = 60 * SECOND
CALL = admit(0, Ask("k", 1000, MINUTE))


class Peer:
    """A server on loopback that does with each connection what it is told."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._open: list[tuple[socket.socket, threading.Thread]] = []
        self._closing = False
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        self._address = self._socket.getsockname()
        self.url = f"redis://127.0.0.1:{self._address[1]}"

    def _accept(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            if self._closing:
                connection.close()
                return
            thread = threading.Thread(target=self._run, args=(connection,), daemon=True)
            self._open.append((connection, thread))
            thread.start()

    def _run(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            self._serve(connection)

    def close(self) -> None:
        """Hang up on everybody."""
        self._closing = True
        socket.create_connection(self._address, 5).close()  # wakes who accepts
        self._thread.join(5)
        self._socket.close()
        for connection, thread in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            connection.close()


def listen(connection: socket.socket) -> None:
    """Read everything and say nothing."""
    while connection.recv(65_536):
        pass


def hang_up(connection: socket.socket) -> None:
    """Read something and leave."""
    connection.recv(65_536)
    connection.close()


def say(answer: bytes) -> Callable[[socket.socket], None]:
    """Answer everything with the same bytes."""

    def serve(connection: socket.socket) -> None:
        while connection.recv(65_536):
            connection.sendall(answer)

    return serve


@pytest.fixture
def silent() -> Iterator[str]:
    peer = Peer(listen)
    yield peer.url
    peer.close()


@pytest.fixture
def dead() -> str:
    return f"redis://127.0.0.1:{servers.free_port()}"


@pytest.fixture
async def heart() -> AsyncIterator[list[float]]:
    """Beats every five milliseconds while the loop is free; when it did."""
    beats = [time.monotonic()]

    async def beat() -> None:
        while True:
            await asyncio.sleep(0.005)
            beats.append(time.monotonic())

    task = asyncio.ensure_future(beat())
    yield beats
    task.cancel()
    await asyncio.wait([task])


def lag(beats: list[float]) -> float:
    """How long the loop stood still at worst, for whatever reason: a busy machine is not the store's fault."""
    return max((b - a for a, b in pairwise(beats)), default=0.0) - 0.005


async def timed(store: AsyncRedisStore) -> tuple[float, Reply | StoreError]:
    """One call, how long it took, and how it ended."""
    began = time.monotonic()
    try:
        outcome: Reply | StoreError = await store.call(CALL)
    except StoreError as error:
        outcome = error
    return time.monotonic() - began, outcome


def timed_blocking(store: RedisStore) -> tuple[float, Reply | StoreError]:
    began = time.monotonic()
    try:
        outcome: Reply | StoreError = store.call(CALL)
    except StoreError as error:
        outcome = error
    return time.monotonic() - began, outcome


# ----------------------------------------------------------------- it fails in time
async def test_a_server_that_never_answers_is_a_timeout(silent: str, heart: list[float]) -> None:
    store = AsyncRedisStore(address_of(silent), DEADLINE)
    took, outcome = await timed(store)
    assert isinstance(outcome, StoreTimeout)
    assert DEADLINE * 0.9 <= took < SOON
    assert took <= DEADLINE + GRACE + lag(heart)
    await store.aclose()


def test_a_server_that_never_answers_is_a_timeout_for_blocking_code(silent: str) -> None:
    store = RedisStore(address_of(silent), DEADLINE)
    for _ in range(2):
        took, outcome = timed_blocking(store)
        assert isinstance(outcome, StoreTimeout)
        assert DEADLINE * 0.9 <= took < SOON
    store.close()


async def test_a_port_without_a_server_is_an_error_at_once(dead: str, heart: list[float]) -> None:
    store = AsyncRedisStore(address_of(dead), DEADLINE)
    for _ in range(3):
        took, outcome = await timed(store)
        assert isinstance(outcome, StoreError)
        assert took <= DEADLINE + GRACE + lag(heart)
    await store.aclose()


def test_a_port_without_a_server_is_an_error_at_once_for_blocking_code(dead: str) -> None:
    store = RedisStore(address_of(dead), DEADLINE)
    for _ in range(3):
        took, outcome = timed_blocking(store)
        assert isinstance(outcome, StoreError)
        assert took < SOON
    store.close()


async def test_a_loop_runs_on_while_a_server_hangs(silent: str, heart: list[float]) -> None:
    store = AsyncRedisStore(address_of(silent), 4.0)
    await timed(store)
    assert len(heart) >= 10
    assert lag(heart) < 3.0  # a loop that waited for the server would have stood still for four seconds
    await store.aclose()


@pytest.mark.parametrize("calls", [1, 64, 1000])
async def test_no_call_waits_longer_than_its_deadline(silent: str, heart: list[float], calls: int) -> None:
    store = AsyncRedisStore(address_of(silent), DEADLINE)
    found = await asyncio.gather(*[timed(store) for _ in range(calls)])
    assert all(isinstance(outcome, StoreTimeout) for _, outcome in found)
    assert max(took for took, _ in found) <= DEADLINE + GRACE + lag(heart)
    await store.aclose()


async def test_calls_that_keep_coming_all_end_by_their_own_deadline(silent: str, heart: list[float]) -> None:
    store = AsyncRedisStore(address_of(silent), DEADLINE)
    calls = []
    for _ in range(60):
        calls.append(asyncio.ensure_future(timed(store)))
        await asyncio.sleep(0.005)
    found = await asyncio.gather(*calls)
    assert all(isinstance(outcome, StoreTimeout) for _, outcome in found)
    assert min(took for took, _ in found) >= DEADLINE * 0.9
    assert max(took for took, _ in found) <= DEADLINE + GRACE + lag(heart)
    await store.aclose()


def test_threads_that_wait_for_a_connection_end_in_time_too(silent: str) -> None:
    store = RedisStore(address_of(silent), DEADLINE, connections=2)
    with ThreadPoolExecutor(8) as pool:
        found = [future.result() for future in [pool.submit(timed_blocking, store) for _ in range(8)]]
    assert all(isinstance(outcome, StoreTimeout) for _, outcome in found)
    assert max(took for took, _ in found) < SOON
    store.close()


# ---------------------------------------------------------- it fails as an outage
ODD = {
    "hangs up": hang_up,
    "an error": say(b"-ERR no\r\n"),
    "loading": say(b"-LOADING Redis is loading the dataset in memory\r\n"),
    "out of memory": say(b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"),
    "a replica": say(b"-READONLY You can't write against a read only replica.\r\n"),
    "no scripts at all": say(b"-NOSCRIPT No matching script.\r\n"),
    "not allowed": say(b"-NOPERM this user has no permissions to run the 'evalsha' command\r\n"),
    "no password": say(b"-NOAUTH Authentication required.\r\n"),
    "nothing": say(b"$-1\r\n"),
    "a number": say(b":1\r\n"),
    "OK": say(b"+OK\r\n"),
    "an array": say(b"*0\r\n"),
    "other words": say(b"$5\r\nhello\r\n"),
    "too many lines": say(b"$3\r\n1\n2\r\n"),
    "another protocol": say(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "bytes": say(b"\xff\xfe\x00\r\n"),
}


@pytest.mark.parametrize("serve", ODD.values(), ids=ODD.keys())
async def test_whatever_a_server_says_is_at_worst_an_outage(serve: Callable[[socket.socket], None]) -> None:
    peer = Peer(serve)
    store = AsyncRedisStore(address_of(peer.url), DEADLINE)
    for _ in range(6):
        took, outcome = await timed(store)
        assert isinstance(outcome, StoreError), outcome
        assert took < SOON
    await store.aclose()
    peer.close()


@pytest.mark.parametrize("serve", ODD.values(), ids=ODD.keys())
def test_whatever_a_server_says_is_at_worst_an_outage_for_blocking_code(serve: Callable[[socket.socket], None]) -> None:
    peer = Peer(serve)
    store = RedisStore(address_of(peer.url), DEADLINE, connections=2)
    for _ in range(6):
        took, outcome = timed_blocking(store)
        assert isinstance(outcome, StoreError), outcome
        assert took < SOON
    store.close()
    peer.close()


# ------------------------------------------------------------------ it comes back
async def test_a_server_that_paused_is_used_again_and_no_answer_goes_astray(redis_server: str) -> None:
    store = AsyncRedisStore(address_of(redis_server), 1.0)
    with redis.Redis.from_url(redis_server) as client:
        await until_answered(store)
        client.client_pause(60_000, all=False)
        found = await asyncio.gather(*[timed(store) for _ in range(300)])
        assert all(isinstance(outcome, StoreTimeout) for _, outcome in found)
        client.client_unpause()
    await until_answered(store)
    keys = [f"k{i}" for i in range(200)]
    replies = await asyncio.gather(*[store.call(admit(0, Ask(key, 500 + i, MINUTE))) for i, key in enumerate(keys)])
    assert [reply[1] for reply in replies] == [499 + i for i in range(200)]
    await store.aclose()


def test_a_server_that_paused_is_used_again_and_no_answer_goes_astray_for_blocking_code(redis_server: str) -> None:
    store = RedisStore(address_of(redis_server), DEADLINE, connections=2)
    with redis.Redis.from_url(redis_server) as client:
        client.client_pause(60_000, all=False)
        assert all(isinstance(timed_blocking(store)[1], StoreTimeout) for _ in range(3))
        client.client_unpause()
    answered(lambda: store.call(CALL))
    for i in range(20):
        reply = answered(partial(store.call, admit(0, Ask(f"k{i}", 500 + i, MINUTE))))
        assert reply[1] in {499 + i, 498 + i}  # a call that came too late may have been counted
    store.close()


async def test_a_server_that_was_restarted_is_found_again() -> None:
    process = servers.start_redis()
    url = f"redis://127.0.0.1:{process.port}"
    store, blocking = AsyncRedisStore(address_of(url), DEADLINE), RedisStore(address_of(url), DEADLINE, connections=2)
    await until_answered(store)
    answered(lambda: blocking.call(CALL))
    process.stop()
    assert isinstance((await timed(store))[1], StoreError)
    assert isinstance(timed_blocking(blocking)[1], StoreError)
    again = servers.start_redis(port=process.port)
    await until_answered(store)
    answered(lambda: blocking.call(CALL))
    await store.aclose()
    blocking.close()
    again.stop()


async def test_connections_the_server_closed_while_nobody_used_them_are_no_outage(redis_server: str) -> None:
    store = AsyncRedisStore(address_of(redis_server), 10.0)
    with redis.Redis.from_url(redis_server) as client:
        for round_ in range(3):
            found = await asyncio.gather(*[timed(store) for _ in range(200)])
            assert not [outcome for _, outcome in found if isinstance(outcome, StoreError)], round_
            client.client_kill_filter(_type="normal", skipme=True)
            await asyncio.sleep(0.02)
    await store.aclose()


def test_connections_the_server_closed_while_nobody_used_them_are_no_outage_for_blocking_code(
    redis_server: str,
) -> None:
    store = RedisStore(address_of(redis_server), 10.0, connections=4)
    with redis.Redis.from_url(redis_server) as client, ThreadPoolExecutor(4) as pool:
        for round_ in range(3):
            found = [future.result() for future in [pool.submit(timed_blocking, store) for _ in range(40)]]
            assert not [outcome for _, outcome in found if isinstance(outcome, StoreError)], round_
            client.client_kill_filter(_type="normal", skipme=True)
    store.close()


async def until_answered(store: AsyncRedisStore) -> Reply:
    """The first answer; a busy machine may miss a deadline, but not again and again."""
    ends = time.monotonic() + 20
    while time.monotonic() < ends:
        _, outcome = await timed(store)
        if not isinstance(outcome, StoreError):
            return outcome
        await asyncio.sleep(0.01)
    raise AssertionError(outcome)


def answered(call: Callable[[], Reply]) -> Reply:
    ends = time.monotonic() + 20
    while time.monotonic() < ends:
        with contextlib.suppress(StoreError):
            return call()
        time.sleep(0.01)
    raise AssertionError("never answered")


# --------------------------------------------------------------- our own loop blocks
@pytest.mark.timing
@pytest.mark.parametrize("blocked", [0.12, 0.32, 0.8])
async def test_an_answer_that_came_while_our_own_loop_was_blocked_counts(redis_server: str, blocked: float) -> None:
    store = AsyncRedisStore(address_of(redis_server), 0.2)
    await until_answered(store)
    for _ in range(3):
        calls = [asyncio.ensure_future(timed(store)) for _ in range(20)]
        await sent()
        time.sleep(blocked)
        found = await asyncio.gather(*calls)
        assert not [outcome for _, outcome in found if isinstance(outcome, StoreError)]
    await store.aclose()


async def sent(ticks: int = 6) -> None:
    """Let what was asked leave."""
    for _ in range(ticks):
        await asyncio.sleep(0)


async def test_a_loop_blocked_again_and_again_loses_no_connection(redis_server: str) -> None:
    """A call whose deadline passes before it could even be sent fails; the ones after it do not."""
    store = AsyncRedisStore(address_of(redis_server), 0.05, lanes=1)
    for _ in range(3):
        await until_answered(store)
        time.sleep(0.08)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        late = asyncio.ensure_future(timed(store))
        await asyncio.sleep(0)
        time.sleep(0.08)
        await late
    assert (await until_answered(store))[0] == 1
    await store.aclose()


@pytest.mark.parametrize("lanes", [1, 4])
async def test_a_busy_application_on_a_slow_server_recovers(redis_server: str, lanes: int) -> None:
    store = AsyncRedisStore(address_of(redis_server), 0.02, lanes=lanes)
    with redis.Redis.from_url(redis_server) as client:
        for _ in range(12):
            client.client_pause(15)
            calls = [asyncio.ensure_future(timed(store)) for _ in range(100)]
            for _ in range(6):
                time.sleep(0.007)
                await asyncio.sleep(0)
            await asyncio.wait(calls)
    await until_answered(store)
    await store.aclose()


async def test_time_that_was_lost_before_a_call_is_not_added_to_its_deadline(silent: str, heart: list[float]) -> None:
    store = AsyncRedisStore(address_of(silent), DEADLINE)
    first = asyncio.ensure_future(timed(store))
    await sent()
    time.sleep(2 * GRACE)
    heart.clear()
    took, outcome = await timed(store)
    assert isinstance(outcome, StoreTimeout)
    assert took <= DEADLINE + GRACE + lag(heart)
    await first
    await store.aclose()


# -------------------------------------------------------------- callers that leave
async def test_callers_that_gave_up_do_not_hold_up_the_others(redis_server: str) -> None:
    store = AsyncRedisStore(address_of(redis_server), 10.0, lanes=1)
    await until_answered(store)
    with redis.Redis.from_url(redis_server) as client:
        client.client_pause(50)
        first = asyncio.ensure_future(timed(store))
        await sent()
        leaving = [asyncio.ensure_future(timed(store)) for _ in range(200)]
        staying = asyncio.ensure_future(timed(store))
        await sent()
        for task in leaving:
            task.cancel()
        for took, outcome in (await first, await staying):
            assert not isinstance(outcome, StoreError), outcome
            assert took < 9.0
    await store.aclose()


async def test_a_caller_that_gave_up_costs_the_others_of_its_batch_nothing(redis_server: str) -> None:
    store = AsyncRedisStore(address_of(redis_server), 10.0)
    await until_answered(store)
    with redis.Redis.from_url(redis_server) as client:
        client.client_pause(50)
    calls = [asyncio.ensure_future(timed(store)) for _ in range(50)]
    await sent()
    for task in calls[::2]:
        task.cancel()
    for _, outcome in await asyncio.gather(*calls[1::2]):
        assert not isinstance(outcome, StoreError)
    assert all(task.cancelled() for task in calls[::2])
    await store.aclose()


@pytest.mark.parametrize("warm", [True, False])
@pytest.mark.parametrize("ticks", range(1, 7))
async def test_closing_ends_the_calls_that_wait(silent: str, ticks: int, warm: bool) -> None:
    store = AsyncRedisStore(address_of(silent), 5.0)
    if warm:
        asyncio.ensure_future(timed(store)).cancel()
        await sent()
    calls = [asyncio.ensure_future(timed(store)) for _ in range(300)]
    await sent(ticks)
    began = time.monotonic()
    await store.aclose()
    found = await asyncio.wait_for(asyncio.gather(*calls), SOON)
    assert all(isinstance(outcome, StoreError) for _, outcome in found)
    assert time.monotonic() - began < SOON
