"""What a server says of itself, for who looks after it: settings, role, memory, speed, clock. Nothing is written."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import RedisError, ResponseError

from lockwatch.errors import StoreError
from lockwatch.stores.address import Address, ClusterAddress, SentinelAddress
from lockwatch.stores.connect import sync_pool
from lockwatch.stores.sentinel import Master

PINGS: Final = 100
_SECONDS: Final = 2.0
"""How long the pings go on at most."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A server, as it was found.

    Attributes:
        where: host and port.
        product: ``Valkey`` or ``Redis``.
        version: as it says it; empty where it may not be asked.
        role: ``master`` or ``slave``; empty likewise.
        policy: its `maxmemory-policy`; None where it may not be asked.
        maxmemory: bytes, 0 for no bound.
        used: bytes.
        appends: whether it keeps an append-only file.
        saves: when it makes snapshots; None where it may not be asked.
        snapshots: whether the last one succeeded.
        clustered: whether it is a node of a cluster.
        cluster: ``ok`` or what the cluster says instead; empty where there is none.
        pings: seconds each took, the shortest first.
        skew: seconds by which its clock is ahead of ours.
    """

    where: str
    product: str
    version: str
    role: str
    policy: str | None
    maxmemory: int
    used: int
    appends: bool
    saves: str | None
    snapshots: bool
    clustered: bool
    cluster: str
    pings: tuple[float, ...]
    skew: float

    def ping(self, share: float) -> float:
        """How many seconds a share of the pings took at most."""
        return self.pings[min(len(self.pings) - 1, int(share * len(self.pings)))]


def probe(address: Address, patience: float) -> list[Probe]:
    """The servers at an address: one, the master that sentinels name, or the nodes a cluster's URL names.

    Args:
        patience: seconds to wait for a connection and each answer.

    Raises: StoreError.
    """
    return [_probed(one, patience) for one in _servers(address, patience)]


def _servers(address: Address, patience: float) -> list[Address]:
    if isinstance(address, ClusterAddress):
        return [Address(address.kind, address.arguments).at(node) for node in address.nodes]
    if isinstance(address, SentinelAddress):
        master = Master(address)
        master.ask(patience)
        return [Address(address.kind, address.arguments).at(master.known())]
    return [address]


def _probed(address: Address, patience: float) -> Probe:
    with _connection(address, patience) as connection:
        told = _info(_allowed(connection, "INFO"))
        clustered = told.get("cluster_enabled") == "1"
        state = _info(_allowed(connection, "CLUSTER", "INFO")) if clustered else {}
        product = "Valkey" if "valkey_version" in told else "Redis"
        return Probe(
            str(address),
            product,
            told.get("valkey_version") or told.get("redis_version", ""),
            told.get("role", ""),
            _setting(connection, "maxmemory-policy") or told.get("maxmemory_policy"),
            int(told.get("maxmemory", 0)),
            int(told.get("used_memory", 0)),
            told.get("aof_enabled") == "1",
            _setting(connection, "save"),
            told.get("rdb_last_bgsave_status", "ok") == "ok",
            clustered,
            state.get("cluster_state", "?") if clustered else "",
            tuple(sorted(_pings(connection))),
            _skew(connection),
        )


@contextmanager
def _connection(address: Address, patience: float) -> Iterator[Any]:
    """A connection of our own. Raises: StoreError, whose text holds no password."""
    connection = sync_pool(address, patience).make_connection()
    try:
        connection.connect()
        yield connection
    except (RedisError, OSError) as error:
        raise StoreError(f"{address}: {str(error)[:200] or type(error).__name__}") from None
    finally:
        connection.disconnect()


def _asked(connection: Any, *words: str) -> Any:
    connection.send_command(*words)
    return connection.read_response(disable_decoding=True)


def _allowed(connection: Any, *words: str) -> Any:
    """The answer; None where the user may not ask."""
    try:
        return _asked(connection, *words)
    except ResponseError:
        return None


def _setting(connection: Any, name: str) -> str | None:
    """A setting; None where nobody may ask, as of most servers that others run."""
    answer = _allowed(connection, "CONFIG", "GET", name)
    return answer[1].decode() if answer is not None and len(answer) == 2 else None


def _info(answer: bytes | None) -> dict[str, str]:
    pairs = (line.partition(":") for line in (answer or b"").decode("utf-8", "replace").splitlines())
    return {name: value for name, colon, value in pairs if colon}


def _pings(connection: Any) -> Iterator[float]:
    ends = time.monotonic() + _SECONDS
    for number in range(PINGS):
        began = time.perf_counter()
        _allowed(connection, "PING")
        yield time.perf_counter() - began
        if number and time.monotonic() > ends:
            return


def _skew(connection: Any) -> float:
    """How far the clocks are apart: that of the server, against ours in the middle of the exchange that was shortest."""
    looks = []
    for _ in range(5):
        before = time.time()
        answer = _allowed(connection, "TIME")
        after = time.time()
        if answer is not None:
            looks.append((after - before, int(answer[0]) + int(answer[1]) / 1e6 - (before + after) / 2))
    return min(looks)[1] if looks else 0.0
