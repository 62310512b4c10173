"""Where Redis is: one server, a cluster, or a master that sentinels know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

Node: TypeAlias = tuple[str, int]
"""Host and port of a server."""
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
_SHOWN: Final = 3


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

    @property
    def split(self) -> bool:
        """Whether keys may live on several servers, unless they share a hash tag."""
        return False

    def at(self, node: Node) -> Address:
        """The server at `node`, with the TLS settings and credentials of this address."""
        return Address(self.kind, {**self.arguments, "host": node[0], "port": node[1]})


@dataclass(frozen=True, slots=True)
class ClusterAddress(Address):
    """A cluster: where to ask for its nodes first. `arguments` are those of every node.

    `remap` is redis-py's `address_remap`: where a node is for us that calls itself something else.
    """

    nodes: tuple[Node, ...]
    remap: Callable[[Node], Node] | None = field(default=None, repr=False)

    @property
    def split(self) -> bool:
        """Always."""
        return True

    def __str__(self) -> str:
        """Where it is, without credentials."""
        return f"the cluster at {_listed([f'{host}:{port}' for host, port in self.nodes])}"


@dataclass(frozen=True, slots=True)
class SentinelAddress(Address):
    """The master that `sentinels` call `service`. `arguments` are those of the master, wherever it is."""

    service: str
    sentinels: tuple[Address, ...]

    def __str__(self) -> str:
        """Where it is, without credentials."""
        return f"{self.service} of the sentinels at {_listed([str(sentinel) for sentinel in self.sentinels])}"


def lent(arguments: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """What our own connections take over from a URL or a client: the address, TLS and credentials; no timeouts, no retries."""
    if kind == "fake":
        return {name: value for name, value in arguments.items() if name in _LENT_BY_FAKES}
    return {name: value for name, value in arguments.items() if name in _LENT or name.startswith("ssl_")}


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
