"""What is said about a store: in the log once per transition, in the health report always."""

from __future__ import annotations

import logging
from typing import Final

from lockwatch import native
from lockwatch.errors import CallFailed, StoreError

logger = logging.getLogger("lockwatch")
CALM: Final = 1.0
_MOST: Final = 20


class Notes:
    """How a store does.

    It fails from its first failure on, and works again with an answer that comes a second or more after the last one: a
    store that is full still answers what it only has to read, and must not be announced with every request.

    Args:
        name: where the store is, without credentials.

    Attributes:
        error: what the last failure was; empty while the store works.
        outages: how often it began to fail.
        complaints: calls that failed alone, each kind once.
    """

    def __init__(self, name: str) -> None:
        self.error = ""
        self.outages = 0
        self.complaints: list[str] = []
        self._name = name
        self._lock = native.lock()
        self._last = 0.0

    def heard(self, failure: StoreError | None, now: float) -> None:
        """Note an outcome: None for an answer."""
        if isinstance(failure, CallFailed):
            self._complain(str(failure))
        elif failure is not None:
            self._fails(str(failure), now)
        elif self.error and now - self._last >= CALM:
            self._works()

    def forked(self) -> None:
        """Go on in a child process, whose parent may have been taking a note."""
        self._lock = native.lock()

    def _fails(self, error: str, now: float) -> None:
        with self._lock:
            begins, self.error, self._last = not self.error, error, now
            self.outages += begins
        if begins:
            logger.error("lockwatch: the store at %s fails: %s", self._name, error.removeprefix("the store failed: "))

    def _works(self) -> None:
        with self._lock:
            ends, self.error = bool(self.error), ""
        if ends:
            logger.warning("lockwatch: the store at %s answers again", self._name)

    def _complain(self, message: str) -> None:
        with self._lock:
            new = message not in self.complaints and len(self.complaints) < _MOST
            if new:
                self.complaints.append(message)
        if new:
            logger.error("lockwatch: the store at %s works, but %s", self._name, message)
