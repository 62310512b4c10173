"""One store in either colour, for what is used by hand: each is opened when it is needed first."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, Protocol

from lockwatch import native
from lockwatch.errors import StoreError
from lockwatch.flow import AsyncStore, Store
from lockwatch.notes import Notes
from lockwatch.stores.breaker import Breaker, Guarded, Reporting
from lockwatch.stores.memory import MemoryStore
from lockwatch.stores.standins import Immediate


class Either(Protocol):
    """A store in either colour, and this process's memory."""

    @property
    def split(self) -> bool:
        """Whether keys may live on several servers."""

    @property
    def memory(self) -> Store:
        """This process's memory."""

    def waiting(self) -> AsyncStore:
        """The store for event loops."""

    def blocking(self) -> Store:
        """The store for blocking code."""

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""

    def close(self) -> None:
        """Close the connections of blocking code."""


class Stores:
    """The store at `client`, a URL or a client of redis-py; this process's memory for None.

    While the store does not answer, it is not asked: a call fails at once, but for one now and then that finds out.

    Args:
        client: where the store is.
        timeout: seconds that a call may take.
        clock: seconds; never steps back.

    Raises: ConfigurationError.
    """

    def __init__(self, client: Any, timeout: float, clock: Callable[[], float] = time.monotonic) -> None:
        from lockwatch.stores.connect import address_of

        self.memory: Store = MemoryStore()
        self._address = None if client is None or client == "memory://" else address_of(client)
        self.split = self._address is not None and self._address.split
        self.notes = Notes("memory" if self._address is None else str(self._address))
        self._timeout, self._clock = timeout, clock
        self._breaker = Breaker(timeout)
        self._waiting: AsyncStore | None = None
        self._blocking: Store | None = None
        self._lock, self.pid = native.lock(), os.getpid()
        native.tell_of_forks(self)

    def waiting(self) -> AsyncStore:
        """For event loops."""
        if self._waiting is None:
            with self._lock:
                self._waiting = self._waiting or self._open()
        return self._waiting

    def blocking(self) -> Store:
        """For blocking code."""
        if self._blocking is None:
            with self._lock:
                self._blocking = self._blocking or self._open_blocking()
        return self._blocking

    def forked(self) -> None:
        """Begin anew in a child process; the connections themselves know whose they are."""
        self._lock, self.pid = native.lock(), os.getpid()
        self._breaker.forked()
        self.notes.forked()

    def _open(self) -> AsyncStore:
        if self._address is None:
            return Immediate(self.memory)
        from lockwatch.stores.redis_async import AsyncRedisStore

        return Guarded(AsyncRedisStore(self._address, self._timeout, report=self._reporter()), self._breaker, self._clock)

    def _open_blocking(self) -> Store:
        if self._address is None:
            return self.memory
        from lockwatch.stores.redis_sync import RedisStore

        store = RedisStore(self._address, self._timeout)
        return Guarded(Reporting(store, self._reporter(), clock=self._clock), self._breaker, self._clock)

    def _reporter(self) -> Callable[[StoreError | None], None]:
        """Tells breaker and notes how a call ended. It does not know the stores, which nobody has to close."""
        breaker, notes, clock, split = self._breaker, self.notes, self._clock, self.split

        def report(failure: StoreError | None) -> None:
            now = clock()
            if not split:  # the nodes of a cluster have breakers of their own
                breaker.heard(failure, now)
            notes.heard(failure, now)

        return report

    async def aclose(self) -> None:
        closed = getattr(self._waiting, "aclose", None)
        if closed is not None:
            await closed()

    def close(self) -> None:
        closed = getattr(self._blocking, "close", None)
        if closed is not None:
            closed()
