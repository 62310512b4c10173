"""concurrent: how many are in flight, by leases that lapse."""

from __future__ import annotations

from typing import Final

from lockwatch.stores.buckets.bucket import Bucket, Verdict, verdict_of

_LATER: Final = 1_000_000


class Leases(Bucket):
    """When each lease lapses, by its receipt."""

    __slots__ = ("_leases",)

    def __init__(self) -> None:
        self._leases: dict[int, int] = {}

    @property
    def until(self) -> int:
        return max(self._leases.values(), default=0)

    @property
    def empty(self) -> bool:
        return not self._leases

    def judge(self, now: int, quota: int, span: int, burst: int, cost: int) -> Verdict:
        """What one more would get now."""
        left, reset, upcoming = self._tell(now, quota)
        known = verdict_of(left, quota, min(cost, 1), False, reset, upcoming)
        return known or (2, max(0, left), _LATER, reset, upcoming, 0)

    def charge(self, now: int, quota: int, span: int, burst: int, cost: int, loose: bool) -> Verdict:
        """Give a lease of `span`. It always has a receipt."""
        self._leases = {receipt: lapses for receipt, lapses in self._leases.items() if lapses > now}
        receipt = now
        while receipt in self._leases:
            receipt += 1
        self._leases[receipt] = now + span
        left, reset, _ = self._tell(now, quota)
        return (1, max(0, left), 0, reset, _LATER, receipt)

    def settle(self, now: int, quota: int, span: int, burst: int, receipt: int, charged: int, actual: int, held: bool) -> int:
        """End a lease, if it turned out to be nothing."""
        return 0 if actual else -(self._leases.pop(receipt, 0) > now)

    def renew(self, now: int, receipt: int, lapses: int) -> bool:
        """Extend a lease that is still there."""
        if self._leases.get(receipt, 0) <= now:
            return False
        self._leases[receipt] = max(self._leases[receipt], lapses)
        return True

    def _tell(self, now: int, quota: int) -> tuple[int, int, int]:
        """What is left, when all of it is free again, when to ask again."""
        lapses = [at for at in self._leases.values() if at > now]
        return quota - len(lapses), max(lapses, default=now) - now, _LATER if lapses else 0
