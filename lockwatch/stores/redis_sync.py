"""Redis for blocking code: one server, a master that sentinels know, or a cluster."""

from __future__ import annotations

from collections.abc import Callable

from lockwatch.flow import Call, Reply
from lockwatch.stores.address import Address, ClusterAddress, SentinelAddress
from lockwatch.stores.cluster import Cluster
from lockwatch.stores.pool import Pool
from lockwatch.stores.pools import MasterPool, NodePools


class RedisStore:
    """A store on Redis or Valkey.

    Args:
        address: where it is.
        deadline: seconds to connect, to wait for an answer, and to wait for a free connection.
        connections: at most this many at once to a server.

    Attributes:
        split: whether the keys of a call have to share a hash tag, because others may be on another server.
    """

    call: Callable[[Call], Reply]
    """Run one script. Raises: StoreError, StoreTimeout."""
    close: Callable[[], None]
    """Close the idle connections."""

    def __init__(self, address: Address, deadline: float = 0.05, connections: int = 32) -> None:
        self.address = address
        self.split = address.split
        way = _way(address, deadline, connections)
        self.call, self.close = way.call, way.close


def _way(address: Address, deadline: float, connections: int) -> Pool | NodePools:
    if isinstance(address, ClusterAddress):
        return NodePools(Cluster(address, deadline), deadline, connections)
    if isinstance(address, SentinelAddress):
        return MasterPool(address, deadline, connections)
    return Pool(address, deadline, connections)
