"""Time that a test moves: of limits in memory and on Redis, of tokens, of bans."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from lockwatch.clock import Clock
from lockwatch.limits.decision import Decision
from lockwatch.limits.denied import Denied
from lockwatch.limits.policy import Charge
from lockwatch.testing.reach import engine_of
from lockwatch.testing.settings import reset


class VirtualClock:
    """The time of one application. It stands still until `advance`.

    Args:
        held: the clock of the application.
    """

    def __init__(self, held: Clock) -> None:
        self._held = held
        self._since_1970_us, self._steady_us = time.time_ns() // 1000, time.monotonic_ns() // 1000
        self.advance(0)

    @property
    def now(self) -> float:
        """Seconds since 1970."""
        return self._since_1970_us / 1e6

    def advance(self, seconds: float | timedelta) -> None:
        """Let time pass at once. Raises: ValueError, for less than nothing."""
        passed = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
        if not 0 <= passed < 1e9:
            raise ValueError(f"advance({seconds!r}): time only goes forward; a correct one is advance(60)")
        self._since_1970_us += round(passed * 1e6)
        self._steady_us += round(passed * 1e6)
        self._held.hold(self._since_1970_us, self._steady_us)

    def __repr__(self) -> str:
        return f"VirtualClock(now={self.now!r})"


@contextmanager
def clock(target: Any) -> Iterator[VirtualClock]:
    """Hold the time of an application: ``with clock(app) as time: time.advance(60)``.

    Limits, the life of tokens and sessions, bans, and the times in headers go by it, whichever store the application has: scripts
    on Redis are told the time. What a server does by itself (deadlines, webhooks, the breaker) goes by the real one. In the end
    everything counted is forgotten, see `reset`, because it was counted in the future.

    Args:
        target: the application, a test client of it, or its `LockWatch`.

    Raises: TypeError; RuntimeError when the time is held already.
    """
    engine = engine_of(target)
    if engine.clock.told_us:
        raise RuntimeError("the time of this application is held already; use that clock")
    remembered, engine.admission.denied = engine.admission.denied, _Forgetful()
    try:
        yield VirtualClock(engine.clock)
    finally:
        engine.clock.run()
        engine.admission.denied = remembered
        reset(engine)


class _Forgetful(Denied):
    """Offenders are remembered by the real time: who moves it asks the store each time."""

    def note(self, charges: Sequence[Charge], decisions: Sequence[Decision], now: float) -> None:
        """Remember nobody."""
