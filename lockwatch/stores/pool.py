"""The way to one server for blocking code: a bounded, fork-safe pool; one script call per call; no retries."""

from __future__ import annotations

import os
import queue
import threading
from typing import Any

from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from lockwatch.errors import StoreError, StoreTimeout
from lockwatch.flow import Call, Following, Reply
from lockwatch.stores import wire
from lockwatch.stores.connect import Address, sync_pool


class Pool:
    """Connections to one server; see `redis_sync.RedisStore`."""

    def __init__(self, address: Address, deadline: float, connections: int) -> None:
        self.address = address
        self._deadline = deadline
        self._pool = sync_pool(address, deadline)
        self._size = connections
        self._lock = threading.Lock()
        self._fill()

    def call(self, call: Call) -> Reply:
        """Run one script. Raises: StoreError, StoreTimeout."""
        idle, connection = self._take()
        try:
            reply = self._exchange(connection, call)
            if call.wait and not isinstance(reply, StoreError):
                reply = wire.confirmed(reply, _replicas(connection, call.wait))
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
            idle.put(connection)
        if isinstance(reply, StoreError):
            raise reply
        return reply

    def close(self) -> None:
        """Close the idle connections."""
        idle, self._pid = self._idle, 0
        while not idle.empty():
            connection = idle.get_nowait()
            if connection is not None:
                connection.disconnect()

    def _fill(self) -> None:
        self._idle: queue.LifoQueue[Any] = queue.LifoQueue()
        for _ in range(self._size):
            self._idle.put(None)
        self._pid = os.getpid()

    def _take(self) -> tuple[queue.LifoQueue[Any], Any]:
        if self._pid != os.getpid():  # after a fork (or a close): the parent's sockets are not ours
            with self._lock:
                if self._pid != os.getpid():
                    self._fill()
        idle = self._idle
        try:
            return idle, idle.get(timeout=self._deadline) or self._pool.make_connection()
        except queue.Empty:
            raise StoreTimeout(f"all {self._size} connections to {self.address} are busy past the deadline") from None

    def _exchange(self, connection: Any, call: Call) -> Reply | StoreError:
        if hung_up(connection):
            connection.disconnect()
        calls = (*call.ahead, call) if isinstance(call, Following) else (call,)
        connection.send_packed_command([wire.command(calls)])
        try:
            text = connection.read_response(disable_decoding=True)
        except NoScriptError:
            connection.send_packed_command([wire.command(calls, whole=True)])
            text = connection.read_response(disable_decoding=True)
        return wire.replies(text, len(calls))[-1]


def _replicas(connection: Any, milliseconds: int) -> int:
    """How many replicas have what was just written on this connection."""
    connection.send_command("WAIT", 1, milliseconds)
    try:
        return int(connection.read_response())
    except ResponseError:
        return 0


def hung_up(connection: Any) -> bool:
    """Whether the server closed a connection while nobody used it: there is something to read, and nothing was asked."""
    try:
        return getattr(connection, "_sock", None) is not None and bool(connection.can_read(timeout=0))
    except (RedisError, OSError):
        return True
