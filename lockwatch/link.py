"""An engine's link to its store: opens it late, names what is kept in it, counts who shares it."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from lockwatch import native
from lockwatch.clock import Clock
from lockwatch.config import LockWatchConfig
from lockwatch.errors import ConfigurationError, StoreError
from lockwatch.flow import AsyncStore, Call, Flow, Steps, Store, refuse, run, run_async
from lockwatch.limits.buckets import SCHEMA, Buckets
from lockwatch.metrics.meter import Meter
from lockwatch.naming import buckets_of, shared_secret
from lockwatch.notes import Notes
from lockwatch.stores.address import ClusterAddress
from lockwatch.stores.backlog import Ahead, Backlog
from lockwatch.stores.breaker import Breaker, Guarded, Reporting
from lockwatch.stores.memory import MemoryStore
from lockwatch.stores.standins import Failing, Immediate, Refusing
from lockwatch.worker import Job, Work, shared

if TYPE_CHECKING:
    from lockwatch.stores.connect import Address

T = TypeVar("T")
Report: TypeAlias = Callable[[StoreError | None], None]
Wait: TypeAlias = Callable[[Awaitable[Any]], Any]
HEARTBEAT: Final = 3.0
"""Seconds between two signs of life."""
LIFETIME_US: Final = 10_000_000
"""Microseconds of silence after which a process no longer shares a quota."""


class Link:
    """The stores of one engine: the one its buckets live in, in either colour, and this process's memory.

    Args:
        config: validated settings.
        warn: told of set-up problems.
        clock: seconds; never steps back.
        works: do things in the background; a command that asks once and ends does not.
        blocking: requests are served by blocking code.
        meter: of another link of the same application.
        time: of the application, where a test may hold it.

    Attributes:
        memory: buckets of this process, for local decisions or for all of them.
        at_hand: the same memory for event loops; `store` is this very object when buckets live nowhere else.
        store: the store for event loops; None until it is used, and after it was closed.
        named: names of store keys, None until the namespace's secret is known.
        in_memory: whether buckets live nowhere else.
        split: whether the buckets of one call may live on several servers, which no script can charge together.
        workers: how many processes share a quota, as far as this one knows.
        notes: how the store does.
        meter: what was decided, and how long the store took.
        breaker: whether the store is asked.
        blocking: requests are served by blocking code.
        backlog: calls that blocking code has left for later.
    """

    store: AsyncStore | None
    _opened: AsyncStore | None
    _blocking: Store | None
    _jobs: list[Job]
    _working: bool

    def __init__(
        self,
        config: LockWatchConfig,
        warn: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        works: bool = True,
        blocking: bool = False,
        meter: Meter | None = None,
        time: Clock | None = None,
    ) -> None:
        self.time = time or Clock()
        self.memory = MemoryStore(config.max_buckets, self.time.steady_us)
        self.at_hand = Immediate(self.memory)
        self.named = buckets_of(config)
        self.workers = config.processes
        self._config = config
        self._warn = warn
        self._clock = clock
        self._works = works
        self.blocking = blocking
        self._address = None if config.in_memory else _address(config)
        self.in_memory = self._address is None
        self.split = isinstance(self._address, ClusterAddress)
        self.notes = Notes(self.name)
        self.breaker = Breaker(config.store_timeout)
        self.meter = meter or Meter()
        # Names for this process only, while the shared secret is out of reach.
        self._stray = Buckets(config.namespace, secrets.token_bytes(32))
        self._chores: list[tuple[str, float, Work, Work | None]] = []
        self._inherited: list[object] = []
        self._reset()
        native.tell_of_forks(self)

    @property
    def name(self) -> str:
        """Where buckets live, without credentials."""
        return "memory" if self._address is None else str(self._address)

    @property
    def worker(self) -> str:
        """What the thread in the background does for this process: ``idle``, ``running``, or why it cannot run."""
        return shared().state

    @property
    def working(self) -> bool:
        """Whether what is done in the background has begun."""
        return self._working

    async def ready(self) -> tuple[Buckets, AsyncStore]:
        """Names and a store to go on with, whatever happens: a store that fails, when even the secret cannot be had."""
        store = self.async_store()
        try:
            return await self.buckets(), store
        except StoreError as error:
            return self._stray, Failing(error)

    def ready_sync(self) -> tuple[Buckets, Store]:
        """`ready` for blocking code."""
        store = self.sync_store()
        try:
            return self.buckets_sync(), store
        except StoreError as error:
            return self._stray, Refusing(error)

    async def buckets(self) -> Buckets:
        """Names store keys. Raises: StoreError, when the namespace's secret has to be fetched and cannot be."""
        return self.named or self._keep_secret(await self.drive(shared_secret(self._config.namespace)))

    def buckets_sync(self) -> Buckets:
        """`buckets` for blocking code. Raises: StoreError."""
        return self.named or self._keep_secret(run(shared_secret(self._config.namespace), self.sync_store(), self.memory))

    async def drive(self, flow: Flow[T] | Steps[T]) -> T:
        """Run a flow on this link."""
        return await run_async(flow, self.async_store(), self.memory)

    def drive_sync(self, flow: Flow[T] | Steps[T]) -> T:
        """`drive` for blocking code."""
        return run(flow, self.sync_store(), self.memory)

    async def pursue(self, steps: Callable[..., Steps[T]], *args: Any) -> T:
        """Run a flow that names buckets: they are its last argument. Whatever happens, there are names to go on with."""
        buckets, store = self.named, self.store
        if buckets is None or store is None:
            buckets, store = await self.ready()
        return await run_async(steps(*args, buckets), store, self.memory)

    def pursue_sync(self, steps: Callable[..., Steps[T]], *args: Any, wait: Wait = refuse) -> T:
        """`pursue` for blocking code; `wait` waits for what functions of the application return, where that is awaitable."""
        buckets, store = self.at_once()
        return run(steps(*args, buckets), store, self.memory, wait)

    def at_once(self) -> tuple[Buckets, Store]:
        """`ready_sync`, where everything is open as a rule."""
        buckets, store = self.named, self._blocking
        if buckets is None or store is None or self.pid != os.getpid():
            return self.ready_sync()
        return buckets, store

    def async_store(self) -> AsyncStore:
        """The store for event loops, opened when it is needed first."""
        if self.store is None:
            with self._lock:
                self.store = self._open()
                self._set_to_work(self.store)
        return self.store

    def sync_store(self) -> Store:
        """The store for blocking code, opened when it is needed first."""
        if self._blocking is None or self.pid != os.getpid():
            native.at_home(self)
            with self._lock:
                self._blocking = self._blocking or self._open_blocking()
                self._set_to_work(self._open())
        return self._blocking

    def every(self, seconds: float, job: Work, name: str = "", ending: Work | None = None) -> None:
        """Have `job` called in the background, on another thread's event loop, while this link is in use, and `ending` when it
        is not any more.

        A bound method as `job` does not keep its object alive. A job that raises is logged, once until it succeeds again.
        """
        with self._lock:
            chore = (name or getattr(job, "__name__", "job"), seconds, job, ending)
            self._chores.append(chore)
            if self._working:
                self._jobs.append(shared().every(*chore))

    def work(self) -> None:
        """Begin what is done in the background, if it has not begun."""
        native.at_home(self)
        with self._lock:
            self._set_to_work(self._open())

    async def aclose(self) -> None:
        """Close the connections of the running event loop and of this process's background; the next use opens them again."""
        store = self._opened
        self.close()
        if isinstance(store, Guarded):
            await store.aclose()

    def close(self) -> None:
        """`aclose` where no event loop runs: those of blocking code and of the background."""
        with self._lock:
            jobs, blocking = self._jobs, self._blocking
            self._jobs, self.store, self._blocking, self._working = [], None, None, False
        for job in jobs:
            job.cancel()
        if isinstance(blocking, Ahead):
            blocking.close()

    def forked(self) -> None:
        """Begin anew in a child process. What the parent has open is the parent's: kept, so that nobody closes it."""
        self._inherited.append((self._opened, self._blocking))
        self._reset()
        self.notes.forked()
        self.breaker.forked()
        self.meter.forked()

    def _reset(self) -> None:
        self._lock = native.lock()
        self.pid = os.getpid()
        self._id = secrets.randbits(53)
        self._jobs = []
        self._working = False
        self.backlog = Backlog()
        self.store = self._opened = self._blocking = None

    def _set_to_work(self, store: AsyncStore) -> None:
        """Begin what is done in the background, if it has not begun. The lock is held."""
        if self._works and not self._working:
            self._working = True
            self._jobs = [shared().every(*chore) for chore in self._chores]
            if self._address is not None and self._address.kind != "fake" and isinstance(store, Guarded):
                if shared().state not in {"idle", "running"}:
                    self._warn(
                        f"nothing runs in the background ({shared().state}): processes do not count each other, so set workers, "
                        "and what a request holds for longer than 10 seconds lapses"
                    )
                # The job keeps the store, not the link: the background's connections are closed even if nobody closes the link.
                self._jobs.append(shared().every("heartbeat", HEARTBEAT, self._beat, ending=store.aclose))

    async def _beat(self) -> None:
        """Tell the store that this process lives, and learn how many do."""
        beat = Call("workers", (f"{self._config.namespace}:{SCHEMA}:workers",), (0, self._id, LIFETIME_US))
        try:
            living = (await self.async_store().call(beat))[0]
        except StoreError:
            return  # noted where it was heard; what was known last is kept
        self.workers = self._config.workers or max(self._config.processes, living)

    def _open(self) -> AsyncStore:
        if self._address is None:
            return self.at_hand
        if self._opened is None:
            from lockwatch.stores.redis_async import AsyncRedisStore

            deadline, lanes = self._config.store_timeout, min(4, self._config.store_connections)
            store = AsyncRedisStore(self._address, deadline, lanes=lanes, report=self._reporter(), took=self.meter.called)
            self._opened = Guarded(store, self.breaker, self._clock, self.time)
        return self._opened

    def _open_blocking(self) -> Store:
        if self._address is None:
            return self.memory
        from lockwatch.stores.redis_sync import RedisStore

        store = RedisStore(self._address, self._config.store_timeout, self._config.store_connections)
        reporting = Reporting(store, self._reporter(), self.meter.called, self._clock)
        return Ahead(Guarded(reporting, self.breaker, self._clock, self.time), self.backlog)

    def _reporter(self) -> Report:
        """Tells breaker, notes and meter how a call ended. It does not know the link, which nobody has to close."""
        breaker, notes, meter, clock = self.breaker, self.notes, self.meter, self._clock
        split = self.split  # the nodes of a cluster have breakers of their own: one that is lost must not take the others along

        def report(failure: StoreError | None) -> None:
            if failure is None and not breaker.count and not notes.error:
                return  # an answer where everything was well
            now = clock()
            if not split:
                breaker.heard(failure, now)
            notes.heard(failure, now)
            if failure is not None:
                meter.failed(failure)

        return report

    def _keep_secret(self, numbers: Sequence[int]) -> Buckets:
        self.named = Buckets(self._config.namespace, b"".join(n.to_bytes(4, "big") for n in numbers))
        self._warn(
            "no secret_key is set: subjects in the store are hashed with a key kept in the same store, "
            "which hides them from nobody who reads it"
        )
        return self.named


def _address(config: LockWatchConfig) -> Address:
    from lockwatch.stores.connect import address_of

    if config.redis is not None and config.redis_url:
        raise ConfigurationError("both redis and redis_url are set; keep one")
    return address_of(config.redis or config.redis_url)
