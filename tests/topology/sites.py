"""Servers that work together: clusters with replicas, masters under Sentinel. Started on loopback, stopped at exit."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from tests import servers

SERVICE = "mymaster"
_PATIENCE = 30.0


def client(port: int, **options: Any) -> redis.Redis:
    """A client of one server."""
    return redis.Redis(port=port, decode_responses=True, socket_timeout=5, **options)


def ask(port: int, *words: Any) -> Any:
    """One command to one server."""
    with client(port) as connection:
        return connection.execute_command(*words)


def until(fact: Callable[[], object], what: str) -> None:
    """Wait for something a server does in its own time."""
    end = time.monotonic() + _PATIENCE
    while True:
        with contextlib.suppress(redis.RedisError, OSError):
            if fact():
                return
        assert time.monotonic() < end, f"it never came to pass: {what}"
        time.sleep(0.02)


def fields(text: str | dict[str, Any]) -> dict[str, str]:
    """The lines of an INFO or CLUSTER INFO."""
    if isinstance(text, dict):
        return {name: str(value) for name, value in text.items()}
    return dict(line.split(":", 1) for line in text.split() if ":" in line)


def kill(process: servers.Proc) -> None:
    """End a server as a crash does."""
    process.popen.send_signal(signal.SIGKILL)
    process.popen.wait(5)


@contextlib.contextmanager
def halted(process: servers.Proc) -> Iterator[None]:
    """A server that hangs."""
    os.kill(process.popen.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process.popen.pid, signal.SIGCONT)


@dataclass
class Site:
    """Servers, and where to find them."""

    nodes: list[servers.Proc]
    replicas: list[servers.Proc] = field(default_factory=list)
    sentinels: list[servers.Proc] = field(default_factory=list)
    link: servers.subprocess.Popen[str] | None = None
    """What the replica hears its master through, if that is late."""

    @property
    def url(self) -> str:
        """The URL for lockwatch."""
        if self.sentinels:
            return f"redis+sentinel://{_hosts(self.sentinels)}/{SERVICE}"
        return f"redis+cluster://{_hosts(self.nodes)}"

    def stop(self) -> None:
        """End all servers."""
        for process in (*self.nodes, *self.replicas, *self.sentinels):
            process.stop()
        self.cut()

    def cut(self) -> None:
        """End what replicas hear their master through; what is on its way there is lost."""
        if self.link is not None:
            self.link.kill()
            self.link.wait(5)
            if self.link.stdout is not None:
                self.link.stdout.close()


@contextlib.contextmanager
def running(site: Site) -> Iterator[Site]:
    """A site while it is needed."""
    try:
        yield site
    finally:
        site.stop()


def _hosts(processes: list[servers.Proc]) -> str:
    return ",".join(f"127.0.0.1:{process.port}" for process in processes)


# ----------------------------------------------------------------------- cluster
def start_cluster(replicas: bool = False) -> Site:
    """Three masters, with a replica each if told."""
    nodes = servers.start_cluster()
    for node in nodes:
        ask(node.port, "CONFIG", "SET", "repl-diskless-sync-delay", 0)
    site = Site(nodes, [_cluster_replica(node) for node in nodes] if replicas else [])
    for node, replica in zip(site.nodes, site.replicas, strict=False):
        _in_step(node, replica)
    return site


def _in_step(master: servers.Proc, replica: servers.Proc) -> None:
    until(lambda: fields(ask(replica.port, "INFO", "replication"))["master_link_status"] == "up", "a replica in step")
    until(lambda: fields(ask(master.port, "INFO", "replication"))["connected_slaves"] == "1", "a master with its replica")


def _cluster_replica(master: servers.Proc) -> servers.Proc:
    options = ("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "2000")
    process = servers.start_redis(*options)
    name = ask(master.port, "CLUSTER", "MYID")
    ask(process.port, "CLUSTER", "MEET", "127.0.0.1", master.port)
    until(lambda: ask(process.port, "CLUSTER", "REPLICATE", name), "a node that knows its master")
    return process


def node_of(site: Site, slot: int) -> servers.Proc:
    """The master that serves a slot now."""
    for first, last, (_, port, *_), *_ in ask(site.nodes[0].port, "CLUSTER", "SLOTS"):
        if first <= slot <= last:
            return next(node for node in (*site.nodes, *site.replicas) if node.port == port)
    raise AssertionError(slot)


# ---------------------------------------------------------------------- sentinel
def start_sentinels(sentinels: int = 3, lag: float = 0.0, careful: bool = False) -> Site:
    """A master with a replica, `lag` seconds behind, and sentinels that need half a second to think it dead.

    A `careful` master does not write without a replica.
    """
    master = servers.start_redis("--repl-diskless-sync-delay", "0")
    link, heard = _late(master.port, lag) if lag else (None, master.port)
    replica = servers.start_redis("--replicaof", f"127.0.0.1 {heard}")
    _in_step(master, replica)
    if careful:
        ask(master.port, "CONFIG", "SET", "min-replicas-to-write", 1)
    patience = 60_000 if lag else 2_000  # sentinels mend a replica that hears another port, after this time
    watching = [start_sentinel(master.port, sentinels // 2 + 1, patience) for _ in range(sentinels)]
    site = Site([master], [replica], watching, link)
    for sentinel in site.sentinels:
        until(lambda port=sentinel.port: _watches(port, sentinels), "a sentinel that knows the others")
    return site


def _late(port: int, lag: float) -> tuple[servers.subprocess.Popen[str], int]:
    """A proxy in a process of its own, and its port."""
    command = [sys.executable, "-m", "tests.topology.proxy", str(port), str(lag)]
    process = servers.subprocess.Popen(command, stdout=servers.subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    servers.atexit.register(process.kill)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def _watches(port: int, sentinels: int) -> bool:
    with client(port) as connection:
        state = connection.sentinel_master(SERVICE)
    return state["num-slaves"] == 1 and state["num-other-sentinels"] == sentinels - 1


def start_sentinel(master: int, quorum: int, patience: int = 2_000) -> servers.Proc:
    """A sentinel that thinks a master dead after half a second, and gives a failover `patience` milliseconds."""
    binary, origin = servers.redis_binary()
    port, root = servers.free_port(), Path(servers.tempfile.mkdtemp(prefix="lw-sentinel-"))
    lines = [
        f"port {port}",
        "bind 127.0.0.1",
        f"dir {root}",
        f"sentinel monitor {SERVICE} 127.0.0.1 {master} {quorum}",
        f"sentinel down-after-milliseconds {SERVICE} 500",
        f"sentinel failover-timeout {SERVICE} {patience}",
    ]
    (root / "sentinel.conf").write_text("\n".join(lines) + "\n")
    with (root / "log").open("wb") as log:
        popen = servers.subprocess.Popen(
            [binary, str(root / "sentinel.conf"), "--sentinel"], stdout=log, stderr=log, stdin=servers.subprocess.DEVNULL
        )
    process = servers.Proc(popen, str(root), port, origin)
    servers.atexit.register(process.stop)
    until(lambda: ask(port, "PING"), "a sentinel that answers")
    return process


def master_port(site: Site) -> int:
    """Who the first sentinel says the master is."""
    _, port = ask(site.sentinels[0].port, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
    return int(port)
