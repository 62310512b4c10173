"""The stream of events from requests to the background: bounded, and never waited for. Standard library only.

Whoever notices something posts it; the worker drains. Each kind has a queue of its own, so that a flood of one pushes out no other.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, Protocol, TypeAlias

from lockwatch import native
from lockwatch.event import ADMIN, APP, AUTH, HTTP, SYSTEM, WEBSOCKET, Event

logger = logging.getLogger("lockwatch")
CAPACITY: Final[Mapping[str, int]] = {AUTH: 8192, ADMIN: 2048, SYSTEM: 2048, APP: 8192, WEBSOCKET: 4096, HTTP: 16_384}
"""Events of each kind that wait at most; in this order they are drained."""
FULL: Final = "queue full"
BROKEN: Final = "unreadable"
Loss: TypeAlias = tuple[str, str]
"""What is lost: kind and reason."""


class Late(Protocol):
    """Something that is cheap to make where it happens, and becomes an event where nobody waits."""

    @property
    def kind(self) -> str:
        """One of `lockwatch.event.KINDS`."""
        ...

    def event(self) -> Event:
        """The event; called once, by the worker."""
        ...


class Stream:
    """Events that wait for the worker. `post` may be called from any thread, `drain` from one at a time.

    Args:
        begin: called before the first event, and before the first one after `rest` or a fork: has somebody drain.
        capacity: events of each kind that wait at most.

    Attributes:
        blocked: why events cannot be kept now; empty when they can.
        leaves_out: whether an event would have left no record anyway; it is not counted where there is no room for it.
    """

    blocked: str

    def __init__(self, begin: Callable[[], None] = lambda: None, capacity: Mapping[str, int] = CAPACITY) -> None:
        self._begin = begin
        self._capacity = capacity
        self.leaves_out: Callable[[Event | Late], bool] = lambda item: False
        self.forked()
        native.tell_of_forks(self)

    def forked(self) -> None:
        """Begin anew in a child: what waits is the parent's."""
        self.pid = os.getpid()
        self.blocked = ""
        self._lock = native.lock()
        self._resting = True
        self._queues: dict[str, deque[Event | Late]] = {kind: deque() for kind in self._capacity}
        self._room = {kind: (queue, self._capacity[kind]) for kind, queue in self._queues.items()}
        self._other = self._room[APP]
        self._dropped: dict[Loss, int] = {}

    def post(self, item: Event | Late) -> None:
        """Hand over an event. Never waits and never raises; what there is no room for is counted."""
        queue, most = self._room.get(item.kind, self._other)
        if len(queue) >= most:
            if not self.leaves_out(item):
                self.lose(item.kind, FULL)
            return
        queue.append(item)
        if self._resting:
            self.wake()

    def drain(self, limit: int) -> list[Event]:
        """At most `limit` of the events that wait, urgent kinds first; a quarter of the room is kept for requests."""
        native.at_home(self)
        requests = min(limit // 4, len(self._queues[HTTP]))
        found: list[Event] = []
        for kind, queue in self._queues.items():
            self._take(queue, found, limit - (0 if kind == HTTP else requests))
        return found

    def lose(self, kind: str, reason: str, count: int = 1) -> None:
        """Count events that are lost."""
        with self._lock:
            self._dropped[kind, reason] = self._dropped.get((kind, reason), 0) + count

    def rest(self) -> None:
        """Nobody drains any more; the next event has somebody begin again."""
        self._resting = True

    def wake(self) -> None:
        """Have somebody drain, before the first event or with it."""
        self._resting = False
        try:
            self._begin()
        except Exception:
            logger.exception("lockwatch: nobody could be found who drains events")

    @property
    def dropped(self) -> dict[Loss, int]:
        """What was lost since the process began, by kind and reason."""
        with self._lock:
            return dict(self._dropped)

    @property
    def pending(self) -> int:
        """How many events wait."""
        return sum(map(len, self._queues.values()))

    def _take(self, queue: deque[Event | Late], found: list[Event], most: int) -> None:
        while queue and len(found) < most:
            item = queue.popleft()
            try:
                found.append(item if type(item) is Event else item.event())  # type: ignore[union-attr]
            except Exception as error:  # a bug of whoever posted it must not keep the others
                self.lose(item.kind, BROKEN)
                logger.error("lockwatch: an event (%s) cannot be read: %s", type(item).__name__, type(error).__name__)
