"""Known offenders: buckets that refused, and until when nothing but a reset can change that.

Pure: the time comes in as an argument (seconds, monotonic). A bucket that refused a cost under an exact algorithm and never held
anything that may be given back cannot admit that cost before the time it named, so refusing again without asking is exact. An
entry counts only while the store was heard from within the last second: an admin reset raises the store's epoch, and a process
that hears another epoch, or has not heard, forgets everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from lockwatch.limits.decision import Decision
from lockwatch.limits.policy import PENALTY, Charge

SILENCE: Final = 1.0
"""Seconds after the store was last heard for which an entry counts."""


class Denial(NamedTuple):
    """What a bucket refused, until when."""

    until: float
    cost: int
    numbers: tuple[int, int, int]
    reset: float
    decision: Decision


class Denied:
    """The denied buckets of one process, at most `size`; the oldest is forgotten first, which costs a question to the store."""

    def __init__(self, size: int = 65_536) -> None:
        self.known: dict[str, Denial] = {}
        self._size = size
        self._heard = float("-inf")
        self._epoch: int | None = None

    def find(self, charges: Sequence[Charge], now: float) -> tuple[Charge, Denial] | None:
        """The first of `charges` that is known to be refused now, and why."""
        if now - self._heard > SILENCE:
            return None
        for charge in charges:
            denial = self.known.get(charge.key)
            if denial is not None and _holds(denial, charge, charges):
                if now < denial.until:
                    return charge, denial
                self.known.pop(charge.key, None)
        return None

    def note(self, charges: Sequence[Charge], decisions: Sequence[Decision], now: float) -> None:
        """Remember which of `charges` the store refused for good; what was refused without it holds only as long as it is away."""
        for charge, decision in zip(charges, decisions, strict=True):
            firm = decision.firm and not decision.degraded
            if firm and decision.retry_after is not None and not decision.shadow and charge.policy.counts is None:
                if len(self.known) >= self._size:
                    self._forget_oldest()
                until, reset = now + decision.retry_after, now + decision.reset_after
                self.known[charge.key] = Denial(until, charge.cost, charge.policy.numbers, reset, decision)

    def _forget_oldest(self) -> None:
        try:
            del self.known[next(iter(self.known))]
        except (KeyError, RuntimeError, StopIteration):
            pass  # another thread did

    def hear(self, epoch: int, now: float) -> None:
        """The store was heard, and this is its epoch."""
        if epoch != self._epoch or now - self._heard > SILENCE:
            self.known.clear()
        self._epoch, self._heard = epoch, now


def _holds(denial: Denial, charge: Charge, charges: Sequence[Charge]) -> bool:
    """Whether a denial says something about this charge: the same limit, at least the cost, and no penalty to be charged."""
    policy = charge.policy
    same = denial.numbers == policy.numbers and charge.cost >= denial.cost and not policy.shadow
    return same and (bool(policy.mode & PENALTY) or not any(c.policy.mode & PENALTY for c in charges))


def aged(denial: Denial, charge: Charge, now: float, decision_id: str) -> Decision:
    """The decision that repeats a denial."""
    wait = denial.until - now
    return denial.decision._replace(
        policy=charge.policy.name,
        retry_after=wait,
        next_after=wait,
        reset_after=denial.reset - now,
        cost=charge.cost,
        id=decision_id,
    )
