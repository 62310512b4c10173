"""Settlement: what decisions leave behind. Giving back, settling and renewing happen later, and no request waits for them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from time import monotonic, sleep
from typing import Final

from lockwatch import native
from lockwatch.errors import StoreError
from lockwatch.flow import Call, Flow, Reply
from lockwatch.limits import flows
from lockwatch.limits.leases import Leases, conclusions
from lockwatch.limits.policy import Receipt
from lockwatch.link import Link
from lockwatch.worker import shared

PAUSE: Final = 0.02
"""Seconds that calls of blocking code wait for a request that takes them along."""
PATIENCE: Final = 1.0
"""Seconds that `finish_sync` waits for calls that are under way."""
RENEWAL: Final = 3.0
"""Seconds between two renewals of what is under way; a lease lasts 10."""


class Settlement:
    """The open receipts of one process, and the calls nobody waits for.

    Args:
        link: the stores.

    Attributes:
        leases: what is under way and lapses unless it is renewed.
    """

    def __init__(self, link: Link) -> None:
        self.leases = Leases()
        self._link = link
        self._renewing = self._sending = self._under_way = False
        self._awaited: set[asyncio.Future[Reply]] = set()
        self.pid = os.getpid()
        native.tell_of_forks(self)

    def hold(self, receipts: Sequence[Receipt]) -> None:
        """Renew those that lapse until they are concluded."""
        if self.leases.begin(receipts, monotonic()) and not self._renewing:
            self._renewing = True
            self._link.every(RENEWAL, self._renew)

    def conclude(
        self, receipts: Sequence[Receipt], status: int, ended: bool, actual: int | None, failed: bool | None = None
    ) -> tuple[Receipt, ...]:
        """Settle what a response decides; returns what is still open after it. For the arguments see `conclusions`."""
        left, items = conclusions(receipts, status, ended, actual, failed)
        if items:
            self.leases.end([receipt for receipt, _ in items])
            self.later(flows.settlements(items, self._link.split))
        return left

    def giving_back(self, receipts: Sequence[Receipt]) -> Flow[None]:
        """Undo what was charged for a request that was refused after all. A store that fails leaves it charged."""
        self.leases.end(receipts)
        with suppress(StoreError):
            yield from flows.settle([(receipt, 0) for receipt in receipts], self._link.split)

    def later(self, calls: Iterable[Call]) -> None:
        """Make calls that nobody waits for, in order, before any call made after them. A store that fails loses them: it is noted
        by the link, and what the store did not hear lapses.
        """
        link = self._link
        for call in calls:
            if call.local or link.in_memory:
                link.memory.call(call)
            elif link.blocking:
                self._leave(call)
            else:
                with suppress(StoreError):
                    self._watch(asyncio.ensure_future(link.async_store().call(call)))

    async def finish(self) -> None:
        """Wait for what the running event loop has still to settle."""
        loop = asyncio.get_running_loop()
        await asyncio.gather(*[answer for answer in self._awaited if answer.get_loop() is loop], return_exceptions=True)

    def forked(self) -> None:
        """Begin anew in a child process, whose parent may have been sending."""
        self.pid, self._sending, self._under_way = os.getpid(), False, False

    def finish_sync(self) -> None:
        """Settle what blocking code has left, and wait for what is on its way."""
        while calls := self._link.backlog.take():
            for call in calls:
                with suppress(StoreError):
                    self._link.sync_store().call(call)
        ends = monotonic() + PATIENCE
        while self._under_way and monotonic() < ends:
            sleep(0.001)

    def _leave(self, call: Call) -> None:
        """For the next call of blocking code to take along; if none comes soon, for the background."""
        self._link.backlog.add(call)
        if not self._sending:
            self._sending = True
            if not shared().post("settlements", self._send):
                self._sending = False
                self.finish_sync()

    async def _send(self) -> None:
        """Make the calls that nobody took along. While some are under way, theirs is the turn of what is left meanwhile: waiting
        for them here would hold up the loop on which they are answered.
        """
        await asyncio.sleep(PAUSE)
        self._sending = False
        if self._under_way:
            return
        self._under_way = True
        try:
            while calls := self._link.backlog.take():
                await asyncio.gather(*[self._lone(call) for call in calls])
        finally:
            self._under_way = False

    async def _lone(self, call: Call) -> None:
        with suppress(StoreError):
            await self._link.async_store().call(call)

    def _watch(self, answer: asyncio.Future[Reply]) -> None:
        self._awaited.add(answer)
        answer.add_done_callback(self._forget)

    def _forget(self, answer: asyncio.Future[Reply]) -> None:
        self._awaited.discard(answer)
        error = None if answer.cancelled() else answer.exception()
        if error is not None and not isinstance(error, StoreError):
            raise error

    async def _renew(self) -> None:
        due = self.leases.due(monotonic() - RENEWAL)
        if due:
            with suppress(StoreError):
                await self._link.drive(flows.renew(due, self._link.split))
