"""One connection of an event loop, with at most one batch of calls in flight."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from redis.exceptions import NoScriptError, RedisError, ResponseError

from lockwatch.errors import StoreError
from lockwatch.flow import Call, Reply
from lockwatch.stores import wire
from lockwatch.stores.line import Answered, Line, line_of


class Item(NamedTuple):
    """A call, and who waits for its answer until when."""

    call: Call
    answer: asyncio.Future[Reply]
    due: float


class Lane:
    """One connection, used by one batch at a time.

    Attributes:
        items: the batch under way; empty when there is none.
        task: what carries it, where more than sending and reading one answer is needed.
        began: when it left.
    """

    brief = True
    """Whether a batch is one question and one answer on a connection that stays what it is."""

    def __init__(self, connection: Any) -> None:
        self.items: list[Item] = []
        self.task: asyncio.Task[list[Reply | StoreError]] | None = None
        self.began = 0.0
        self.answered: Answered = _unheard
        self._connection: Any = connection
        self._line: Line | None = None
        self._clean = True

    def send(self, calls: list[Call]) -> bool:
        """Send calls without waiting, `answered` will hear; False, where they have to be exchanged."""
        line = self._line
        if line is None or not self._clean or not line.open or calls[0].wait:
            return False
        try:
            command = wire.command(calls)
        except ValueError:
            return False  # whoever waits for them is told why
        self._clean = False
        line.ask(command, self.answered)
        return True

    def read(self, text: bytes) -> list[Reply | StoreError]:
        """The replies in what was answered. Raises: StoreError."""
        replies = wire.replies(text, len(self.items))
        self._clean = True
        return replies

    def abandon(self) -> None:
        """Nobody waits for the batch under way; what is still to come would answer the wrong calls."""
        if self.task is not None:
            self.task.cancel()
        if self._line is not None:
            self._line.forget()

    async def exchange(self, calls: list[Call], sent: bool = False) -> list[Reply | StoreError]:
        """Send calls, unless they were sent, and read their replies. Raises: StoreError."""
        try:
            if not sent:
                await self._renew()
            self._clean = False
            replies = await (self._read(calls) if sent else self._ask(calls))
            if calls[0].wait and not isinstance(replies[0], StoreError):
                replies = [wire.confirmed(replies[0], await self._replicas(calls[0].wait))]
            self._clean = True
        except (RedisError, OSError, asyncio.IncompleteReadError) as error:
            raise wire.failure(error, "the store") from error
        self._straighten()
        return replies

    async def _renew(self) -> None:
        """Hang up where something may still come that would answer the wrong calls, or where the server has hung up."""
        reader = getattr(self._connection, "_reader", None)
        strayed = self._line is not None and self._line.strayed
        if not self._clean or strayed or (reader is not None and reader.at_eof()):
            await self.close()

    def _straighten(self) -> None:
        """Everything that came was asked for; the next batch may take the short way."""
        if self.brief:
            self._line = line_of(self._connection, self._line)

    async def _ask(self, calls: list[Call]) -> list[Reply | StoreError]:
        connection = self._connection
        if not connection.is_connected:
            await connection.connect()
        await connection.send_packed_command([wire.command(calls)], check_health=False)
        return await self._read(calls)

    async def _read(self, calls: list[Call]) -> list[Reply | StoreError]:
        connection = self._connection
        try:
            text = await connection.read_response(disable_decoding=True)
        except NoScriptError:
            await connection.send_packed_command([wire.command(calls, whole=True)], check_health=False)
            text = await connection.read_response(disable_decoding=True)
        return wire.replies(text, len(calls))

    async def _replicas(self, milliseconds: int) -> int:
        """How many replicas have what was just written on this connection."""
        try:
            await self._connection.send_command("WAIT", 1, milliseconds)
            return int(await self._connection.read_response())
        except ResponseError:
            return 0

    async def close(self, wait: bool = False) -> None:
        """Hang up; `wait` sees a TLS connection to its end, for as long as connecting may take."""
        self._line = None
        await self._connection.disconnect(nowait=not wait)


def _unheard(_: bytes | None) -> None:
    """Of a lane that belongs to no batcher yet."""
