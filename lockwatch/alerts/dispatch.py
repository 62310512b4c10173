"""`Alerts`: takes alerts from whoever raises them, and has them delivered in the background."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import sqlite3
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from lockwatch import native
from lockwatch.alerts import alert as names
from lockwatch.alerts.alert import Alert
from lockwatch.alerts.body import render
from lockwatch.alerts.channels import Endpoint
from lockwatch.alerts.circuit import Budget
from lockwatch.alerts.condition import Condition
from lockwatch.alerts.delivery import Courier
from lockwatch.alerts.digest import EVERY, Tally, digest
from lockwatch.alerts.keeping import Keeper, Shelf
from lockwatch.alerts.lane import Lane
from lockwatch.alerts.outbox import Outbox
from lockwatch.alerts.record import Delivery
from lockwatch.alerts.schedule import Answer
from lockwatch.event import AUTH, Event
from lockwatch.worker import shared

logger = logging.getLogger("lockwatch")
PER_HOUR: Final = 60
LOOK: Final = 5.0
ADOPT: Final = 60.0
TIDY: Final = 600.0
FINISH: Final = 5.0
STOP: Final = 1.0


def new_id() -> str:
    """A name for an alert."""
    return f"msg_{secrets.token_hex(12)}"


class Alerts:
    """The alerts of one process. Its methods may be called from any thread; `deliver` and `finish` belong to an event loop.

    Args:
        endpoints: who receives them.
        shelf: where the outbox on disk is; None for memory only.
        missing: why there is none on disk.
        per_hour: how many are sent one by one; more are told in a digest.
        courier: delivers them.
        clock: seconds since 1970.

    Attributes:
        audit: says what is wrong with the audit log of this process; None where there is none.
    """

    audit: Callable[[], Sequence[str]] | None = None

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        shelf: Shelf | None = None,
        missing: str = "",
        per_hour: int = PER_HOUR,
        courier: Courier | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.endpoints = tuple(endpoints)
        self._shelf = shelf
        self._missing = missing
        self._per_hour = per_hour
        self._courier = courier or Courier(clock=clock)
        self._clock = clock
        self._inherited: list[object] = []
        self._reset()
        native.tell_of_forks(self)

    def raise_(self, alert: Alert) -> bool:
        """Have an alert delivered. It is in the outbox when this returns; False when it counts for a digest only, or was known."""
        native.at_home(self)
        receivers = self._receivers(alert.type)
        if not receivers:
            return False
        self._resting, now = False, self._clock()
        with self._lock:
            room = self._budget.take(alert.type, now)
        place = self._keeper.add(alert.id, alert.type, render(alert), receivers, now) if room else None
        if place is None:
            with self._lock:
                self._tally.add(alert)
        return place is not None and place.new

    async def watch(self, events: Sequence[Event]) -> None:
        """Raise what events call for: a consumer of the stream."""
        for event in events:
            if event.kind == AUTH and event.action == "token.reused":
                self.raise_(_reuse(event))

    def begin(self) -> None:
        """Go on after `close`, as raising an alert does too."""
        self._resting = False

    async def deliver(self) -> None:
        """Begin to send what is due, without waiting for it: a job of the worker."""
        native.at_home(self)
        with self._turn:
            if not self._resting:
                self._tidy()
                self._begin()

    def _begin(self) -> None:
        """Set every receiver's lane to work that has something to do."""
        for lane in self._lanes:
            with self._lock:
                free = lane not in self._busy
                if free and (free := lane.next() is not None):
                    self._busy[lane] = None
            if free:
                self._busy[lane] = task = asyncio.get_running_loop().create_task(lane.run())
                task.add_done_callback(partial(self._ended, lane))

    async def finish(self, timeout: float = FINISH) -> None:  # noqa: ASYNC109
        """Send what is due and wait for it, `timeout` seconds at most; what has not arrived then is in the outbox."""
        if not self._keeper.opened:
            return
        ends = time.monotonic() + timeout
        await self.deliver()
        while self._busy and time.monotonic() < ends:
            await asyncio.sleep(0.01)
            self._begin()

    async def aclose(self) -> None:
        """`finish`, then stop what still hangs, and close the outbox. The next alert opens it again."""
        await self.finish()
        ends = self._stop()
        while self._busy and time.monotonic() < ends:  # noqa: ASYNC110 - on whatever loops they run
            await asyncio.sleep(0.01)
        self._shut()

    def close(self) -> None:
        """`aclose` for blocking code: what is due is sent by the worker, if that runs."""
        ends = time.monotonic() + FINISH
        while shared().state == "running" and self._unfinished() and time.monotonic() < ends:
            time.sleep(0.01)
        ends = self._stop()
        while self._busy and time.monotonic() < ends:
            time.sleep(0.01)
        self._shut()

    async def test(self) -> list[tuple[str, Answer]]:
        """Send a test to every receiver now, whatever it wants, and not through the outbox: what each answers, by its name."""
        alert = Alert(new_id(), names.TEST, int(self._clock() * 1_000_000), {"message": "lockwatch can reach you"})
        sent = [self._courier.send(endpoint, alert.id, render(alert)) for endpoint in self.endpoints]
        return [(e.name, answer) for e, answer in zip(self.endpoints, await asyncio.gather(*sent), strict=True)]

    def entries(self, states: Sequence[str], most: int) -> list[Delivery]:
        """What is in the outboxes of all processes, the newest alerts first. Raises: SpoolError, sqlite3.Error."""
        found = [delivery for box in self._everywhere() for delivery in box.deliveries(states, most)]
        return sorted(found, key=lambda d: d.raised_at, reverse=True)[:most]

    def replay(self, ids: Sequence[str] = ()) -> int:
        """Try alerts again, without `ids` all that were given up; how many deliveries that are.

        Raises: SpoolError, sqlite3.Error.
        """
        return sum(box.replay(ids, self._clock()) for box in self._everywhere())

    @property
    def complaints(self) -> tuple[str, ...]:
        """What is wrong, for people."""
        found = [lane.complaint for lane in self._lanes]
        if self._keeper.problem:
            found.append(f"alerts are kept in memory only, and lost with the process: {self._keeper.problem}")
        if self._keeper.dropped:
            found.append(f"{self._keeper.dropped} alerts found no room in the outbox")
        return tuple(text for text in found if text)

    def forked(self) -> None:
        """Begin anew in a child. What its parent has open is the parent's: kept, so that nobody closes it."""
        self._keeper.abandon()
        self._inherited.append((self._keeper, self._lanes, self._busy))
        self._reset()

    def _reset(self) -> None:
        self.pid = os.getpid()
        self._lock, self._turn = native.lock(), native.lock()
        self._resting = False
        names = {endpoint.key: endpoint.name for endpoint in self.endpoints}
        self._keeper = Keeper(self._shelf, self._missing, names, self._clock)
        weakref.finalize(self, _forget, self._keeper, self.pid)
        self._lanes = [Lane(endpoint, self._keeper, self._courier, self._clock) for endpoint in self.endpoints]
        self._busy: dict[Lane, asyncio.Task[None] | None] = {}
        self._budget = Budget(self._per_hour)
        self._tally = Tally()
        self._condition = Condition(f"{os.getpid()} on {socket.gethostname()}")
        self._digested_at = self._looked_at = self._tidied_at = self._adopted_at = 0.0

    def _unfinished(self) -> bool:
        """Whether anything is due, or under way."""
        with self._lock:
            return self._keeper.opened and any(lane in self._busy or lane.next() is not None for lane in self._lanes)

    def _stop(self) -> float:
        """Cancel what is under way; until when to wait for that."""
        for task in list(self._busy.values()):
            with suppress(RuntimeError):  # a loop that has ended
                if task is not None:
                    task.get_loop().call_soon_threadsafe(task.cancel)
        return time.monotonic() + STOP

    def _shut(self) -> None:
        with self._turn:
            self._resting = True
            self._keeper.close()

    def _everywhere(self) -> Iterator[Outbox]:
        """The outboxes of all processes."""
        yield from () if self._shelf is None else self._shelf.outboxes()
        if self._keeper.opened:
            yield self._keeper.boxes[-1]

    def _receivers(self, kind: str) -> dict[str, str]:
        return {lane.endpoint.key: lane.endpoint.name for lane in self._lanes if lane.endpoint.wants(kind)}

    def _ended(self, lane: Lane, task: asyncio.Task[None]) -> None:
        with self._lock:
            self._busy.pop(lane, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("lockwatch: delivering alerts fails: %s", type(error).__name__, exc_info=error)

    def _tidy(self) -> None:
        """What has to be done now and then: orphans, digests, old rows."""
        now = self._clock()
        with self._lock:
            held = self._tally.take()
        if held:
            self._keeper.hold(held)
        if 0 <= now - self._looked_at < LOOK:
            return
        old = not 0 <= now - self._tidied_at < TIDY
        self._looked_at, self._tidied_at = now, now if old else self._tidied_at
        if not 0 <= now - self._adopted_at < ADOPT:
            self._adopted_at = now
            self._keeper.adopt()
        if self.audit is not None and (alert := self._condition.look(self.audit(), now, new_id())) is not None:
            self.raise_(alert)
        for box in self._keeper.boxes:
            try:
                self._digest(box, now)
                if old:
                    box.prune()
            except sqlite3.Error as error:
                self._keeper.fails(error)

    def _digest(self, box: Outbox, now: float) -> None:
        """Raises: sqlite3.Error."""
        if 0 <= now - self._digested_at < EVERY or not (held := box.held()):
            return
        alert = digest(new_id(), held, int(now * 1_000_000))
        receivers: dict[str, str] = {}
        for kind in (names.DIGEST, *(h.type for h in held)):
            receivers |= self._receivers(kind)
        box.digest(alert.id, alert.type, render(alert), receivers, now)
        self._digested_at = now


def _forget(keeper: Keeper, pid: int) -> None:
    """Close what a process opened, in that process."""
    if os.getpid() == pid:
        keeper.close()


def _reuse(event: Event) -> Alert:
    """Somebody used a refresh token that had been used before: its owner, or a thief."""
    data = {
        "user": event.user,
        "session": event.session,
        "ip": event.ip,
        "user_agent": event.user_agent,
        "request_id": event.request_id,
        "reasons": list(event.reasons),
        "details": event.details,
    }
    return Alert(new_id(), names.TOKEN_REUSE, event.time_us, data)
