"""A short way to read: an answer that arrives in one piece is taken from the transport, without a task that waits for it.

redis-py connects, greets and authenticates. A `Line` then stands between its transport and its stream. Whatever is no whole
answer of ours (an error, a part, the end of the connection) goes on to the stream, where redis-py reads it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias

Answered: TypeAlias = Callable[[bytes | None], None]
"""Told the text of an answer, or None when it has to be read from the stream."""


class Line(asyncio.Protocol):
    """One connection, seen from its transport.

    Args:
        transport: of a connection that is open and at rest.

    Attributes:
        transport: of the connection.
        strayed: something came that nobody asked for here.
        ended: the server has nothing more to say.
    """

    def __init__(self, transport: Any) -> None:
        self.transport = transport
        self.strayed = self.ended = False
        self._stream = transport.get_protocol()
        self._answered: Answered | None = None
        transport.set_protocol(self)

    @property
    def open(self) -> bool:
        """Whether a question can be sent: the connection is there, and what comes next is its answer."""
        return not (self.strayed or self.ended or self.transport.is_closing())

    def ask(self, command: bytes, answered: Answered) -> None:
        """Send a command; `answered` is called once, unless it is forgotten before."""
        self._answered = answered
        self.transport.write(command)

    def forget(self) -> None:
        """Nobody waits for the answer any more."""
        self._answered = None

    def data_received(self, data: bytes) -> None:
        """Take a whole answer, pass on everything else."""
        answered, self._answered = self._answered, None
        text, more = (None, True) if answered is None else bulk(data)
        self.strayed = more
        if text is None:
            self._stream.data_received(data)
        if answered is not None:
            answered(text)

    def eof_received(self) -> bool | None:
        """The server has nothing more to say."""
        keeps: bool | None = self._stream.eof_received()
        self._end()
        return keeps

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        self._stream.connection_lost(error)
        self._end()

    def pause_writing(self) -> None:
        """The transport is full."""
        self._stream.pause_writing()

    def resume_writing(self) -> None:
        """The transport has room."""
        self._stream.resume_writing()

    def _end(self) -> None:
        self.ended = True
        answered, self._answered = self._answered, None
        if answered is not None:
            answered(None)


def bulk(data: bytes) -> tuple[bytes | None, bool]:
    """The text of the bulk string (RESP) that `data` begins with, None where it is not whole; whether more follows."""
    head, _, rest = data.partition(b"\r\n")
    length = head[1:]
    if head[:1] != b"$" or not length.isdigit():
        return None, True
    end = int(length)
    return (rest[:end], len(rest) > end + 2) if rest[end : end + 2] == b"\r\n" else (None, True)


def line_of(connection: Any, known: Line | None) -> Line | None:
    """The line of an open connection of redis-py that is at rest, `known` if it is still that one; None where its transport is none
    of an event loop's.
    """
    transport = getattr(getattr(connection, "_writer", None), "transport", None)
    if known is not None and known.transport is transport:
        known.strayed = False
        return known
    return Line(transport) if hasattr(transport, "set_protocol") else None
