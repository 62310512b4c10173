"""Where Redis is: a URL or a client of the user's becomes a connection class and its arguments.

Connections are always our own. A client lends its address, TLS and credentials; its timeouts and retries are replaced, because
redis-py's defaults hold a request for 3 to 58 seconds when a server is dead or hangs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Final
from urllib.parse import urlsplit

from lockwatch.errors import ConfigurationError

EXAMPLE: Final = "redis://localhost:6379/0"
_SCHEMES: Final = {
    "redis": "redis",
    "valkey": "redis",
    "rediss": "rediss",
    "valkeys": "rediss",
    "unix": "unix",
    "redis+unix": "unix",
    "valkey+unix": "unix",
}
_KINDS: Final = ("Connection", "SSLConnection", "UnixDomainSocketConnection")
_LENT: Final = frozenset(
    [
        "host",
        "port",
        "db",
        "username",
        "password",
        "credential_provider",
        "path",
        "client_name",
        "socket_keepalive",
        "socket_keepalive_options",
        "socket_type",
    ]
)
_LENT_BY_FAKES: Final = _LENT | {"server", "version", "server_type", "lua_modules", "connected"}


@dataclass(frozen=True, slots=True)
class Address:
    """A Redis to connect to. `kind` is the name of one of redis-py's connection classes, or ``fake`` for fakeredis."""

    kind: str
    arguments: Mapping[str, Any] = field(repr=False)

    def __str__(self) -> str:
        """Where it is, without credentials."""
        if self.kind == "fake":
            return "fakeredis"
        return str(self.arguments.get("path") or f"{self.arguments.get('host', 'localhost')}:{self.arguments.get('port', 6379)}")


def address_of(source: object) -> Address:
    """The address in a URL, a redis-py client of either colour, a fakeredis client, or a callable returning one.

    Raises: ConfigurationError.
    """
    if isinstance(source, str):
        return _from_url(source)
    pool = getattr(source, "connection_pool", None)
    if pool is None and callable(source):
        pool = getattr(source(), "connection_pool", None)
    if pool is None:
        raise ConfigurationError(
            f"redis= takes a URL, a redis-py client or a function returning one, not {type(source).__name__}; e.g. redis.Redis()"
        )
    if getattr(pool.connection_class, "__module__", "").startswith("fakeredis"):
        return Address("fake", {name: value for name, value in pool.connection_kwargs.items() if name in _LENT_BY_FAKES})
    kind = pool.connection_class.__name__
    if kind not in _KINDS:
        raise ConfigurationError(
            f"redis= is a client on {kind}; clients of Sentinel and Cluster are not supported yet, plain ones are: redis.Redis()"
        )
    return Address(kind, _lent(pool.connection_kwargs))


def _from_url(url: str) -> Address:
    from redis.connection import parse_url

    scheme, _, rest = url.partition("://")
    if scheme.lower() not in _SCHEMES:
        # What stands before a missing "://" may be a password: never quoted.
        wrong = f"has the unknown scheme {scheme!r}" if rest and re.fullmatch("[A-Za-z+]{1,20}", scheme) else "is not a URL"
        raise ConfigurationError(f"redis_url {wrong}; known schemes are {', '.join(_SCHEMES)}, for example {EXAMPLE!r}")
    try:
        urlsplit(url).port  # noqa: B018  # raises what parse_url would leave to the first request
        arguments: dict[str, Any] = parse_url(f"{_SCHEMES[scheme.lower()]}://{rest}")  # type: ignore[no-untyped-call]  # redis-py's
    except (ValueError, TypeError) as error:
        # The message of the cause may quote the URL, and with it a password.
        raise ConfigurationError(f"redis_url cannot be read ({type(error).__name__}); a correct one is {EXAMPLE!r}") from None
    kind = getattr(arguments.pop("connection_class", None), "__name__", "Connection")
    return Address(kind, _lent(arguments))


def _lent(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if name in _LENT or name.startswith("ssl_")}


def sync_pool(address: Address, deadline: float) -> Any:
    """A redis-py pool, used for `make_connection` alone."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    if address.kind == "fake":
        return import_module("fakeredis").FakeRedis(**address.arguments).connection_pool
    kind = getattr(redis.connection, address.kind, redis.Connection)
    return redis.ConnectionPool(connection_class=kind, **address.arguments, **_bounds(deadline, deadline, Retry(NoBackoff(), 0)))


def async_pool(address: Address, deadline: float) -> Any:
    """The same for event loops. Nothing has a timeout of its own: who waits has a deadline that knows when the loop stood still."""
    import redis.asyncio
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    if address.kind == "fake":
        return import_module("fakeredis").FakeAsyncRedis(**address.arguments).connection_pool
    kind = getattr(redis.asyncio.connection, address.kind, redis.asyncio.Connection)
    return redis.asyncio.ConnectionPool(connection_class=kind, **address.arguments, **_bounds(None, None, Retry(NoBackoff(), 0)))


def _bounds(connect: float | None, read: float | None, retry: Any) -> dict[str, Any]:
    return {
        "socket_connect_timeout": connect,
        "socket_timeout": read,
        "retry": retry,
        "health_check_interval": 0,
        "protocol": 2,
    }
