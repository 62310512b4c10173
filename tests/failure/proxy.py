"""A loopback TCP proxy that does to connections what a test tells it, in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from typing import Any, Final

MODES: Final = ("pass", "stall", "reset", "half-close", "drop")
_AT_ONCE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER: on, for no time; closing then sends RST."""


class Proxy:
    """Forwards to a port of this machine.

    Modes: ``pass`` forwards, ``stall`` holds everything back until the mode changes, ``reset`` answers connections and what they
    send with RST, ``half-close`` says at once that nothing more will come and goes on to read, ``drop`` forwards requests and
    loses the replies. `delay` holds each piece back for so many seconds.
    """

    def __init__(self, port: int) -> None:
        self.mode = "pass"
        self.delay = 0.0
        self.accepted = 0
        self._upstream = port
        self._loop = asyncio.new_event_loop()
        self._changed = asyncio.Event()
        self._clients: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server: asyncio.Server = self._run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def become(self, mode: str, delay: float = 0.0) -> None:
        """Change the mode, also for the connections there are."""
        assert mode in MODES
        self._run(self._become(mode, delay))

    def close(self) -> None:
        """Hang up on everybody."""
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(5)

    async def _become(self, mode: str, delay: float) -> None:
        self.mode, self.delay = mode, delay
        self._changed.set()
        self._changed = asyncio.Event()
        for writer in list(self._clients):
            self._treat(writer)

    def _treat(self, writer: asyncio.StreamWriter) -> None:
        if self.mode == "reset":
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            writer.transport.abort()
        if self.mode == "half-close" and writer.can_write_eof():
            with contextlib.suppress(OSError):
                writer.write_eof()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._clients.add(writer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._treat(writer)
        try:
            with contextlib.suppress(OSError):
                await self._join(reader, writer)
        finally:
            self._clients.discard(writer)
            self._tasks.discard(task)
            writer.close()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._upstream)
        try:
            done = [asyncio.ensure_future(self._pump(reader, back, False)), asyncio.ensure_future(self._pump(there, writer, True))]
            await asyncio.wait(done, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.cancel()
            await asyncio.gather(*done, return_exceptions=True)
        finally:
            back.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, replies: bool) -> None:
        while data := await source.read(65_536):
            if self.delay:
                await asyncio.sleep(self.delay)
            while self.mode == "stall":
                await self._changed.wait()
            if not (replies and self.mode in {"drop", "half-close"}):
                sink.write(data)

    async def _end(self) -> None:
        self._server.close()
        self.mode = "pass"
        self._changed.set()
        for writer in list(self._clients):
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)
