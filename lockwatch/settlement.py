"""Settlement: what decisions leave behind. Giving back, settling and renewing happen later, and no request waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Final

from lockwatch.errors import StoreError
from lockwatch.flow import Flow, run
from lockwatch.limits import flows
from lockwatch.limits.leases import Leases, conclusions
from lockwatch.limits.policy import Receipt
from lockwatch.link import Link

RENEWAL: Final = 3.0
"""Seconds between two renewals of what is under way; a lease lasts 10."""


class Settlement:
    """The open receipts of one process, and the flows nobody waits for.

    Args:
        link: the stores.

    Attributes:
        leases: what is under way and lapses unless it is renewed.
    """

    def __init__(self, link: Link) -> None:
        self.leases = Leases()
        self._link = link
        self._renewing = False
        self._tasks: set[asyncio.Task[None]] = set()

    def hold(self, receipts: Sequence[Receipt]) -> None:
        """Renew those that lapse until they are concluded."""
        if self.leases.begin(receipts, monotonic()) and not self._renewing:
            self._renewing = True
            self._link.every(RENEWAL, self._renew)

    def conclude(self, receipts: Sequence[Receipt], status: int, ended: bool) -> tuple[Receipt, ...]:
        """Settle what a response decides; returns what is still open after it.

        Args:
            status: of the response; 500 for a request that ended without one.
            ended: nothing more comes: the request is not in flight any more.
        """
        left, items = conclusions(receipts, status, ended)
        if items:
            self.leases.end([receipt for receipt, _ in items])
            self.later(flows.settle(items, self._link.split))
        return left

    async def give_back(self, receipts: Sequence[Receipt]) -> None:
        """Undo what was charged for a request that was refused after all. A store that fails leaves it charged."""
        self.leases.end(receipts)
        with suppress(StoreError):
            await self._link.drive(flows.settle([(receipt, 0) for receipt in receipts], self._link.split))

    async def settle(self, receipts: Sequence[Receipt], actual: int) -> tuple[Receipt, ...]:
        """Set what a request cost; returns the receipts as they stand then.

        Raises: LookupError when nothing on its route has a cost to settle, StoreError.
        """
        meant = [receipt for receipt in receipts if receipt.charge.policy.settles]
        if not meant:
            raise LookupError(
                "no limit charged for this request has a cost to settle; declare one with cost=, like RateLimit(..., cost=estimate)"
            )
        await self._link.drive(flows.settle([(receipt, actual) for receipt in meant], self._link.split))
        return tuple([r._replace(charged=actual) if r.charge.policy.settles else r for r in receipts])

    def later(self, flow: Flow[Any]) -> None:
        """Run a flow that nobody waits for. A store that fails is noted by the link, and what it did not hear lapses."""
        link = self._link
        if link.store is link.at_hand:
            run(flow, link.memory, link.memory)
            return
        task = asyncio.get_running_loop().create_task(self._quietly(flow))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """Wait for what the running event loop has still to settle."""
        loop = asyncio.get_running_loop()
        await asyncio.gather(*[task for task in self._tasks if task.get_loop() is loop])

    async def _quietly(self, flow: Flow[Any]) -> None:
        with suppress(StoreError):
            await self._link.drive(flow)

    async def _renew(self) -> None:
        due = self.leases.due(monotonic() - RENEWAL)
        if due:
            with suppress(StoreError):
                await self._link.drive(flows.renew(due, self._link.split))
