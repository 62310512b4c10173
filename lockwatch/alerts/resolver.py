"""Addresses of names, looked up in threads of their own.

A name server that hangs then holds up nothing else, not even the end of the process.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from lockwatch import native

Lookup: TypeAlias = Callable[[str, int], Sequence[str]]
_Waiting: TypeAlias = "list[tuple[asyncio.AbstractEventLoop, asyncio.Future[Sequence[str]]]]"


def look_up(host: str, port: int) -> Sequence[str]:
    """Every address of a name, from the operating system; none when it has none."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    return [str(entry[4][0]) for entry in found]


class Resolver:
    """Looks names up, each one once at a time, for whatever event loop asks.

    Args:
        lookup: blocks until it knows.
    """

    def __init__(self, lookup: Lookup = look_up) -> None:
        self._lookup = lookup
        self.forked()
        native.tell_of_forks(self)

    async def addresses(self, host: str, port: int) -> Sequence[str]:
        """Every address of a name."""
        native.at_home(self)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Sequence[str]] = loop.create_future()
        with self._lock:
            waiting = self._waiting.setdefault((host, port), [])
            waiting.append((loop, answer))
            first = len(waiting) == 1
        if first:
            native.start(partial(self._look, host, port), "lockwatch-resolver")
        return await answer

    def forked(self) -> None:
        """Begin anew in a child, which has none of the threads."""
        self.pid = os.getpid()
        self._lock = native.lock()
        self._waiting: dict[tuple[str, int], _Waiting] = {}

    def _look(self, host: str, port: int) -> None:
        found: Sequence[str] = ()
        try:
            found = self._lookup(host, port)
        finally:
            with self._lock:
                waiting = self._waiting.pop((host, port))
            for loop, answer in waiting:
                _tell(loop, answer, found)


def _tell(loop: asyncio.AbstractEventLoop, answer: asyncio.Future[Sequence[str]], found: Sequence[str]) -> None:
    try:
        loop.call_soon_threadsafe(_set, answer, found)
    except RuntimeError:
        return  # the loop has ended, and who waited with it


def _set(answer: asyncio.Future[Sequence[str]], found: Sequence[str]) -> None:
    if not answer.done():
        answer.set_result(found)
