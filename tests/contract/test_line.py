"""Answers that do not arrive in one piece, or that nobody asked for: what the short way leaves to redis-py."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from lockwatch.errors import StoreError
from lockwatch.flow import Reply
from lockwatch.stores.connect import address_of
from lockwatch.stores.line import bulk
from lockwatch.stores.redis_async import AsyncRedisStore
from tests.contract.bench import SECOND, Ask, admit
from tests.contract.test_deadline import Peer

CALL = admit(0, Ask("k", 1000, 60 * SECOND))
Sends = Callable[[socket.socket, int], None]


def whole(number: int) -> bytes:
    """The answer to a batch of one call: `number`, as if it was what is left."""
    text = b"1 %d 0 0 0 0" % number
    return b"$%d\r\n%b\r\n" % (len(text), text)


def serving(answer: Sends) -> Callable[[socket.socket], None]:
    """Answer what redis-py says on connecting with OK, and the n-th script with `answer`."""

    def serve(connection: socket.socket) -> None:
        scripts = 0
        while data := connection.recv(65_536):
            if b"EVALSHA" in data:
                answer(connection, scripts)
                scripts += 1
            else:
                connection.sendall(b"+OK\r\n" * data.count(b"*"))

    return serve


def in_pieces(connection: socket.socket, number: int) -> None:
    """One byte at a time, in packets of their own."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in whole(number):
        connection.sendall(bytes([byte]))


def with_more(connection: socket.socket, number: int) -> None:
    """An answer, and from the second script on one that nobody asked for."""
    connection.sendall(whole(number) + whole(999) if number else whole(number))


def then_an_error(connection: socket.socket, number: int) -> None:
    """Every second script fails as a whole."""
    connection.sendall(b"-OOM command not allowed\r\n" if number % 2 else whole(number))


def then_leave(connection: socket.socket, number: int) -> None:
    """Hang up on every second script."""
    if number % 2:
        connection.shutdown(socket.SHUT_RDWR)
    else:
        connection.sendall(whole(number))


@pytest.fixture
def serve() -> Iterator[Callable[[Sends], str]]:
    peers: list[Peer] = []

    def start(answer: Sends) -> str:
        peers.append(Peer(serving(answer)))
        return peers[-1].url

    yield start
    for peer in peers:
        peer.close()


async def asked(store: AsyncRedisStore) -> Reply | StoreError:
    try:
        return await store.call(CALL)
    except StoreError as error:
        return error


async def test_an_answer_in_pieces_is_one_answer(serve: Callable[[Sends], str]) -> None:
    store = AsyncRedisStore(address_of(serve(in_pieces)), 10.0, lanes=1)
    assert [(await store.call(CALL))[1] for _ in range(5)] == [0, 1, 2, 3, 4]
    await store.aclose()


async def test_what_nobody_asked_for_answers_nobody(serve: Callable[[Sends], str]) -> None:
    store = AsyncRedisStore(address_of(serve(with_more)), 10.0, lanes=1)
    found = [await asked(store) for _ in range(6)]
    assert not [reply for reply in found if not isinstance(reply, StoreError) and reply[1] == 999]
    await store.aclose()


@pytest.mark.parametrize("answer", [then_an_error, then_leave], ids=["error", "end"])
async def test_a_batch_that_fails_after_one_that_did_not_fails_alone(serve: Callable[[Sends], str], answer: Sends) -> None:
    store = AsyncRedisStore(address_of(serve(answer)), 10.0, lanes=1)
    found = [isinstance(await asked(store), StoreError) for _ in range(6)]
    assert found == [False, True, False, True, False, True]
    await store.aclose()


def test_only_a_whole_bulk_string_is_an_answer() -> None:
    assert bulk(b"$3\r\n1 2\r\n") == (b"1 2", False)
    assert bulk(b"$5\r\n1\r\n 2\r\n") == (b"1\r\n 2", False)
    assert bulk(b"$0\r\n\r\n") == (b"", False)
    assert bulk(b"$3\r\n1 2\r\n$1\r\n1\r\n") == (b"1 2", True)
    for data in (b"$-1\r\n", b"-ERR no\r\n", b"+OK\r\n", b"$\r\n\r\n", b"$x\r\n1\r\n", b"", b"$3\r\n"):
        assert bulk(data) == (None, True), data


def test_a_part_is_no_answer() -> None:
    text = whole(7)
    for cut in range(1, len(text)):
        assert bulk(text[:cut])[0] is None
        assert bulk(text[cut:])[0] is None
