"""One thread with an event loop, for everything no request waits for.

It runs while there is something to do: it starts with the first job and ends with the last. A forked child has none and
starts its own. At the end of the interpreter it is stopped.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from functools import cache, partial
from types import MethodType
from typing import Any, Final, TypeAlias

from lockwatch import native

Work: TypeAlias = Callable[[], Awaitable[None]]
logger = logging.getLogger("lockwatch")
CAPACITY: Final = 1000
STILL: Final = 0.2
"""Seconds a fork waits for the thread at most."""


class Job:
    """Something that is done again and again.

    Args:
        worker: who does it.
        name: what the log calls it.
        period: seconds from the end of one time to the beginning of the next.
        work: called on the worker's loop. A bound method does not keep its object alive; the job ends with the object.
        ending: called on the worker's loop when the job ends.
    """

    def __init__(self, worker: Worker, name: str, period: float, work: Work, ending: Work | None) -> None:
        self.name = name
        self._worker = worker
        self._period = period
        self._work: Callable[[], Work | None] = weakref.WeakMethod(work) if isinstance(work, MethodType) else lambda: work
        self._ending = ending
        self._task: asyncio.Task[None] | None = None

    def cancel(self) -> None:
        """End it, from any thread. Does not wait."""
        self._worker.forget(self)

    def begin(self) -> None:
        """Start; on the worker's loop."""
        self._task = self._worker.run(self._repeat())

    def end(self) -> None:
        """Stop; on the worker's loop."""
        if self._task is not None:
            self._task.cancel()

    async def _repeat(self) -> None:
        try:
            while (work := self._work()) is not None:
                await self._worker.attempt(self.name, work)
                del work
                await asyncio.sleep(self._period)
        finally:
            if self._ending is not None:
                await self._worker.attempt(self.name, self._ending)
            self._worker.forget(self)


class Worker:
    """A thread with an event loop. Its methods may be called from any thread.

    Args:
        capacity: posted calls that wait or run at most.
    """

    _wake: asyncio.Event
    _ended: Any
    _loop: asyncio.AbstractEventLoop | None
    _steps: deque[Callable[[], None]]
    _jobs: set[Job]
    _tasks: set[asyncio.Task[None]]
    _failing: set[str]
    _gates: list[Any]

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._inherited: list[Any] = []
        self._reset()
        native.tell_of_forks(self)

    @property
    def state(self) -> str:
        """``idle``, ``running``, or why it cannot run."""
        return native.obstacle() or ("idle" if self._ended is None else "running")

    @property
    def jobs(self) -> tuple[Job, ...]:
        """What it does again and again."""
        return tuple(self._jobs)

    def every(self, name: str, period: float, work: Work, ending: Work | None = None) -> Job:
        """Call `work` now and then every `period` seconds. A failure is logged, once until it succeeds again."""
        job = Job(self, name, period, work, ending)
        native.at_home(self)
        with self._lock:
            if not self._closed and not native.obstacle():
                self._jobs.add(job)
                self._soon(job.begin)
        return job

    def post(self, name: str, work: Work) -> bool:
        """Call `work` once, soon. False when there is too much to do already, or nobody to do it."""
        native.at_home(self)
        with self._lock:
            if self._closed or self._posted >= self._capacity or native.obstacle():
                return False
            self._posted += 1
            self._soon(partial(self._once, name, work))
        return True

    def close(self, timeout: float = 1.0) -> bool:
        """End every job and the thread, for good. False when it has not ended after `timeout` seconds."""
        with self._lock:
            self._closed, ended = True, self._ended
            self._rouse()
        if ended is None or self._thread == native.ident():
            return True
        done = bool(ended.acquire(timeout=timeout))
        if done:
            ended.release()
        return done

    def stand_still(self) -> None:
        """Have the thread wait, if it comes to it soon, between two steps of its loop: not in the middle of an import, say."""
        reached, gate = native.lock(), native.lock()
        reached.acquire()
        gate.acquire()
        self._gates.append(gate)
        with self._lock:
            if self._ended is None or self._thread == native.ident():
                return
            self._soon(partial(_stand, reached, gate))
        reached.acquire(timeout=STILL)

    def go_on(self) -> None:
        """Let it go on after `stand_still`."""
        self._gates.pop().release()

    def forget(self, job: Job) -> None:
        """End a job."""
        with self._lock:
            if job in self._jobs:
                self._jobs.discard(job)
                self._soon(job.end)

    async def attempt(self, name: str, work: Work) -> None:
        """Do something now, on the worker's loop; a failure is logged, once until it succeeds again."""
        try:
            await work()
        except Exception as error:
            if name not in self._failing:
                self._failing.add(name)
                logger.exception("lockwatch: %s fails in the background: %s", name, type(error).__name__)
        else:
            if name in self._failing:
                self._failing.discard(name)
                logger.warning("lockwatch: %s works again in the background", name)

    def run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin something, on the worker's loop, which goes on for as long as that takes."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _once(self, name: str, work: Work) -> None:
        self.run(self.attempt(name, work)).add_done_callback(self._made_room)

    def _made_room(self, task: asyncio.Task[None]) -> None:
        with self._lock:
            self._posted -= 1

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._wake.set()

    def _soon(self, step: Callable[[], None]) -> None:
        """Take a step on the loop, whose thread starts if it has to. The lock is held."""
        if self._closed:
            return
        self._steps.append(step)
        if self._ended is None:
            self._ended = native.lock()
            self._ended.acquire()
            native.start(partial(self._run, self._ended), "lockwatch")
        self._rouse()

    def _rouse(self) -> None:
        """Have the loop look what there is to do. The lock is held."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake.set)

    def _run(self, ended: Any) -> None:
        self._thread = native.ident()
        try:
            # Made in this thread, because gevent's selectors belong to the thread that made them.
            with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                runner.run(self._serve())
        finally:
            ended.release()

    async def _serve(self) -> None:
        wake = asyncio.Event()
        with self._lock:
            self._loop, self._wake = asyncio.get_running_loop(), wake
        while not self._finished():
            await wake.wait()
            wake.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _finished(self) -> bool:
        """Take the steps that wait; whether there is nothing left to do then, and nobody may think there is."""
        while self._steps:
            self._steps.popleft()()
        with self._lock:
            if not self._closed and (self._jobs or self._posted or self._steps or self._tasks):
                return False
            self._loop = self._ended = None
            return True

    def _reset(self) -> None:
        self._lock = native.lock()
        self.pid = os.getpid()
        self._ended = self._loop = None
        self._thread = self._posted = 0
        self._steps, self._jobs, self._tasks, self._failing = deque(), set(), set(), set()
        self._gates = []
        self._closed = False

    def forked(self) -> None:
        """Begin anew in a child. What its parent has open is the parent's: kept, so that nobody closes it."""
        self._inherited.append((self._loop, self._jobs, self._tasks))
        self._reset()


def _stand(reached: Any, gate: Any) -> None:
    reached.release()
    gate.acquire(timeout=1)


@cache
def shared() -> Worker:
    """The worker of this process."""
    worker = Worker()
    atexit.register(worker.close)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=worker.stand_still, after_in_parent=worker.go_on)
    return worker
