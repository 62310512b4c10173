"""What is under way: which reservations and requests in flight are open, and what a response means for them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lockwatch.limits.policy import HELD, Receipt, is_failure


class Leases:
    """The open receipts of one process that lapse unless they are renewed. As many as there are requests under way."""

    def __init__(self) -> None:
        self._open: dict[Receipt, float] = {}

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, receipts: Iterable[Receipt], now: float) -> bool:
        """Keep those that lapse; whether there were any."""
        lapsing = [r for r in receipts if r.mode & HELD or in_flight(r)]
        self._open.update(dict.fromkeys(lapsing, now))
        return bool(lapsing)

    def end(self, receipts: Iterable[Receipt]) -> None:
        """Let go of receipts, those that never lapse included."""
        for receipt in receipts:
            self._open.pop(receipt, None)

    def due(self, before: float) -> list[Receipt]:
        """Those that began before `before`."""
        return [receipt for receipt, began in list(self._open.items()) if began <= before]


def conclusions(
    receipts: Sequence[Receipt], status: int, ended: bool, actual: int | None, failed: bool | None = None
) -> tuple[tuple[Receipt, ...], list[tuple[Receipt, int]]]:
    """What stays open after a response, and what is settled at which cost.

    Args:
        status: of the response; 500 for a request that ended without one.
        ended: whether the request has ended, so that it is not in flight any more.
        actual: what it cost really, None as long as nobody said so.
        failed: whether the application said that a login failed, for limits that count failures; None leaves it to the status.
    """
    left: list[Receipt] = []
    items: list[tuple[Receipt, int]] = []
    for receipt in receipts:
        cost = _concluded(receipt, status, ended, actual, failed)
        if cost is not None:
            items.append((receipt, cost))
        elif in_flight(receipt) or receipt.charge.policy.settles:
            left.append(receipt)
    return tuple(left), items


def _concluded(receipt: Receipt, status: int, ended: bool, actual: int | None, failed: bool | None) -> int | None:
    """What a receipt turns out to be, None when that is not known yet. A receipt is settled once."""
    policy = receipt.charge.policy
    if in_flight(receipt):
        return 0 if ended else None
    if policy.counts is not None and not (failed if failed is not None and policy.counts is is_failure else policy.counts(status)):
        return 0
    if not policy.settles:
        return receipt.charged if policy.counts is not None else None
    if not ended or actual is None:
        return receipt.charged if ended and policy.counts is not None else None
    return actual


def in_flight(receipt: Receipt) -> bool:
    """Whether a receipt stands for a request under way."""
    return receipt.charge.policy.algorithm == "concurrent"
