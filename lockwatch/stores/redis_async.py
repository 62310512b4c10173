"""Redis for event loops: all calls made in one tick of a loop travel as one script call.

Per running loop there are a few lanes, each a connection with at most one batch in flight. While all are busy, calls gather and
leave together. A bounded batch keeps Redis from being held long. Connections close with their loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, NamedTuple, TypeAlias

from redis.exceptions import NoScriptError, RedisError

from lockwatch.errors import StoreError, StoreTimeout
from lockwatch.flow import Call, Reply
from lockwatch.stores import wire
from lockwatch.stores.connect import Address, async_pool

Report: TypeAlias = Callable[[StoreError | None], None] | None
_LATE = 0.005
"""A timer this late means that our own loop stood still, not the store."""


class AsyncRedisStore:
    """A store on one Redis or Valkey, for every event loop of the process.

    Args:
        address: where it is.
        deadline: seconds from the call to its answer, connecting included.
        lanes: connections per loop.
        batch: calls per script call.
        report: told of every batch: None when it was answered, else why not.
    """

    def __init__(self, address: Address, deadline: float = 0.05, *, lanes: int = 4, batch: int = 64, report: Report = None) -> None:
        self.address = address
        self._settings = Settings(deadline, lanes, batch, report)
        self._batchers: dict[asyncio.AbstractEventLoop, _Batcher] = {}

    def call(self, call: Call) -> Awaitable[Reply]:
        """Run one script, together with the other calls of this tick. Raises: StoreError, StoreTimeout."""
        loop = asyncio.get_running_loop()
        batcher = self._batchers.get(loop)
        # A plain function: one coroutine less on the way of every request.
        return self._open(loop, call) if batcher is None else batcher.submit(call)

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        batcher = self._batchers.pop(asyncio.get_running_loop(), None)
        if batcher is not None:
            await batcher.keeper.aclose()

    async def _open(self, loop: asyncio.AbstractEventLoop, call: Call) -> Reply:
        if loop not in self._batchers:
            for ended in [known for known in self._batchers if known.is_closed()]:
                self._batchers.pop(ended, None)
            pool = async_pool(self.address, self._settings.deadline)
            lanes = [_Lane(pool.make_connection()) for _ in range(self._settings.lanes)]
            self._batchers[loop] = _Batcher(loop, lanes, self._settings)
            await anext(self._batchers[loop].keeper)
        return await self._batchers[loop].submit(call)


class Settings(NamedTuple):
    """How batches travel; see `AsyncRedisStore`."""

    deadline: float
    lanes: int
    batch: int
    report: Report


class _Item(NamedTuple):
    call: Call
    answer: asyncio.Future[Reply]
    due: float


class _Lane:
    """One connection, used by one batch at a time."""

    def __init__(self, connection: Any) -> None:
        self.busy = False
        self.items: list[_Item] = []
        self.task: asyncio.Task[None] | None = None
        self._connection: Any = connection

    async def exchange(self, calls: list[Call]) -> bytes:
        connection = self._connection
        if not connection.is_connected:
            await connection.connect()
        await connection.send_packed_command([wire.command(calls)], check_health=False)
        try:
            reply: bytes = await connection.read_response(disable_decoding=True)
        except NoScriptError:
            await connection.send_packed_command([wire.command(calls, whole=True)], check_health=False)
            reply = await connection.read_response(disable_decoding=True)
        return reply

    async def close(self) -> None:
        await self._connection.disconnect(nowait=True)


class _Batcher:
    """The calls of one event loop, on their way and waiting."""

    def __init__(self, loop: asyncio.AbstractEventLoop, lanes: list[_Lane], settings: Settings) -> None:
        self._loop = loop
        self._lanes = lanes
        self._deadline, _, self._batch, self._report = settings
        self._waiting: deque[_Item] = deque()
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        # A loop that ends closes its async generators: the one moment to close connections however the loop was run.
        self.keeper = self._keep()

    def submit(self, call: Call) -> asyncio.Future[Reply]:
        answer: asyncio.Future[Reply] = self._loop.create_future()
        due = self._loop.time() + self._deadline
        self._waiting.append(_Item(call, answer, due))
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._dispatch)
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._expire, due)
        return answer

    def _dispatch(self) -> None:
        self._scheduled = False
        for lane in self._lanes:
            if not self._waiting:
                return
            if not lane.busy:
                items = [self._waiting.popleft() for _ in range(min(self._batch, len(self._waiting)))]
                items = [item for item in items if not item.answer.done()]
                if items:
                    lane.busy, lane.items = True, items
                    lane.task = self._loop.create_task(self._travel(lane, items))

    async def _travel(self, lane: _Lane, items: list[_Item]) -> None:
        failure: StoreError | None = None
        refused: StoreError | None = None
        try:
            text = await lane.exchange([item.call for item in items])
            for item, reply in zip(items, wire.replies(text, len(items)), strict=True):
                _answer(item, reply)
                refused = reply if isinstance(reply, StoreError) else refused
        except asyncio.CancelledError:
            failure = StoreTimeout("no answer from the store within the deadline")
        except (RedisError, OSError, StoreError, asyncio.IncompleteReadError) as error:
            failure = StoreError(f"the store failed: {type(error).__name__}: {str(error)[:200]}")
            failure.__cause__ = error
        except BaseException as error:
            _fail(items, error)  # a bug of ours: it must not look like an outage
            await lane.close()
            raise
        finally:
            lane.busy = False
            if self._waiting:
                self._dispatch()
        if failure is not None:
            _fail(items, failure)
            await lane.close()
        if self._report is not None:
            self._report(failure or refused)

    def _expire(self, due: float, patience: bool = True) -> None:
        """Fail what is overdue. When this very timer is late, the loop was blocked: read what arrived meanwhile first."""
        now = self._loop.time()
        if patience and now - due > _LATE:
            self._timer = self._loop.call_later(_LATE, self._expire, due, False)
            return
        while self._waiting and self._waiting[0].due <= now:
            self._give_up([self._waiting.popleft()], StoreTimeout("every connection to the store is busy past the deadline"))
        upcoming = [self._waiting[0].due] if self._waiting else []
        for lane in self._lanes:
            if lane.busy:
                upcoming += self._overdue(lane, now)
        self._timer = self._loop.call_at(min(upcoming), self._expire, min(upcoming)) if upcoming else None

    def _overdue(self, lane: _Lane, now: float) -> list[float]:
        """Fail the calls of a lane that are overdue, and the lane when all are; when the next will be."""
        late = [item for item in lane.items if item.due <= now]
        self._give_up(late, StoreTimeout("no answer from the store within the deadline"))
        due = [item.due for item in lane.items if item.due > now and not item.answer.done()]
        if lane.items[-1].due <= now and lane.task is not None:
            lane.task.cancel()
        return due[:1]

    def _give_up(self, items: list[_Item], error: StoreError) -> None:
        if items and self._report is not None:
            self._report(error)
        _fail(items, error)

    async def _keep(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            if self._timer is not None:
                self._timer.cancel()
            _fail(list(self._waiting), StoreError("the store was closed"))
            self._waiting.clear()
            tasks = [lane.task for lane in self._lanes if lane.busy and lane.task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for lane in self._lanes:
                await lane.close()


def _answer(item: _Item, reply: Reply | StoreError) -> None:
    if item.answer.done():
        return
    if isinstance(reply, StoreError):
        item.answer.set_exception(reply)
    else:
        item.answer.set_result(reply)


def _fail(items: list[_Item], error: BaseException) -> None:
    for item in items:
        if not item.answer.done():
            item.answer.set_exception(error)
