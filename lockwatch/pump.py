"""Moves events from the stream to those that want them, on the worker, in small portions.

The worker shares the interpreter with the requests of its process. So a step spends at most a tenth of the time, more only when
events would be lost otherwise, and it pauses between portions for others to run.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Awaitable, Callable
from functools import partial
from time import thread_time
from typing import Final, TypeAlias

from lockwatch import native
from lockwatch.event import HTTP, Event
from lockwatch.stream import CAPACITY, Stream
from lockwatch.worker import shared

Consumer: TypeAlias = Callable[[list[Event]], Awaitable[None]]
Chore: TypeAlias = Callable[[], Awaitable[None]]
logger = logging.getLogger("lockwatch")
PERIOD: Final = 0.05
"""Seconds between two steps."""
PORTION: Final = 128
"""Events that are handed over at once."""
SHARE: Final = 0.1
"""Of the time, for a step, as long as the queues are short."""
PAUSE: Final = 0.0005
"""Seconds between two portions."""


class Pump:
    """Drains one stream.

    Args:
        stream: where events wait.
        consumers: called in order with each portion.

    Attributes:
        chores: called in order at the end of each step.
        finishers: called by `flush`, in order, when everything was handed over.
        endings: called in order when nobody drains any more.
    """

    def __init__(self, stream: Stream, consumers: list[Consumer]) -> None:
        self.stream = stream
        self.consumers = consumers
        self.chores: list[Chore] = []
        self.finishers: list[Chore] = []
        self.endings: list[Chore] = []
        self._ended = False
        self._turn: asyncio.Lock | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def step(self) -> None:
        """Hand over what waits, as far as the time goes; on the worker's loop."""
        async with self._alone():
            if self._ended and not self.stream.pending:
                return
            self._ended = False
            ends = thread_time() + self._budget()
            more = await self._portion()
            while more and thread_time() < ends:
                await asyncio.sleep(PAUSE)
                more = await self._portion()
            await self._all("chores", self.chores)

    async def finish(self) -> None:
        """Hand over everything, and wait until it has arrived; on the worker's loop."""
        async with self._alone():
            while await self._portion():
                pass
            await self._all("chores", self.chores)
        await self._all("flush", self.finishers)

    async def end(self) -> None:
        """`finish`, and let go of what is open. Does nothing a second time, unless something has happened since."""
        if self._ended and not self.stream.pending:
            return
        await self.finish()
        self._ended = True
        await self._all("end", self.endings)

    async def flush(self, within: float, end: bool = False) -> bool:
        """`finish` or `end` from any other loop; False when it takes longer than `within` seconds, or cannot be done."""
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        if not shared().post("flush", partial(self._and_tell, partial(_tell, loop, done), end)):
            return False
        try:
            await asyncio.wait_for(done, within)
        except TimeoutError:
            return False
        return True

    def flush_sync(self, within: float, end: bool = False) -> bool:
        """`flush` where no event loop runs."""
        done = native.lock()
        done.acquire()
        return shared().post("flush", partial(self._and_tell, done.release, end)) and bool(done.acquire(timeout=within))

    async def _and_tell(self, tell: Callable[[], object], end: bool) -> None:
        try:
            await (self.end() if end else self.finish())
        finally:
            tell()

    def _budget(self) -> float:
        """Seconds of this thread's time for one step: more when the queues fill up."""
        filled = self.stream.pending / CAPACITY[HTTP]
        return PERIOD * SHARE * (1 if filled < 0.1 else 2 if filled < 0.25 else 8)

    async def _portion(self) -> bool:
        """Hand over some; whether there may be more."""
        events = self.stream.drain(PORTION)
        if events:
            for number, consumer in enumerate(self.consumers):
                await shared().attempt(f"consumer {number} of events", partial(consumer, events))
        return len(events) == PORTION

    async def _all(self, name: str, chores: list[Chore]) -> None:
        for number, chore in enumerate(chores):
            await shared().attempt(f"{name} {number} of events", chore)

    def _alone(self) -> asyncio.Lock:
        """One at a time on the loop of the worker, whose thread may have ended and begun again."""
        loop = asyncio.get_running_loop()
        if self._turn is None or self._loop is not loop:
            self._turn, self._loop = asyncio.Lock(), loop
        return self._turn


def _tell(loop: asyncio.AbstractEventLoop, done: asyncio.Future[None]) -> None:
    try:
        loop.call_soon_threadsafe(_arrive, done)
    except RuntimeError:  # whoever waited has gone, and the loop with them
        pass


def _arrive(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)


def weakly(work: Chore) -> Chore:
    """A bound method that does not keep its object alive, and does nothing when that has gone."""
    weak: Callable[[], Chore | None] = weakref.WeakMethod(work)

    async def call() -> None:
        if (found := weak()) is not None:
            await found()

    return call
