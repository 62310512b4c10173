"""What blocking code leaves for later: calls that nobody waits for. They go along with its next call, or in the background."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import Final

from lockwatch.flow import Call, Following, Reply
from lockwatch.stores.breaker import Guarded

BATCH: Final = 64
"""Calls that go along with another at most."""
MOST: Final = 10_000
"""Calls that wait at most; beyond that the oldest are lost."""


class Backlog:
    """Calls that blocking code has left for later.

    Attributes:
        calls: the oldest first.
    """

    def __init__(self) -> None:
        self.calls: deque[Call] = deque(maxlen=MOST)

    def __len__(self) -> int:
        return len(self.calls)

    def add(self, call: Call) -> None:
        """Leave one more."""
        self.calls.append(call)

    def take(self) -> list[Call]:
        """As many as go along with another, the oldest first."""
        taken: list[Call] = []
        with suppress(IndexError):
            while len(taken) < BATCH:
                taken.append(self.calls.popleft())
        return taken


class Ahead:
    """A blocking store before which goes what was left for later."""

    def __init__(self, store: Guarded, backlog: Backlog) -> None:
        self._store = store
        self._backlog = backlog
        self._left = backlog.calls

    def call(self, call: Call) -> Reply:
        """Run one script, after those that were left. Raises: StoreError."""
        if self._left:
            call = Following.of(self._backlog.take(), call)
        reply: Reply = self._store.call(call)
        return reply

    def close(self) -> None:
        """Close the idle connections."""
        self._store.close()
