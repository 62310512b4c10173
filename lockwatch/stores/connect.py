"""Connections to Redis: a URL or a client of the user's becomes an address, an address a pool of redis-py.

Connections are always our own. A client lends its address, TLS and credentials; its timeouts and retries are replaced, because
redis-py's defaults hold a request for 3 to 58 seconds when a server is dead or hangs.
"""

from __future__ import annotations

from importlib import import_module
from inspect import signature
from typing import Any

from lockwatch.errors import ConfigurationError
from lockwatch.stores.address import Address
from lockwatch.stores.clients import address_of_client
from lockwatch.stores.urls import address_in

__all__ = ["Address", "address_of", "async_pool", "sync_pool"]


def address_of(source: object) -> Address:
    """The address in a URL, a redis-py client of either colour, a fakeredis client, or a callable returning one.

    Raises: ConfigurationError.
    """
    return address_in(source) if isinstance(source, str) else address_of_client(source)


def sync_pool(address: Address, deadline: float) -> Any:
    """A redis-py pool, used for `make_connection` alone."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    if address.kind == "fake":
        return import_module("fakeredis").FakeRedis(**address.arguments).connection_pool
    kind = getattr(redis.connection, address.kind, redis.Connection)
    arguments = {**_fitting(address, kind), **_bounds(deadline, deadline, Retry(NoBackoff(), 0))}
    return redis.ConnectionPool(connection_class=kind, **arguments)


def async_pool(address: Address, deadline: float) -> Any:
    """The same for event loops. Nothing has a timeout of its own: who waits has a deadline that knows when the loop stood still."""
    import redis.asyncio
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    if address.kind == "fake":
        return import_module("fakeredis").FakeAsyncRedis(**address.arguments).connection_pool
    kind = getattr(redis.asyncio.connection, address.kind, redis.asyncio.Connection)
    arguments = {**_fitting(address, kind), **_bounds(None, None, Retry(NoBackoff(), 0))}
    return redis.asyncio.ConnectionPool(connection_class=kind, **arguments)


def _fitting(address: Address, kind: Any) -> dict[str, Any]:
    """The arguments a connection class takes. A client of one colour may lend TLS options that the other colour does not have.

    Raises: ConfigurationError, when leaving one out would change what is checked.
    """
    known = signature(kind.__init__).parameters
    fitting = {name: value for name, value in address.arguments.items() if name in known or not name.startswith("ssl_")}
    for name in address.arguments.keys() - fitting.keys():
        if address.arguments[name]:
            raise ConfigurationError(
                f"{kind.__module__}.{kind.__name__} of this redis-py has no {name}; use ssl_ca_certs or ssl_ca_data"
            )
    return fitting


def _bounds(connect: float | None, read: float | None, retry: Any) -> dict[str, Any]:
    return {
        "socket_connect_timeout": connect,
        "socket_timeout": read,
        "retry": retry,
        "health_check_interval": 0,
        "protocol": 2,
    }
