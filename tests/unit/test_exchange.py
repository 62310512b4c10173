"""The answers of a server to one command, in whatever parts they come; and the connections that wait for the next."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import exceptions

from lockwatch.errors import StoreTimeout
from lockwatch.stores import exchange
from lockwatch.stores.pool import Idle


class Line:
    """A connection to somebody who answers as told."""

    def __init__(self) -> None:
        self._sock, self.server = socket.socketpair()
        self._sock.settimeout(20)

    def connect(self) -> None:
        raise AssertionError("it is connected")

    def answered(self, *parts: bytes) -> bytes:
        """Ask, and be answered in parts, each after the one before was read."""
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(exchange.ask, self, b"question")
            assert self.server.recv(64) == b"question"
            for part in parts:
                self.server.sendall(part)
            return answer.result(20)

    def hang_up(self) -> None:
        self.server.close()


@pytest.fixture
def line() -> Iterator[Line]:
    made = Line()
    yield made
    made.server.close()
    made._sock.close()


TEXT = b"1 99 0 60000000\r\n\n2 \r\n"


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_a_text_is_read_in_whatever_parts_it_comes(line: Line, size: int) -> None:
    answer = b"$%d\r\n%b\r\n" % (len(TEXT), TEXT)
    assert line.answered(*[answer[at : at + size] for at in range(0, len(answer), size)]) == TEXT


def test_a_long_text_is_read_whole(line: Line) -> None:
    text = b"12345678 " * 50_000
    assert line.answered(b"$%d\r\n" % len(text), text, b"\r\n") == text


def test_an_empty_text_is_one(line: Line) -> None:
    assert line.answered(b"$0\r\n\r\n") == b""


@pytest.mark.parametrize(
    ("said", "kind", "text"),
    [
        (b"-NOSCRIPT No matching script.\r\n", exceptions.NoScriptError, "No matching script."),
        (b"-OOM command not allowed\r\n", exceptions.OutOfMemoryError, "command not allowed"),
        (b"-LOADING it is\r\n", exceptions.BusyLoadingError, "it is"),
        (b"-NOAUTH Authentication required.\r\n", exceptions.AuthenticationError, "Authentication required."),
        (b"-ERR max number of clients reached\r\n", exceptions.ConnectionError, "max number of clients reached"),
        (b"-READONLY You can't write\r\n", exceptions.ResponseError, "READONLY You can't write"),
        (b"-ERR unknown command\r\n", exceptions.ResponseError, "ERR unknown command"),
        (b":7\r\n", exceptions.InvalidResponse, "':7'"),
        (b"$-1\r\n", exceptions.InvalidResponse, "'\\$-1'"),
        (b"$seven\r\n", exceptions.InvalidResponse, "seven"),
        (b"HTTP/1.1 400 Bad Request\r\n", exceptions.InvalidResponse, "HTTP"),
    ],
)
def test_an_answer_that_is_no_text_is_an_error_of_its_kind(line: Line, said: bytes, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text) as raised:
        line.answered(said)
    assert type(raised.value) is kind


def test_an_answer_that_ends_early_is_a_lost_connection(line: Line) -> None:
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(exchange.ask, line, b"question")
        line.server.recv(64)
        line.server.sendall(b"$10\r\n12")
        line.hang_up()
        with pytest.raises(exceptions.ConnectionError, match="closed"):
            answer.result(20)


def test_an_answer_that_does_not_come_is_a_timeout(line: Line) -> None:
    line._sock.settimeout(0.01)
    with pytest.raises(TimeoutError):
        exchange.ask(line, b"question")


def test_a_connection_has_hung_up_when_there_is_something_to_read(line: Line) -> None:
    assert not exchange.hung_up(line)
    assert line._sock.gettimeout() == 20
    line.hang_up()
    assert exchange.hung_up(line)


def test_what_nobody_asked_for_makes_a_connection_useless(line: Line) -> None:
    line.server.sendall(b"+OK\r\n")
    assert exchange.hung_up(line)


def test_the_connection_used_last_goes_first() -> None:
    idle = Idle(2, "somewhere")
    assert idle.take(1) is None
    idle.give("one")
    assert idle.take(1) == "one"
    assert idle.take(1) is None


def test_all_connections_busy_past_the_deadline_is_a_timeout() -> None:
    idle = Idle(1, "somewhere")
    idle.take(1)
    with pytest.raises(StoreTimeout, match="all 1 connections to somewhere are busy"):
        idle.take(0.01)


def test_who_waits_gets_what_is_given_back_and_nobody_shares() -> None:
    idle, used, most = Idle(3, "somewhere"), 0, 0
    lock = threading.Lock()

    def work(_: int) -> None:
        nonlocal used, most
        for _ in range(200):
            connection = idle.take(20)
            with lock:
                used += 1
                most = max(most, used)
            with lock:
                used -= 1
            idle.give(connection or object())

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))
    assert most <= 3
    assert len(idle.emptied()) <= 3
