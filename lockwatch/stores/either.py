"""One store in either colour, for what is used by hand: each is opened when it is needed first."""

from __future__ import annotations

import threading
from typing import Any, Protocol

from lockwatch.flow import AsyncStore, Store
from lockwatch.stores.memory import MemoryStore
from lockwatch.stores.standins import Immediate


class Either(Protocol):
    """A store in either colour, and this process's memory."""

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

    Raises: ConfigurationError.
    """

    def __init__(self, client: Any, timeout: float) -> None:
        from lockwatch.stores.connect import address_of

        self.memory: Store = MemoryStore()
        self._address = None if client is None or client == "memory://" else address_of(client)
        self._timeout = timeout
        self._waiting: AsyncStore | None = None
        self._blocking: Store | None = None
        self._lock = threading.Lock()

    def waiting(self) -> AsyncStore:
        """For event loops."""
        if self._waiting is None:
            from lockwatch.stores.redis_async import AsyncRedisStore

            with self._lock:
                made = Immediate(self.memory) if self._address is None else AsyncRedisStore(self._address, self._timeout)
                self._waiting = self._waiting or made
        return self._waiting

    def blocking(self) -> Store:
        """For blocking code."""
        if self._blocking is None:
            from lockwatch.stores.redis_sync import RedisStore

            with self._lock:
                made = self.memory if self._address is None else RedisStore(self._address, self._timeout)
                self._blocking = self._blocking or made
        return self._blocking

    async def aclose(self) -> None:
        closed = getattr(self._waiting, "aclose", None)
        if closed is not None:
            await closed()

    def close(self) -> None:
        closed = getattr(self._blocking, "close", None)
        if closed is not None:
            closed()
