"""A circuit breaker: while a store does not answer, nobody waits for it, and one call at a time finds out whether it does again.

`Breaker` decides and waits for nothing; the time is an argument, in seconds of a clock that never steps back. `Guarded` puts
one in front of a store of either colour. Outcomes do not come back through the call: whoever reads the replies reports them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from lockwatch import native
from lockwatch.clock import Clock
from lockwatch.errors import StoreError, StoreRefused
from lockwatch.flow import Call, Following, Reply

LEASE: Final = 1.0
_TIMELESS: Final = frozenset(["secret", "epoch", "reset"])
"""Scripts whose numbers do not begin with the time."""


class Breaker:
    """Whether to ask a store.

    Closed, every call is let through. It opens when `failures` calls in a row got no answer, the first of them at least one
    `deadline` ago: calls that were under way together fail together, and a hiccup is no outage. Open, one call is let
    through after a pause, the *probe*. Its answer closes the breaker; its failure doubles the pause, up to `longest`. A probe
    nobody hears of again is given up after a while. An answer that says no is an answer.

    Args:
        deadline: seconds after which a call is given up.
        failures: unanswered calls in a row.
        pause: seconds until the first probe.
        longest: seconds between probes at most.
    """

    def __init__(self, deadline: float, failures: int = 3, pause: float = 0.25, longest: float = 5.0) -> None:
        self.opened_at: float | None = None
        """When it opened; None while it is closed."""
        self.count = 0
        """Calls in a row that got no answer."""
        self._deadline = deadline
        self._failures = failures
        # Calls under way when it opens have failed before the first probe leaves: what is heard then is about the probe.
        self._shortest = max(pause, 1.5 * deadline)
        self._longest = max(longest, self._shortest)
        self._lease = LEASE + 2 * deadline
        self._lock = native.lock()
        self._first = self._pause = self._next = 0.0
        self._probing = False
        self._cause = ""

    @property
    def state(self) -> str:
        """``closed``, ``open`` or ``probing``."""
        return "closed" if self.opened_at is None else "probing" if self._probing else "open"

    def enter(self, now: float) -> None:
        """Let a call through. Raises: StoreError, while nobody is to ask."""
        with self._lock:
            opened_at = self.opened_at
            if opened_at is None:
                return
            if now >= self._next:
                self._probing, self._next = True, now + self._lease
                return
        raise StoreError(f"not asked: the store does not answer, for {now - opened_at:.1f} s now ({self._cause})")

    def heard(self, failure: StoreError | None, now: float) -> None:
        """Note an outcome: None for an answer."""
        if failure is None or isinstance(failure, StoreRefused):
            if self.count:
                self._close()
            return
        with self._lock:
            if self.opened_at is None:
                self._fail(failure, now)
            elif self._probing:
                self._pause = min(2 * self._pause, self._longest)
                self._probing, self._next, self._cause = False, now + self._pause, str(failure)

    def forked(self) -> None:
        """Begin anew in a child process; its parent may have been in the middle of something."""
        self._lock = native.lock()
        self._close()

    def _fail(self, failure: StoreError, now: float) -> None:
        self._first = self._first if self.count else now
        self.count += 1
        if self.count >= self._failures and now - self._first >= self._deadline:
            self.opened_at, self._pause, self._next = now, self._shortest, now + self._shortest
            self._probing, self._cause = False, str(failure)

    def _close(self) -> None:
        with self._lock:
            self.opened_at, self.count, self._probing = None, 0, False


class Guarded:
    """A store of either colour behind a breaker.

    Args:
        store: answers.
        breaker: says whether to ask it.
        clock: seconds; never steps back.
        held: what scripts are told of the time, where a test says so.
    """

    def __init__(
        self, store: Any, breaker: Breaker, clock: Callable[[], float] = time.monotonic, held: Clock | None = None
    ) -> None:
        self._store = store
        self._breaker = breaker
        self._clock = clock
        self._held = held or Clock()

    @property
    def split(self) -> bool:
        """Whether the keys of one call may live on several servers."""
        return bool(getattr(self._store, "split", False))

    def call(self, call: Call) -> Any:
        """Run one script, or fail at once. Raises: StoreError."""
        if self._breaker.opened_at is not None:
            self._breaker.enter(self._clock())
        if self._held.told_us:
            call = told(call, self._held.told_us)
        return self._store.call(call)

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        await self._store.aclose()

    def close(self) -> None:
        """Close idle connections of blocking code."""
        self._store.close()


def told(call: Call, now_us: int) -> Call:
    """A call whose script goes by that time instead of its store's clock. It is the first number of all that have one."""
    if isinstance(call, Following):
        return Following.of([told(ahead, now_us) for ahead in call.ahead], told(Call(*call), now_us))
    return call if call.script in _TIMELESS or not call.args else call._replace(args=(call.args[0] or now_us, *call.args[1:]))


class Reporting:
    """A blocking store that reports how each call ended and how long it took, as the one for event loops does by itself."""

    def __init__(
        self,
        store: Any,
        report: Callable[[StoreError | None], None],
        took: Callable[[float], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._report = report
        self._took = took
        self._clock = clock

    def call(self, call: Call) -> Reply:
        """Run one script. Raises: StoreError."""
        began = self._clock()
        try:
            reply: Reply = self._store.call(call)
        except StoreError as failure:
            self._report(failure)
            raise
        finally:
            if self._took is not None:
                self._took(self._clock() - began)
        self._report(None)
        return reply

    def close(self) -> None:
        """Close the idle connections."""
        self._store.close()
