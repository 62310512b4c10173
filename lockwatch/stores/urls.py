"""Store URLs: one server, a cluster (``redis+cluster://``), or a master and its sentinels (``redis+sentinel://``)."""

from __future__ import annotations

import re
import ssl
from inspect import signature
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from lockwatch.errors import ConfigurationError
from lockwatch.stores.address import Address, ClusterAddress, Node, SentinelAddress, lent

EXAMPLE: Final = "redis://localhost:6379/0"
CLUSTER_EXAMPLE: Final = "redis+cluster://node1:6379,node2:6379"
SENTINEL_EXAMPLE: Final = "redis+sentinel://sentinel1:26379,sentinel2:26379/mymaster/0"
_TRANSPORTS: Final = {"redis": "redis", "valkey": "redis", "rediss": "rediss", "valkeys": "rediss"}
_SCHEMES: Final = {
    **{scheme: (transport, "server") for scheme, transport in _TRANSPORTS.items()},
    **dict.fromkeys(("unix", "redis+unix", "valkey+unix"), ("unix", "server")),
    **{f"{scheme}+cluster": (transport, "cluster") for scheme, transport in _TRANSPORTS.items()},
    **{f"{scheme}+sentinel": (transport, "sentinel") for scheme, transport in _TRANSPORTS.items()},
}
_OF_POOLS: Final = frozenset({"max_connections", "timeout", "db", "decode_responses"})
_CERTIFICATES: Final = ("none", "optional", "required")
_PORTS: Final = {"server": 6379, "cluster": 6379, "sentinel": 26379}
_EXAMPLES: Final = {"server": EXAMPLE, "cluster": CLUSTER_EXAMPLE, "sentinel": SENTINEL_EXAMPLE}


class _Url(NamedTuple):
    """A URL in pieces, as they were written."""

    transport: str
    shape: str
    login: str
    hosts: tuple[str, ...]
    path: str
    query: str


def address_in(url: str) -> Address:
    """The address a URL says. Raises: ConfigurationError, which never quotes a password."""
    pieces = _split(url)
    try:
        if pieces.shape == "cluster":
            return _cluster(pieces)
        return _sentinel(pieces) if pieces.shape == "sentinel" else _server(pieces)
    except ConfigurationError:
        raise
    except (ValueError, TypeError) as error:
        # The message of the cause may quote the URL, and with it a password.
        raise _unreadable(pieces.shape, type(error).__name__) from None


def _split(url: str) -> _Url:
    scheme, _, rest = url.partition("://")
    if scheme.lower() not in _SCHEMES:
        # What stands before a missing "://" may be a password: never quoted.
        wrong = f"has the unknown scheme {scheme!r}" if rest and re.fullmatch("[A-Za-z+]{1,20}", scheme) else "is not a URL"
        raise ConfigurationError(f"redis_url {wrong}; known schemes are {', '.join(_SCHEMES)}, for example {EXAMPLE!r}")
    place, _, query = rest.partition("?")
    authority, slash, path = place.partition("/")
    login, _, hosts = authority.rpartition("@")
    return _Url(*_SCHEMES[scheme.lower()], login, tuple(hosts.split(",")), slash + path, query)


def _server(pieces: _Url) -> Address:
    if len(pieces.hosts) > 1:
        raise ConfigurationError(
            f"redis_url names {len(pieces.hosts)} hosts; a cluster is written {CLUSTER_EXAMPLE!r}, "
            f"a master and its sentinels {SENTINEL_EXAMPLE!r}"
        )
    kind, arguments = _arguments(pieces, pieces.hosts[0], pieces.path)
    return Address(kind, lent(arguments, kind))


def _cluster(pieces: _Url) -> ClusterAddress:
    nodes = tuple([_node(host, pieces.shape) for host in pieces.hosts])
    kind, arguments = _arguments(pieces, pieces.hosts[0], pieces.path)
    if arguments.pop("db", 0):
        raise ConfigurationError(f"redis_url names a database of a cluster, which has only one; e.g. {CLUSTER_EXAMPLE!r}")
    return ClusterAddress(kind, lent(arguments, kind), nodes)


