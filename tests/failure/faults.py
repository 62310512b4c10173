"""Everything that happens to a store, as something that begins and ends."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import redis

from tests import servers
from tests.failure.proxy import Proxy

PASSWORD = "right-but-secret"


class Fault:
    """A server of its own, and what goes wrong with it."""

    arguments: ClassVar[tuple[str, ...]] = ()
    password: str | None = None

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.server = servers.start_redis(*self.arguments)
        self.port = self.server.port
        self._admin = redis.Redis(port=self.port, password=self.password)
        self._admin.ping()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def admin(self, *command: Any) -> None:
        """Run a command of an operator."""
        self._admin.execute_command(*command)

    def begin(self) -> None:
        """Break it."""

    def end(self) -> None:
        """Mend it."""

    def close(self) -> None:
        """Stop what was started."""
        self._admin.close()
        self.server.stop()


class Killed(Fault):
    def begin(self) -> None:
        self.server.popen.kill()
        self.server.stop()

    def end(self) -> None:
        self.server = servers.start_redis(port=self.port)


class Stopped(Fault):
    def begin(self) -> None:
        self.server.popen.send_signal(signal.SIGSTOP)

    def end(self) -> None:
        self.server.popen.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.end()
        super().close()


class Paused(Fault):
    def begin(self) -> None:
        self.admin("CLIENT", "PAUSE", "2000")

    def end(self) -> None:
        self.admin("PING")  # answered when it is over: UNPAUSE is held back too


class Full(Fault):
    arguments = ("--maxmemory-policy", "noeviction")

    def begin(self) -> None:
        self.admin("CONFIG", "SET", "maxmemory", "1")

    def end(self) -> None:
        self.admin("CONFIG", "SET", "maxmemory", "0")


class Replica(Fault):
    """A failover made it a replica that cannot be written."""

    def begin(self) -> None:
        self.admin("REPLICAOF", "127.0.0.1", "1")

    def end(self) -> None:
        self.admin("REPLICAOF", "NO", "ONE")


class Unreplicated(Fault):
    """A master that must not write without replicas."""

    def begin(self) -> None:
        self.admin("CONFIG", "SET", "min-replicas-to-write", "1")

    def end(self) -> None:
        self.admin("CONFIG", "SET", "min-replicas-to-write", "0")


class WithoutRights(Fault):
    """The rights of the user were taken away."""

    def begin(self) -> None:
        self.admin("ACL", "SETUSER", "default", "-set", "-setex", "-setrange", "-append")

    def end(self) -> None:
        self.admin("ACL", "SETUSER", "default", "+@all")


class WrongPassword(Fault):
    """The password was changed on the server, and is changed back."""

    arguments = ("--requirepass", PASSWORD)
    password = PASSWORD

    @property
    def url(self) -> str:
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"

    def begin(self) -> None:
        self.admin("CONFIG", "SET", "requirepass", "another")
        self.admin("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def end(self) -> None:
        self.admin("CONFIG", "SET", "requirepass", PASSWORD)


class Unresolved(Fault):
    """The name of the server is known to nobody for a while."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(monkeypatch)
        self._known = True
        real = socket.getaddrinfo

        def resolve(host: Any, *arguments: Any, **options: Any) -> Any:
            if host != "redis.example":
                return real(host, *arguments, **options)
            if self._known:
                return real("127.0.0.1", *arguments, **options)
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", resolve)

    @property
    def url(self) -> str:
        return f"redis://redis.example:{self.port}/0"

    def begin(self) -> None:
        self._known = False
        self.admin("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def end(self) -> None:
        self._known = True


class Proxied(Fault):
    """A proxy between us and the server misbehaves."""

    mode = ""
    delay = 0.0

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(monkeypatch)
        self.proxy = Proxy(self.server.port)

    @property
    def url(self) -> str:
        return self.proxy.url

    def begin(self) -> None:
        self.proxy.become(self.mode, self.delay)

    def end(self) -> None:
        self.proxy.become("pass")

    def close(self) -> None:
        self.proxy.close()
        super().close()


def proxied(mode: str, delay: float = 0.0) -> type[Fault]:
    return type(f"Proxy{mode.title()}", (Proxied,), {"mode": mode, "delay": delay})


FAULTS: dict[str, Callable[[pytest.MonkeyPatch], Fault]] = {
    "killed": Killed,
    "stopped": Stopped,
    "paused": Paused,
    "full": Full,
    "replica": Replica,
    "without replicas": Unreplicated,
    "without rights": WithoutRights,
    "wrong password": WrongPassword,
    "unresolved": Unresolved,
    "proxy stalls": proxied("stall"),
    "proxy resets": proxied("reset"),
    "proxy half-closes": proxied("half-close"),
    "proxy drops replies": proxied("drop"),
    "proxy is slow": proxied("pass", 0.4),
}
ANSWERING = {"full", "replica", "without replicas", "without rights"}
"""The store is there and says no: it goes on being asked."""
