"""What a redis-py client of the user's lends: where its servers are, TLS and credentials. The client itself is left alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lockwatch.errors import ConfigurationError
from lockwatch.stores.address import Address, ClusterAddress, SentinelAddress, lent

_KINDS: Final = ("Connection", "SSLConnection", "UnixDomainSocketConnection")
_MANAGED: Final = {"SentinelManagedConnection": "Connection", "SentinelManagedSSLConnection": "SSLConnection"}


def address_of_client(source: object) -> Address:
    """The address of a client of redis-py (either colour; a server, a cluster, a master of Sentinel) or fakeredis.

    A function is called for its client. Raises: ConfigurationError.
    """
    if callable(source) and not _is_client(source):
        source = source()
    if hasattr(source, "nodes_manager"):
        return _cluster(source)
    pool = getattr(source, "connection_pool", None)
    if pool is None:
        raise ConfigurationError(
            f"redis= takes a URL, a redis-py client or a function returning one, not {type(source).__name__}; e.g. redis.Redis()"
        )
    if hasattr(pool, "sentinel_manager"):
        return _sentinel(pool)
    return _server(pool)


def _is_client(source: object) -> bool:
    return hasattr(source, "connection_pool") or hasattr(source, "nodes_manager")


def _server(pool: Any) -> Address:
    kind = _MANAGED.get(pool.connection_class.__name__, pool.connection_class.__name__)
    if getattr(pool.connection_class, "__module__", "").startswith("fakeredis"):
        kind = "fake"
    elif kind not in _KINDS:
        raise ConfigurationError(f"redis= is a client on {kind}, which lockwatch does not know; plain ones are: redis.Redis()")
    return Address(kind, lent(pool.connection_kwargs, kind))


def _cluster(client: Any) -> ClusterAddress:
    manager = client.nodes_manager
    # The sync client keeps its arguments in the manager, the async one in both; older releases of either in one of the two.
    arguments: Mapping[str, Any] = getattr(manager, "connection_kwargs", None) or client.connection_kwargs
    kind = "SSLConnection" if _has_tls(arguments) else "Connection"
    shared = {name: value for name, value in lent(arguments, kind).items() if name not in {"host", "port", "path", "db"}}
    nodes = tuple(dict.fromkeys((node.host, int(node.port)) for node in manager.startup_nodes.values()))
    return ClusterAddress(kind, shared, nodes, getattr(manager, "address_remap", None))


def _has_tls(arguments: Mapping[str, Any]) -> bool:
    return bool(arguments.get("ssl")) or getattr(arguments.get("connection_class"), "__name__", "") == "SSLConnection"


def _sentinel(pool: Any) -> SentinelAddress:
    if not pool.is_master:
        raise ConfigurationError("redis= is a client of replicas, which count nothing; give Sentinel(...).master_for('mymaster')")
    master = _server(pool)
    shared = {name: value for name, value in master.arguments.items() if name not in {"host", "port", "path"}}
    sentinels = tuple([_server(sentinel.connection_pool) for sentinel in pool.sentinel_manager.sentinels])
    return SentinelAddress(master.kind, shared, pool.service_name, sentinels)
