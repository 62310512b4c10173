"""Sentinel: whom to believe, whom to pass over, and when to ask again."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TypeAlias

import pytest
import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel

from lockwatch.errors import StoreError
from lockwatch.stores.connect import address_of
from lockwatch.stores.redis_async import AsyncRedisStore
from lockwatch.stores.redis_sync import RedisStore
from tests import servers
from tests.contract.bench import SECOND, Ask, admit
from tests.servers import Proc
from tests.topology import sites
from tests.topology.sites import SERVICE, Site

HOUR = 3600 * SECOND
PATIENT = 20.0
SOON = 15.0
CALL = admit(0, Ask("k", 50, HOUR))


class FakeSentinel:
    """Names a master; counts how often it was asked; may be silent."""

    def __init__(self, port: int, epoch: int = 1, silent: bool = False) -> None:
        self.master = port
        self.epoch = epoch
        self.silent = silent
        self.asked = 0
        self._open: list[socket.socket] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as stream:
            while header := stream.readline():
                words = [stream.read(int(stream.readline()[1:]) + 2)[:-2] for _ in range(int(header[1:]))]
                if not self.silent:
                    connection.sendall(self._answer(words))

    def _answer(self, words: list[bytes]) -> bytes:
        if words[:2] != [b"SENTINEL", b"MASTER"]:
            return b"+OK\r\n"
        if words[2] != SERVICE.encode():
            return b"-ERR No such master with that name\r\n"
        self.asked += 1
        fields = ["name", SERVICE, "ip", "127.0.0.1", "port", str(self.master), "config-epoch", str(self.epoch)]
        return f"*{len(fields)}\r\n".encode() + b"".join(f"${len(f)}\r\n{f}\r\n".encode() for f in fields)

    def close(self) -> None:
        for opened in (self._socket, *self._open):
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
            opened.close()


Remaining: TypeAlias = Callable[[], Awaitable[int]]
Open: TypeAlias = Callable[..., Remaining]
Making: TypeAlias = Callable[..., FakeSentinel]


@pytest.fixture
def sentinel() -> Iterator[Making]:
    made: list[FakeSentinel] = []

    def make(port: int, **options: object) -> FakeSentinel:
        made.append(FakeSentinel(port, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[servers.Proc, servers.Proc]]:
    """Two servers that know nothing of each other."""
    both = servers.start_redis(), servers.start_redis()
    yield both
    for one in both:
        one.stop()


@pytest.fixture
def old(pair: tuple[servers.Proc, servers.Proc]) -> servers.Proc:
    """The master of before, empty."""
    for one in pair:
        sites.ask(one.port, "REPLICAOF", "NO", "ONE")
        sites.ask(one.port, "FLUSHALL")
    return pair[0]


@pytest.fixture
def new(pair: tuple[servers.Proc, servers.Proc]) -> servers.Proc:
    """The master of now, empty."""
    return pair[1]


def url(*sentinels: FakeSentinel | int, service: str = SERVICE) -> str:
    ports = [one if isinstance(one, int) else one.port for one in sentinels]
    return f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in ports)}/{service}"


@pytest.fixture(params=["redis", "redis-async"])
async def open_store(request: pytest.FixtureRequest) -> AsyncIterator[Open]:
    """Makes a store; what a call leaves of its quota."""
    stores: list[AsyncRedisStore | RedisStore] = []

    def make(source: object, deadline: float = PATIENT) -> Remaining:
        kind = RedisStore if request.param == "redis" else AsyncRedisStore
        store = kind(address_of(source), deadline)
        stores.append(store)

        async def remaining() -> int:
            return store.call(CALL)[1] if isinstance(store, RedisStore) else (await store.call(CALL))[1]

        return remaining

    yield make
    for store in stores:
        if isinstance(store, AsyncRedisStore):
            await store.aclose()
        else:
            store.close()


# ---------------------------------------------------------------------- whom to believe
async def test_a_sentinel_that_was_cut_off_does_not_name_the_master(
    old: Proc, new: Proc, sentinel: Making, open_store: Open
) -> None:
    """The one with the newest configuration does, of a majority."""
    remaining = open_store(url(sentinel(old.port, epoch=3), sentinel(new.port, epoch=4), sentinel(0, silent=True)))
    assert await remaining() == 49
    assert (sites.ask(old.port, "DBSIZE"), sites.ask(new.port, "DBSIZE")) == (0, 1)


async def test_dead_and_silent_sentinels_cost_no_time(old: Proc, sentinel: Making, open_store: Open) -> None:
    gone = [servers.free_port(), sentinel(0, silent=True)]
    remaining = open_store(url(*gone, sentinel(old.port), sentinel(old.port), sentinel(old.port)))
    began = time.monotonic()
    assert await remaining() == 49
    assert time.monotonic() - began < SOON


async def test_one_sentinel_left_of_three_will_do_after_the_deadline(old: Proc, sentinel: Making, open_store: Open) -> None:
    remaining = open_store(url(sentinel(0, silent=True), sentinel(0, silent=True), sentinel(old.port)), 0.3)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with contextlib.suppress(StoreError):
            assert await remaining() >= 40
            return
        await asyncio.sleep(0.05)
    raise AssertionError("never answered")


async def test_without_any_sentinel_a_call_fails_in_time(sentinel: Making, open_store: Open) -> None:
    remaining = open_store(url(servers.free_port(), sentinel(0, silent=True)), 0.1)
    for _ in range(3):
        began = time.monotonic()
        with pytest.raises(StoreError):
            await remaining()
        assert time.monotonic() - began < SOON


async def test_a_master_the_sentinels_do_not_know_is_named_in_the_error(sentinel: Making, old: Proc, open_store: Open) -> None:
    remaining = open_store(url(sentinel(old.port), service="mymastre"))
    with pytest.raises(StoreError, match=r"mymastre.*No such master"):
        await remaining()


async def test_a_replica_is_not_taken_for_a_master(old: Proc, new: Proc, sentinel: Making, open_store: Open) -> None:
    """It would answer refusals from what it was told, and count nothing."""
    sites.ask(old.port, "REPLICAOF", "127.0.0.1", new.port)
    known = sentinel(old.port)
    remaining = open_store(url(known))
    for _ in range(2):
        with pytest.raises(StoreError, match="not the master the sentinels name"):
            await remaining()
    known.master = new.port
    await asked_again(remaining)


# ----------------------------------------------------------------------- when to ask again
async def asked_again(remaining: Remaining) -> int:
    """What is left, once the sentinels may be asked again."""
    ends = time.monotonic() + 20
    while time.monotonic() < ends:
        with contextlib.suppress(StoreError):
            return await remaining()
        await asyncio.sleep(0.02)
    raise AssertionError("never answered")


async def test_sentinels_are_asked_once_while_the_master_answers(old: Proc, sentinel: Making, open_store: Open) -> None:
    known = sentinel(old.port)
    remaining = open_store(url(known))
    began = time.monotonic()
    assert [await remaining() for _ in range(30)] == list(range(49, 19, -1))
    assert known.asked <= 1 + (time.monotonic() - began)  # and once a second, on the side


async def test_a_master_that_was_replaced_while_it_was_well_is_left_within_a_second(
    old: Proc, new: Proc, sentinel: Making, open_store: Open
) -> None:
    """Nothing tells its clients: it goes on answering."""
    known, first = sentinel(old.port), time.monotonic()
    remaining = open_store(url(known))
    assert await remaining() == 49
    known.master, known.epoch = new.port, 2
    began = time.monotonic()
    while sites.ask(new.port, "DBSIZE") == 0:
        assert await remaining() >= 0
        assert time.monotonic() - began < 20
        await asyncio.sleep(0.1)
    assert known.asked <= 2 + (time.monotonic() - first)  # no more often than once a second


async def test_a_master_that_was_demoted_is_left_at_its_first_refusal(
    old: Proc, new: Proc, sentinel: Making, open_store: Open
) -> None:
    """Its connections stay open: what tells is READONLY, in the line of a call."""
    known, began = sentinel(old.port), time.monotonic()
    remaining = open_store(url(known))
    assert await remaining() == 49
    await asyncio.sleep(0.3)
    known.master, known.epoch = new.port, 2
    sites.ask(old.port, "REPLICAOF", "127.0.0.1", new.port)
    with pytest.raises(StoreError, match="READONLY"):
        await remaining()
    assert await remaining() == 49
    assert 2 <= known.asked <= 2 + (time.monotonic() - began)


async def test_a_master_that_may_not_write_alone_is_left(old: Proc, new: Proc, sentinel: Making, open_store: Open) -> None:
    """`min-replicas-to-write` is what keeps a master that was cut off from counting."""
    known = sentinel(old.port)
    remaining = open_store(url(known))
    assert await remaining() == 49
    await asyncio.sleep(0.3)
    known.master, known.epoch = new.port, 2
    sites.ask(old.port, "CONFIG", "SET", "min-replicas-to-write", 1)
    with pytest.raises(StoreError, match="NOREPLICAS"):
        await remaining()
    sites.ask(old.port, "CONFIG", "SET", "min-replicas-to-write", 0)
    assert await remaining() == 49
    assert sites.ask(new.port, "DBSIZE") == 1


async def test_a_master_that_hung_up_is_asked_for_before_the_next_call(
    old: Proc, new: Proc, sentinel: Making, open_store: Open
) -> None:
    known = sentinel(old.port)
    remaining = open_store(url(known))
    assert await remaining() == 49
    await asyncio.sleep(0.3)
    known.master, known.epoch = new.port, 2
    with sites.client(old.port) as client:
        client.config_set("maxclients", 1)
        client.client_kill_filter(_type="normal", skipme=True)
        await asyncio.sleep(0.05)
        with pytest.raises(StoreError):
            await remaining()
        client.config_set("maxclients", 1000)
    assert await remaining() == 49
    assert sites.ask(new.port, "DBSIZE") == 1


async def test_while_nobody_is_master_sentinels_are_not_flooded(sentinel: Making, open_store: Open) -> None:
    known = sentinel(servers.free_port())
    remaining = open_store(url(known))
    began = time.monotonic()
    for _ in range(200):
        with pytest.raises(StoreError):
            await remaining()
    assert known.asked <= 2 + 4 * (time.monotonic() - began)


# ---------------------------------------------------------------------------- clients
@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_a_client_of_sentinel_lends_its_sentinels(sentinels: Site, open_store: Open, colour: str) -> None:
    places = [("127.0.0.1", one.port) for one in sentinels.sentinels]
    if colour == "sync":
        client = redis.sentinel.Sentinel(places).master_for(SERVICE, db=3)
    else:
        client = redis.asyncio.sentinel.Sentinel(places).master_for(SERVICE, db=3)
    remaining = open_store(client)
    assert await remaining() == 49
    with sites.client(sentinels.nodes[0].port, db=3) as other:
        assert other.dbsize() == 1
        other.flushdb()


@pytest.fixture
def guarded(old: Proc) -> Iterator[tuple[int, int]]:
    """A sentinel and its master, with a password each."""
    watching = sites.start_sentinel(old.port, 1)
    sites.ask(old.port, "CONFIG", "SET", "requirepass", "s3cret@/:")
    sites.ask(watching.port, "ACL", "SETUSER", "default", ">gu@rd", "-@all", "+@connection", "+sentinel|master")
    yield watching.port, old.port
    watching.stop()
    with sites.client(old.port, password="s3cret@/:") as client:
        client.config_set("requirepass", "")


async def test_sentinels_and_their_master_have_passwords_of_their_own(guarded: tuple[int, int], open_store: Open) -> None:
    place = [("127.0.0.1", guarded[0])]
    client = redis.sentinel.Sentinel(place, sentinel_kwargs={"password": "gu@rd"}).master_for(SERVICE, password="s3cret@/:")
    assert await open_store(client)() == 49
    written = f"redis+sentinel://:s3cret%40%2F%3A@127.0.0.1:{guarded[0]}/{SERVICE}?sentinel_password="
    assert await open_store(f"{written}gu%40rd")() == 48
    for wrong in (f"{written.replace('s3cret', 'wr0ng')}gu%40rd", f"{written}wr0ng"):
        with pytest.raises(StoreError, match=r"(?i)auth|password") as caught:
            await open_store(wrong)()
        assert "wr0ng" not in str(caught.value)
