"""The application under a real uvicorn, in a thread of this process.

A thread, not a subprocess: the port is bound here and handed over, so there is no race for it; the URL of a Redis, password and
all, is in no second command line and no environment; nothing stays behind when this process is killed; and how much of a body
the application read can be observed beside the client that sent it. uvicorn installs signal handlers in a main thread only, so
Ctrl-C stays ours. The price is one interpreter for server and client: the latencies shown are those of both together.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import Any

import uvicorn

from lockwatch import ConfigurationError, LockWatch, LockwatchError, StoreError
from lockwatch.anomaly.ban_flows import keys_of_bans
from lockwatch.anomaly.exchange import keys_of
from lockwatch.demo.demo import USER, application, settings
from lockwatch.demo.receiver import Receiver, receiving
from lockwatch.flow import Call, Flow
from lockwatch.link import Link
from lockwatch.tokens.names import Names, tag_of

_PATIENCE = 10.0


@dataclass(slots=True)
class Meter:
    """The outermost ASGI layer: how many bytes of its body each request's application asked the server for."""

    app: Any
    read: list[int] = field(default_factory=list)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Pass everything through, counting."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        mine = len(self.read)
        self.read.append(0)

        async def counting() -> Any:
            message = await receive()
            self.read[mine] += len(message.get("body", b""))
            return message

        await self.app(scope, counting, send)


@dataclass(frozen=True, slots=True)
class Running:
    """A server that accepts connections."""

    url: str
    lockwatch: LockWatch
    meter: Meter
    ended: threading.Event
    receiver: Receiver

    def wait(self) -> None:
        """Return when the server ends; Ctrl-C ends the wait."""
        # Not by `join`: in Python 3.11 one that Ctrl-C interrupts takes the thread for ended. Not without end: that cannot be
        # interrupted everywhere.
        while not self.ended.wait(0.5):
            pass


@contextmanager
def serving(redis_url: str | None, port: int) -> Iterator[Running]:
    """The demo application on a loopback port (0: a free one), counting in memory or in Redis, until the block ends.

    Raises: LockwatchError, when the port, the Redis or the server cannot be used.
    """
    with _quiet(), receiving() as receiver, TemporaryDirectory() as spool, _bound(port) as listener:
        lockwatch = LockWatch(config=settings(redis_url, receiver, spool))
        asyncio.run(_probe(lockwatch))
        lockwatch.audit.init_sync()  # now, not in the middle of what is measured
        meter = Meter(application(lockwatch))
        server = uvicorn.Server(_config(meter))
        ended = threading.Event()
        threading.Thread(target=_run, args=(server, listener, ended), name="lockwatch-demo").start()
        try:
            _await_start(server, ended)
            yield Running(f"http://127.0.0.1:{listener.getsockname()[1]}", lockwatch, meter, ended, receiver)
        finally:
            server.should_exit = True
            ended.wait()
            asyncio.run(_forget(lockwatch))


@contextmanager
def until_interrupt() -> Iterator[None]:
    """A block that Ctrl-C and SIGTERM end quietly."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


async def _probe(lockwatch: LockWatch) -> None:
    """Write to the store once, so that a Redis that cannot be used is a line now and not a failing story later."""
    decision = await lockwatch.take("demo", "probe", "1/second")
    health = lockwatch.health()
    await lockwatch.aclose()
    if decision.degraded:
        reason = " ".join(health.store_error.removeprefix("the store failed: ").split()) or "it refuses what is asked of it"
        raise StoreError(f"cannot use the Redis at {health.store}: {reason}")


async def _forget(lockwatch: LockWatch) -> None:
    """Leave no session and no ban behind: unlike buckets, they would stay for days."""
    names, user = Names(lockwatch.config.namespace), tag_of(lockwatch.tokens.flows.session_of(USER, bytes(64)))

    def forgetting() -> Flow[None]:
        for key in (names.origin(""), names.sessions(user or "")):
            yield Call("reset", (key,), ())
        for keys in (keys_of(lockwatch.config.namespace), keys_of_bans(lockwatch.config.namespace)):
            yield Call("reset", keys, ())

    await lockwatch.aclose()
    link = Link(lockwatch.config, lockwatch.engine.warn, works=False)  # nothing in the background, which would write again
    with suppress(StoreError):
        await link.drive(forgetting())
    await link.aclose()


@contextmanager
def _bound(port: int) -> Iterator[socket.socket]:
    try:
        listener = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise ConfigurationError(f"cannot listen on port {port} ({reason}); without --port a free one is taken") from error
    with listener:
        # Inherited by what it accepts: asyncio does not set it there, and waits for delayed ACKs (40 ms) would hide every latency.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield listener


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep lockwatch's log off the terminal, where logging prints what nobody handles; claims report what goes wrong."""
    handler, logger = logging.NullHandler(), logging.getLogger("lockwatch")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _config(app: Meter) -> uvicorn.Config:
    # The plainest uvicorn, whatever else is installed, and whatever WEB_CONCURRENCY or FORWARDED_ALLOW_IPS say.
    return uvicorn.Config(
        app,
        loop="asyncio",
        http="h11",
        ws="none",
        workers=1,
        proxy_headers=False,
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=2,
    )


def _run(server: uvicorn.Server, listener: socket.socket, ended: threading.Event) -> None:
    try:
        server.run([listener])
    finally:
        ended.set()


def _await_start(server: uvicorn.Server, ended: threading.Event) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not server.started:
        if ended.is_set() or time.monotonic() > deadline:
            raise LockwatchError("the server did not start")
        time.sleep(0.01)