def _sentinel(pieces: _Url) -> SentinelAddress:
    service, _, database = pieces.path.strip("/").partition("/")
    if not service:
        raise ConfigurationError(f"redis_url does not name a master after its sentinels; a correct one is {SENTINEL_EXAMPLE!r}")
    nodes = [_node(host, pieces.shape) for host in pieces.hosts]
    kind, arguments = _arguments(pieces, pieces.hosts[0], f"/{int(database or 0)}")
    secured = {name: value for name, value in arguments.items() if name.startswith("ssl_")}
    for name in ("username", "password"):
        if (value := arguments.get(f"sentinel_{name}")) is not None:
            secured[name] = value
    return SentinelAddress(kind, lent(arguments, kind), unquote(service), tuple([Address(kind, secured).at(n) for n in nodes]))


def _arguments(pieces: _Url, host: str, path: str) -> tuple[str, dict[str, Any]]:
    """What redis-py makes of a URL with one host."""
    from redis.connection import parse_url

    url = f"{pieces.transport}://{pieces.login + '@' if pieces.login else ''}{host}{path}?{pieces.query}"
    urlsplit(url).port  # noqa: B018  # raises what parse_url would leave to the first request
    arguments: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call]  # redis-py's
    kind = getattr(arguments.pop("connection_class", None), "__name__", "Connection")
    if pieces.transport != "unix" and not re.fullmatch(r"/?|/\d+", path):
        # redis-py would take anything else for database 0.
        raise ConfigurationError(f"redis_url names the database {path[1:41]!r}, which is no number; a correct one is {EXAMPLE!r}")
    _check_options(pieces, kind)
    _check_tls(kind, arguments)
    return kind, arguments


def _check_options(pieces: _Url, kind: str) -> None:
    """Raises: ConfigurationError for an option redis-py does not know."""
    import redis.connection

    classes = getattr(redis.connection, kind, redis.connection.Connection).__mro__
    known = {name for cls in classes for name in signature(cls).parameters if cls is not object}
    for name, _ in parse_qsl(pieces.query, keep_blank_values=True):
        if name not in known | _OF_POOLS and not name.startswith(("ssl_", "sentinel_")):
            raise ConfigurationError(f"redis_url has the unknown option {name[:40]!r}; a correct one is {EXAMPLE!r}")


def _check_tls(kind: str, arguments: dict[str, Any]) -> None:
    """Names of TLS options, and what older releases of redis-py leave as text. Raises: ConfigurationError."""
    from redis.connection import SSLConnection

    named = [name for name in arguments if name.startswith("ssl_")]
    if named and kind != "SSLConnection":
        raise ConfigurationError(f"redis_url has the option {named[0]} but a scheme without TLS; write rediss:// or valkeys://")
    known = [name for name in signature(SSLConnection.__init__).parameters if name.startswith("ssl_")]
    for name in named:
        if name not in known:
            raise ConfigurationError(f"redis_url has the unknown option {name!r}; those of TLS are {', '.join(known)}")
    if arguments.get("ssl_cert_reqs", "required") not in {*_CERTIFICATES, *ssl.VerifyMode}:
        raise ConfigurationError(f"redis_url has ssl_cert_reqs that is not one of {', '.join(_CERTIFICATES)}")
    if isinstance(told := arguments.get("ssl_check_hostname"), str):
        arguments["ssl_check_hostname"] = told.lower() not in {"", "0", "f", "false", "n", "no"}


def _node(host: str, shape: str) -> Node:
    parts = urlsplit(f"//{host}")
    if not parts.hostname or "/" in host:
        raise _unreadable(shape, "an empty host")
    return unquote(parts.hostname), parts.port or _PORTS[shape]


def _unreadable(shape: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"redis_url cannot be read ({why}); a correct one is {_EXAMPLES[shape]!r}")
