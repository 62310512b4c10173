"""What every algorithm of the memory store can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from typing import Final, TypeAlias

NEVER: Final = -1
REMEMBERED: Final = 16
MOST: Final = 2**42
"""No bucket ever holds more, whatever is charged afterwards."""
Verdict: TypeAlias = tuple[int, int, int, int, int, int]
"""1 allowed, 0 refused for sure until `retry`, 2 refused; then remaining, retry, reset, next (microseconds), receipt."""


class Bucket(ABC):
    """What counts for one subject under one limit. Made empty; the store forgets one that became empty again.

    `now` is whole microseconds; `quota`, `span` and `burst` may differ from call to call. A method may move the clock of the
    bucket, or rewrite it for a limit that changed; only `charge` and `settle` change what counts.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def until(self) -> int:
        """When nothing in it counts any more."""

    @property
    @abstractmethod
    def empty(self) -> bool:
        """Whether there is nothing in it, expired or not."""

    @abstractmethod
    def judge(self, now: int, quota: int, span: int, burst: int, cost: int) -> Verdict:
        """What `cost` would get now."""

    @abstractmethod
    def charge(self, now: int, quota: int, span: int, burst: int, cost: int, loose: bool) -> Verdict:
        """Take `cost`, whatever is left. The verdict has a receipt if it may be given back."""

    @abstractmethod
    def settle(self, now: int, quota: int, span: int, burst: int, receipt: int, charged: int, actual: int, held: bool) -> int:
        """Make a charge count `actual`. Returns by how much what counts has changed; 0 when it no longer counts or was settled.

        `held`: somebody else remembers which charges are not settled yet.
        """

    def take(self, now: int, quota: int, span: int, burst: int, cost: int) -> Verdict:
        """`judge`, and `charge` if it is allowed."""
        verdict = self.judge(now, quota, span, burst, cost)
        return self.charge(now, quota, span, burst, cost, False) if verdict[0] == 1 and cost else verdict


def verdict_of(left: int, capacity: int, cost: int, firm: bool, reset: int, upcoming: int) -> Verdict | None:
    """The verdict if it needs no waiting time: the cost fits, or never will."""
    if cost <= left or not cost:
        return (1, max(0, left), 0, reset, upcoming, 0)
    return (0, max(0, left), NEVER, reset, upcoming, 0) if cost > capacity else None


class Settled:
    """The receipts that were settled last, for algorithms that do not keep every charge."""

    __slots__ = ("_receipts",)

    def __init__(self) -> None:
        self._receipts: deque[int] = deque(maxlen=REMEMBERED)

    def add(self, receipt: int) -> bool:
        """Remember it. False if it is known."""
        if receipt in self._receipts:
            return False
        self._receipts.append(receipt)
        return True
