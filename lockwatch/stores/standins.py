"""Stores that stand in for another: memory on an event loop, and a store that just failed."""

from __future__ import annotations

from collections.abc import Sequence

from lockwatch.errors import StoreError
from lockwatch.flow import Call, Store


class Immediate:
    """A blocking store that does not block, on an event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def call(self, call: Call) -> Sequence[int]:
        """Run one script at once."""
        return self._store.call(call)


class Failing:
    """A store that fails as the real one just did."""

    def __init__(self, error: StoreError) -> None:
        self._error = error.with_traceback(None)  # its frames would hold whoever got this store

    async def call(self, call: Call) -> Sequence[int]:
        """Raises: StoreError, always."""
        # A copy: the error that is kept would hold the frame it is raised through, and with it this store.
        raise type(self._error)(*self._error.args)


class Refusing:
    """The same for blocking code."""

    def __init__(self, error: StoreError) -> None:
        self._error = error.with_traceback(None)

    def call(self, call: Call) -> Sequence[int]:
        """Raises: StoreError, always."""
        raise type(self._error)(*self._error.args)
