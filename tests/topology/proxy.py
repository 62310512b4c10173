"""A proxy on loopback between a client and a server: it ends TLS, or holds what the client is told for a while.

In a thread, or as a process of its own: ``python -m tests.topology.proxy PORT LAG`` prints the port it listens on.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
import threading
from collections.abc import Iterator
from typing import Any


class Proxy:
    """Forwards to a port.

    Args:
        target: the port of the server.
        tls: what a client has to speak TLS with, if it has to.
        lag: seconds everything from the server is late.
    """

    def __init__(self, target: int, tls: ssl.SSLContext | None = None, lag: float = 0.0) -> None:
        self._target = target
        self._tls = tls
        self._lag = lag
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda _, context: None)  # refused handshakes are what some tests are about
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._run(self._listen())
        self.port: int = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Hang up on everybody."""
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)

    async def _stop(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.01)  # transports close in a later turn of the loop

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            answers, requests = await asyncio.open_connection("127.0.0.1", self._target)
            ways = ((reader, requests, 0.0), (answers, writer, self._lag))
            pumps = [asyncio.ensure_future(self._pump(*way)) for way in ways]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                requests.transport.abort()
                writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lag: float) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(65_536):
                if lag:
                    self._loop.call_later(lag, writer.write, chunk)
                else:
                    writer.write(chunk)
                    await writer.drain()
            await asyncio.sleep(lag)


@contextlib.contextmanager
def proxied(target: int, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """The port of a proxy while it is needed."""
    proxy = Proxy(target, tls)
    try:
        yield proxy.port
    finally:
        proxy.close()


if __name__ == "__main__":
    print(Proxy(int(sys.argv[1]), lag=float(sys.argv[2])).port, flush=True)
    threading.Event().wait()
