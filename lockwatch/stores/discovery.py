"""Asking servers who does what, when that may change: several at once, in threads, and seldom.

The answers serve every thread and event loop of the process, so one piece of blocking code does for both colours.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, Generic, TypeAlias, TypeVar

from redis.exceptions import RedisError

from lockwatch import native
from lockwatch.errors import StoreError
from lockwatch.stores.address import Address
from lockwatch.stores.connect import sync_pool

View = TypeVar("View")
Answer: TypeAlias = tuple[Address, Any]
"""Who was asked, and the reply or the error."""
PAUSE: Final = 0.25
"""Seconds between two rounds of questions, however much fails in between."""


class Topology(ABC, Generic[View]):
    """What servers last said about who does what.

    Attributes:
        view: None until they were asked.
        error: why nobody said anything in the last round; empty when somebody did.
    """

    def __init__(self) -> None:
        self.view: View | None = None
        self.error = ""
        self._asked = float("-inf")
        self.forked()
        native.tell_of_forks(self)

    def forked(self) -> None:
        """Begin anew in a child process, whose parent may have been asking. What is known stays known."""
        self.pid = os.getpid()
        self._lock = threading.Lock()

    @property
    def due(self) -> bool:
        """Whether `ask` is worth its while: a round is under way, or the last one is so long ago that another may begin."""
        return self._lock.locked() or self._rested()

    def _rested(self) -> bool:
        return time.monotonic() - self._asked >= PAUSE

    def known(self) -> View:
        """What is known. Raises: StoreError, when nothing is."""
        if self.view is None:
            raise StoreError(self.error or "the servers were not asked yet")
        return self.view

    def ask(self, within: float) -> None:
        """Ask, if that is due; who comes meanwhile waits for the same answer. Blocks for about `within` seconds at most."""
        within = max(within, 0.001)
        native.at_home(self)
        if self._lock.acquire(timeout=within):
            try:
                if self._rested():
                    self._asked = time.monotonic()
                    view, self.error = self._learn(within)
                    self.view = view or self.view
            finally:
                self._lock.release()

    @abstractmethod
    def _learn(self, within: float) -> tuple[View | None, str]:
        """What the servers say, or why they say nothing."""


async def aside(work: Callable[[], None]) -> None:
    """Run blocking code in a native thread, wherever the event loop runs. It may not raise."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def run() -> None:
        work()
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(_finish, done)

    native.start(run, "lockwatch-topology")
    await done


def _finish(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)


def answers(addresses: Sequence[Address], words: Sequence[str], within: float) -> Iterator[Answer]:
    """The answers of several servers to one command, as they come, for at most `within` seconds."""
    found: queue.SimpleQueue[Answer] = queue.SimpleQueue()
    for address in addresses:
        threading.Thread(target=_put_answer, args=(found, address, words, within), daemon=True).start()
    end = time.monotonic() + within
    for _ in addresses:
        try:
            yield found.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            return


def _put_answer(found: queue.SimpleQueue[Answer], address: Address, words: Sequence[str], within: float) -> None:
    connection = sync_pool(address, within).make_connection()
    try:
        connection.send_command(*words)
        found.put((address, connection.read_response(disable_decoding=True)))
    except (RedisError, OSError) as error:
        found.put((address, error))
    finally:
        connection.disconnect()
