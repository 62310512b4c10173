"""The way to one server for one event loop: all calls made in one tick of the loop travel as one script call.

There are a few lanes, each a connection with at most one batch in flight. While all are busy, calls gather and leave together. A
bounded batch keeps Redis from being held long. Connections close with their loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

from lockwatch.errors import StoreError, StoreTimeout
from lockwatch.flow import Call, Reply
from lockwatch.stores.lane import Item, Lane

Report: TypeAlias = Callable[[StoreError | None], None] | None
Took: TypeAlias = Callable[[float], None] | None
_LATE = 0.005
"""A timer this late means that our own loop stood still, not the store."""
_TICK = 0.01
_REST = 0.01
"""A lane at rest for so long may have been hung up on: a task gives the loop a turn to hear of it before anything is sent."""
_new: Final[Any] = tuple.__new__
_SILENT = "no answer from the store within the deadline"


class Settings(NamedTuple):
    """How batches travel; see `redis_async.AsyncRedisStore`."""

    deadline: float
    lanes: int
    batch: int
    report: Report
    took: Took = None


class Batcher:
    """The calls of one event loop, on their way and waiting.

    Its clock stands still while the loop does: time in which we could not have read an answer is not the store's.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, lanes: Sequence[Lane], settings: Settings) -> None:
        self._loop = loop
        self._lanes = lanes
        self._deadline, _, self._batch, self._report, self._took = settings
        self._every = min(_TICK, self._deadline / 4)
        self._waiting: deque[Item] = deque()
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._expected = 0.0
        self._lost = 0.0
        for lane in lanes:
            lane.answered = partial(self._answered, lane)
        # A loop that ends closes its async generators: the one moment to close connections however the loop was run.
        self.keeper = self._keep()

    @property
    def idle(self) -> bool:
        """Whether nothing is waiting or under way."""
        return not self._waiting and not any(lane.items for lane in self._lanes)

    def submit(self, call: Call) -> asyncio.Future[Reply]:
        """Queue a call for the end of this tick of the loop."""
        answer: asyncio.Future[Reply] = self._loop.create_future()
        now = self._clock()
        self._waiting.append(_new(Item, (call, answer, now - self._lost + self._deadline)))
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._dispatch)
        if self._timer is None:
            self._wait(now)
        return answer

    def _wait(self, now: float) -> None:
        self._expected = now + self._every
        self._timer = self._loop.call_at(self._expected, self._tick)

    def _clock(self) -> float:
        """The loop's time; what it stood still since the last tick was due is noted as lost."""
        now = self._loop.time()
        if self._timer is not None and now - self._expected > _LATE:
            self._lost += now - self._expected
            self._expected = now
        return now

    def _dispatch(self) -> None:
        self._scheduled = False
        for lane in self._lanes:
            if not lane.items:
                lane.items = self._next()
                if not lane.items:
                    return
                now = self._loop.time()
                rested, lane.began = now - lane.began > _REST, now
                calls = [item.call for item in lane.items]
                if rested or not lane.send(calls):
                    self._carry(lane, lane.exchange(calls))

    def _carry(self, lane: Lane, exchange: Coroutine[Any, Any, list[Reply | StoreError]]) -> None:
        lane.task = self._loop.create_task(exchange)
        lane.task.add_done_callback(partial(self._landed, lane))

    def _answered(self, lane: Lane, text: bytes | None) -> None:
        """A batch that was sent without waiting is answered."""
        if text is None:
            self._carry(lane, lane.exchange([item.call for item in lane.items], sent=True))
            return
        try:
            self._arrive(lane, lane.read(text))
        except StoreError as error:
            self._tell([error])
            self._lose(lane, error)

    def _next(self) -> list[Item]:
        """The calls of the next batch; those whose callers have left are forgotten."""
        items: list[Item] = []
        while self._waiting and len(items) < self._batch:
            item = self._waiting.popleft()
            if not item.answer.done():
                items.append(item)
        return items

    def _landed(self, lane: Lane, task: asyncio.Task[list[Reply | StoreError]]) -> None:
        """A batch is back, or lost."""
        lane.task = None
        error = StoreTimeout(_SILENT) if task.cancelled() else task.exception()
        if error is None:
            self._arrive(lane, task.result())
            return
        if isinstance(error, StoreError) and not task.cancelled():  # who cancelled it has told
            self._tell([error])
        self._lose(lane, error)

    def _arrive(self, lane: Lane, replies: list[Reply | StoreError]) -> None:
        """Tell everybody their replies."""
        failures = []
        for (_, answer, _), reply in zip(self._free(lane), replies, strict=True):
            if isinstance(reply, StoreError):
                failures.append(reply)
                if not answer.done():
                    answer.set_exception(reply)
            elif not answer.done():
                answer.set_result(reply)
        self._tell(failures)
        if self._waiting:
            self._dispatch()

    def _lose(self, lane: Lane, error: BaseException) -> None:
        """Tell everybody that there is no reply."""
        _fail(self._free(lane), error)
        if self._waiting:
            self._dispatch()

    def _free(self, lane: Lane) -> list[Item]:
        items, lane.items = lane.items, []
        if self._took is not None:
            self._took(self._loop.time() - lane.began)
        return items

    def _tell(self, failures: list[StoreError]) -> None:
        """Report a batch: one failure of each kind, or that there was none."""
        if self._report is None:
            return
        if not failures:
            self._report(None)
        for failure in {type(failure): failure for failure in failures}.values():
            self._report(failure)

    def _tick(self) -> None:
        """Fail what is overdue, every few milliseconds while anything is under way."""
        now = self._clock()
        clock = now - self._lost
        while self._waiting and self._waiting[0].due <= clock:
            self._give_up([self._waiting.popleft()], "every connection to the store is busy past the deadline")
        under_way = [lane for lane in self._lanes if lane.items]
        for lane in under_way:
            self._give_up([item for item in lane.items if item.due <= clock], _SILENT)
            if lane.items[-1].due <= clock:
                lane.abandon()
                if lane.task is None:
                    self._lose(lane, StoreTimeout(_SILENT))
        self._timer = None
        if self._waiting or under_way:
            self._wait(now)

    def _give_up(self, items: list[Item], message: str) -> None:
        if items:
            self._tell([StoreTimeout(message)])
            _fail(items, StoreTimeout(message))

    async def _keep(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self.close()

    async def close(self) -> None:
        """Fail what is waiting or under way, and hang up."""
        if self._timer is not None:
            self._timer.cancel()
        waiting = [*self._waiting, *(item for lane in self._lanes for item in lane.items)]
        self._waiting.clear()
        _fail(waiting, StoreError("the store was closed"))
        tasks = [lane.task for lane in self._lanes if lane.task is not None]
        for lane in self._lanes:
            lane.abandon()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*[lane.close(wait=True) for lane in self._lanes])


def _fail(items: list[Item], error: BaseException) -> None:
    """Give every caller the error; a `StoreError` of its own, because a raised error remembers where it was raised."""
    for item in items:
        if not item.answer.done():
            own = type(error)(*error.args) if isinstance(error, StoreError) else error
            own.__cause__ = error.__cause__
            item.answer.set_exception(own)
