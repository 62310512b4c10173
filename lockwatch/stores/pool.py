"""The way to one server for blocking code: a bounded, fork-safe pool; one script call per call; no retries."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from time import monotonic
from typing import Any

from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from lockwatch.errors import StoreError, StoreTimeout
from lockwatch.flow import Call, Following, Reply
from lockwatch.stores import exchange, wire
from lockwatch.stores.connect import Address, sync_pool


class Pool:
    """Connections to one server; see `redis_sync.RedisStore`."""

    def __init__(self, address: Address, deadline: float, connections: int) -> None:
        self.address = address
        self._deadline = deadline
        self._pool = sync_pool(address, deadline)
        self._size = connections
        self._plain = address.kind in ("Connection", "UnixDomainSocketConnection")
        self._lock = threading.Lock()
        self._fill()

    def call(self, call: Call) -> Reply:
        """Run one script. Raises: StoreError, StoreTimeout."""
        idle = self._idle if self._pid == os.getpid() else self._own()
        connection = idle.take(self._deadline) or self._pool.make_connection()
        try:
            if self._hung_up(connection):
                connection.disconnect()
            reply = self._exchange(connection, call)
            if call.wait and not isinstance(reply, StoreError):
                reply = wire.confirmed(reply, self._replicas(connection, call.wait))
        except (RedisTimeoutError, TimeoutError) as error:
            connection.disconnect()
            raise StoreTimeout(f"no answer from {self.address} within the deadline") from error
        except (RedisError, OSError) as error:
            connection.disconnect()
            raise wire.failure(error, str(self.address)) from error
        except BaseException:
            connection.disconnect()  # an unread reply must never answer the next caller
            raise
        finally:
            idle.give(connection)
        if isinstance(reply, StoreError):
            raise reply
        return reply

    def close(self) -> None:
        """Close the idle connections."""
        idle, self._pid = self._idle, 0
        for connection in idle.emptied():
            connection.disconnect()

    def _fill(self) -> None:
        self._idle = Idle(self._size, str(self.address))
        self._pid = os.getpid()

    def _own(self) -> Idle:
        """The connections of this process, after a fork or a close: the parent's sockets are not ours."""
        with self._lock:
            if self._pid != os.getpid():
                self._fill()
            return self._idle

    def _exchange(self, connection: Any, call: Call) -> Reply | StoreError:
        if isinstance(call, Following):
            calls = (*call.ahead, call)
            return wire.replies(self._run(connection, wire.command(calls), calls), len(calls))[-1]
        return wire.reply(self._run(connection, wire.command_of(call), (call,)))

    def _run(self, connection: Any, command: bytes, calls: Sequence[Call]) -> object:
        ask = exchange.ask if self._plain else _ask
        try:
            return ask(connection, command)
        except NoScriptError:
            return ask(connection, wire.command(calls, whole=True))

    def _hung_up(self, connection: Any) -> bool:
        return exchange.hung_up(connection) if self._plain else hung_up(connection)

    def _replicas(self, connection: Any, milliseconds: int) -> int:
        """How many replicas have what was just written on this connection."""
        if self._plain:
            exchange.within(connection, self._deadline)
        connection.send_command("WAIT", 1, milliseconds)
        try:
            return int(connection.read_response())
        except ResponseError:
            return 0


class Idle:
    """The connections of a pool that nobody uses; the one used last goes first.

    Args:
        size: how many there may be. None stands for one that was not made yet.
        where: they lead.
    """

    def __init__(self, size: int, where: str) -> None:
        self._size = size
        self._where = where
        self._free: list[Any] = [None] * size
        self._waiting = 0
        self._given = threading.Condition()

    def take(self, patience: float) -> Any:
        """One of them. Raises: StoreTimeout, when none was given back for so many seconds."""
        try:
            return self._free.pop()
        except IndexError:
            return self._await(monotonic() + patience)

    def give(self, connection: Any) -> None:
        """Give one back."""
        self._free.append(connection)
        if self._waiting:
            with self._given:
                self._given.notify()

    def emptied(self) -> list[Any]:
        """Those that were made, which are then nobody's."""
        found = []
        while self._free:
            found.append(self._free.pop())
        return [connection for connection in found if connection is not None]

    def _await(self, due: float) -> Any:
        with self._given:
            self._waiting += 1  # before the next look: who gives one back looks after that
            try:
                while True:
                    try:
                        return self._free.pop()  # unless somebody came who did not have to wait
                    except IndexError:
                        self._wait(due - monotonic())
            finally:
                self._waiting -= 1

    def _wait(self, patience: float) -> None:
        if patience <= 0:
            raise StoreTimeout(f"all {self._size} connections to {self._where} are busy past the deadline") from None
        self._given.wait(patience)


def _ask(connection: Any, command: bytes) -> object:
    connection.send_packed_command([command])
    return connection.read_response(disable_decoding=True)


def hung_up(connection: Any) -> bool:
    """Whether the server closed a connection while nobody used it: there is something to read, and nothing was asked."""
    try:
        return getattr(connection, "_sock", None) is not None and bool(connection.can_read(timeout=0))
    except (RedisError, OSError):
        return True
