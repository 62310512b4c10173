"""What is under way: which reservations and requests in flight are open, and what a response means for them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lockwatch.limits.policy import HELD, Receipt


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


def conclusions(receipts: Sequence[Receipt], status: int, ended: bool) -> tuple[tuple[Receipt, ...], list[tuple[Receipt, int]]]:
    """What stays open after a response, and what is settled at which cost.

    Args:
        status: of the response.
        ended: whether the request has ended, so that it is not in flight any more.
    """
    left: list[Receipt] = []
    items: list[tuple[Receipt, int]] = []
    for receipt in receipts:
        counts = receipt.charge.policy.counts
        if in_flight(receipt):
            if ended:
                items.append((receipt, 0))
            else:
                left.append(receipt)
        elif counts is not None:
            items.append((receipt, receipt.charged if counts(status) else 0))
        elif receipt.charge.policy.settles:
            left.append(receipt)
    return tuple(left), items


def in_flight(receipt: Receipt) -> bool:
    """Whether a receipt stands for a request under way."""
    return receipt.charge.policy.algorithm == "concurrent"
