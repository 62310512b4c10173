"""Proxies on loopback: one that ends TLS in front of a server, one that is late.

The late one is a process of its own: ``python -m tests.topology.proxy PORT LAG`` prints the port it listens on.
"""

from __future__ import annotations

import contextlib
import queue
import select
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator


class TlsProxy:
    """Speaks TLS in front of a port. A refused client gets the alert that OpenSSL has for it."""

    def __init__(self, target: int, context: ssl.SSLContext) -> None:
        self._target = target
        self._context = context
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._closing = False
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        """Hang up on everybody."""
        self._closing = True
        socket.create_connection(("127.0.0.1", self.port), 5).close()  # wakes who accepts
        for thread in self._threads:
            thread.join(5)
        self._socket.close()

    def _accept(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            if self._closing:
                connection.close()
                return
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(5)
            client = self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            with client, socket.create_connection(("127.0.0.1", self._target), 5) as server:
                try:
                    client.do_handshake()
                except ssl.SSLError:
                    _hear_out(client)
                    raise
                self._forward(client, server)

    def _forward(self, client: ssl.SSLSocket, server: socket.socket) -> None:
        while not self._closing:
            ready = [client] if client.pending() else select.select([client, server], [], [], 0.1)[0]
            for one in ready:
                data = one.recv(65_536)
                if not data:
                    return
                (server if one is client else client).sendall(data)


def _hear_out(client: socket.socket) -> None:
    """Let a client read the alert: a socket closed on unread data is reset, and the alert lost."""
    client.settimeout(0.5)
    with contextlib.suppress(OSError):
        socket.socket.shutdown(client, socket.SHUT_WR)
        while socket.socket.recv(client, 65_536):
            pass


@contextlib.contextmanager
def secured(target: int, context: ssl.SSLContext) -> Iterator[int]:
    """The port of a `TlsProxy` while it is needed."""
    proxy = TlsProxy(target, context)
    try:
        yield proxy.port
    finally:
        proxy.close()


def be_late(target: int, lag: float) -> None:
    """Forward to a port; what it answers is `lag` seconds late. Prints where it listens, never returns."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(listening.getsockname()[1], flush=True)
        while True:
            client, _ = listening.accept()
            server = socket.create_connection(("127.0.0.1", target))
            for source, sink, late in ((client, server, 0.0), (server, client, lag)):
                held: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
                threading.Thread(target=_hold, args=(source, held, late), daemon=True).start()
                threading.Thread(target=_release, args=(held, sink), daemon=True).start()


def _hold(source: socket.socket, held: queue.SimpleQueue[tuple[float, bytes]], late: float) -> None:
    data = b"begin"
    while data:
        data = source.recv(65_536)
        held.put((time.monotonic() + late, data))


def _release(held: queue.SimpleQueue[tuple[float, bytes]], sink: socket.socket) -> None:
    while True:
        due, data = held.get()
        time.sleep(max(0.0, due - time.monotonic()))
        if not data:
            sink.shutdown(socket.SHUT_WR)
            return
        sink.sendall(data)


if __name__ == "__main__":
    be_late(int(sys.argv[1]), float(sys.argv[2]))
