"""Redis for event loops: one server, a master that sentinels know, or a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from typing import Protocol

from lockwatch.flow import Call, Reply
from lockwatch.stores.address import Address, ClusterAddress, SentinelAddress
from lockwatch.stores.cluster import Cluster
from lockwatch.stores.connect import async_pool
from lockwatch.stores.lane import Lane
from lockwatch.stores.lanes import Batcher, Report, Settings, Took
from lockwatch.stores.routes import MasterLane, Router
from lockwatch.stores.sentinel import Master


class AsyncRedisStore:
    """A store on Redis or Valkey, for every event loop of the process.

    Args:
        address: where it is.
        deadline: seconds from the call to its answer, connecting included.
        lanes: connections per loop and server.
        batch: calls per script call.
        report: told of every batch: None when it was answered, else why not.
        took: told how many seconds every batch was under way.

    Attributes:
        split: whether the keys of a call have to share a hash tag, because others may be on another server.
    """

    def __init__(
        self,
        address: Address,
        deadline: float = 0.05,
        *,
        lanes: int = 4,
        batch: int = 64,
        report: Report = None,
        took: Took = None,
    ) -> None:
        self.address = address
        self.split = address.split
        self._settings = Settings(deadline, lanes, batch, report, took)
        self._cluster = Cluster(address, deadline) if isinstance(address, ClusterAddress) else None
        self._master = Master(address) if isinstance(address, SentinelAddress) else None
        self._pool = async_pool(address, deadline)
        self._ways: dict[asyncio.AbstractEventLoop, _Way] = {}

    def call(self, call: Call) -> Awaitable[Reply]:
        """Run one script, together with the other calls of this tick. Raises: StoreError, StoreTimeout."""
        if call.wait:
            return self._alone(call)
        loop = asyncio.get_running_loop()
        way = self._ways.get(loop)
        # A plain function: one coroutine less on the way of every request.
        return self._open(loop, call) if way is None else way.submit(call)

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        way = self._ways.pop(asyncio.get_running_loop(), None)
        if way is not None:
            await way.keeper.aclose()

    async def _open(self, loop: asyncio.AbstractEventLoop, call: Call) -> Reply:
        if loop not in self._ways:
            for ended in [known for known in self._ways if known.is_closed()]:
                self._ways.pop(ended, None)
            self._ways[loop] = self._way(loop)
            await anext(self._ways[loop].keeper)
        return await self._ways[loop].submit(call)

    async def _alone(self, call: Call) -> Reply:
        """Run a call on a connection of its own, because waiting for replicas keeps it busy."""
        way = self._way(asyncio.get_running_loop())
        await anext(way.keeper)
        try:
            return await way.submit(call)
        finally:
            await way.keeper.aclose()

    def _way(self, loop: asyncio.AbstractEventLoop) -> _Way:
        if self._cluster is not None:
            return Router(loop, self._cluster, self._settings)
        return Batcher(loop, [self._lane() for _ in range(self._settings.lanes)], self._settings)

    def _lane(self) -> Lane:
        connection = self._pool.make_connection()
        return MasterLane(connection, self._master, self._settings.deadline) if self._master else Lane(connection)


class _Way(Protocol):
    """How an event loop reaches the store."""

    keeper: AsyncGenerator[None, None]

    def submit(self, call: Call) -> Awaitable[Reply]:
        """Run one script."""
