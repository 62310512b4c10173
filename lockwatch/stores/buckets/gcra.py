"""gcra: a bucket of `burst` tokens that refills `quota` of them per window."""

from __future__ import annotations

from math import ceil, gcd
from typing import Final, NamedTuple

from lockwatch.stores.buckets.bucket import Bucket, Settled, Verdict, verdict_of

_LIMIT: Final = 2**53 - 1


class Rate(NamedTuple):
    """Units that come back each microsecond, units of a token."""

    refill: int
    token: int

    def tell(self, debt: int, burst: int, ahead: int) -> tuple[int, int, int]:
        """What is left, when all of it is free again, when more than that is; on a clock that is this far behind."""
        room = burst * self.token - debt
        left = room // self.token
        reset = _divided_up(debt, self.refill)
        upcoming = _divided_up((max(0, left) + 1) * self.token - room, self.refill) if left < burst else 0
        return left, reset and reset + ahead, upcoming and upcoming + ahead


class Gcra(Bucket):
    """What is missing, in units of which a token is ``span / g`` and of which ``quota / g`` come back each microsecond.

    g is their greatest common divisor, so nothing is ever rounded. A receipt is when its charge has been refilled; what of
    it is still missing can be given back, no more.
    """

    __slots__ = ("_at", "_debt", "_loose", "_newest", "_rate", "_settled")

    def __init__(self) -> None:
        self._debt = self._at = self._newest = 0
        self._rate = Rate(1, 1)
        self._loose = False
        self._settled = Settled()

    @property
    def until(self) -> int:
        return self._at + _divided_up(self._debt, self._rate.refill)

    @property
    def empty(self) -> bool:
        return not self._debt

    def judge(self, now: int, quota: int, span: int, burst: int, cost: int) -> Verdict:
        """What `cost` would get now."""
        if not quota:
            return verdict_of(0, 0, cost, True, 0, 0) or (0, 0, 0, 0, 0, 0)
        asked, (now, debt, rate) = now, self._look(now, quota, span)
        left, reset, upcoming = rate.tell(debt, burst, now - asked)
        known = verdict_of(left, burst, cost, True, reset, upcoming)
        wait = _divided_up(debt + (cost - burst) * rate.token, rate.refill) + now - asked
        return known or (2 if self._loose and debt else 0, max(0, left), wait, reset, upcoming, 0)

    def charge(self, now: int, quota: int, span: int, burst: int, cost: int, loose: bool) -> Verdict:
        """Take tokens."""
        if not quota:
            return (1, 0, 0, 0, 0, 0)
        asked, (self._at, debt, rate) = now, self._look(now, quota, span)
        if not debt:
            self._loose, self._settled = False, Settled()
        self._rate, self._debt = rate, min(debt + cost * rate.token, max(_LIMIT, burst * rate.token))
        if loose:
            self._newest, self._loose = max(self._at + _divided_up(self._debt, rate.refill), self._newest + 1), True
        left, reset, upcoming = rate.tell(self._debt, burst, self._at - asked)
        return (1, max(0, left), 0, reset, upcoming, self._newest if loose else 0)

    def settle(self, now: int, quota: int, span: int, burst: int, receipt: int, charged: int, actual: int, held: bool) -> int:
        """Give back what of the charge is still missing, or take what is more."""
        if not quota:
            return 0
        now, debt, rate = self._look(now, quota, span)
        if not debt or not now < receipt <= self._newest or not (held or self._settled.add(receipt)):
            return 0
        if actual > charged:
            self.charge(now, quota, span, burst, actual - charged, False)
            return actual - charged
        less = min((charged - actual) * rate.token, (receipt - now) * rate.refill, debt)
        self._at, self._debt, self._rate = now, debt - less, rate
        return -_divided_up(less, rate.token)

    def _look(self, now: int, quota: int, span: int) -> tuple[int, int, Rate]:
        """The time, which never steps back, and what is missing then. Another rate, and a clock set back by more, are noted."""
        if now < self._at <= now + span:
            now = self._at
        divisor = gcd(quota, span)
        rate, known = Rate(quota // divisor, span // divisor), self._rate
        debt = max(0, self._debt - max(0, now - self._at) * known.refill)
        if debt and rate != known:
            debt = ceil(float(debt) * float(rate.token) / float(known.token))
        if debt and (rate != known or self._at > now):
            self._rate, self._at, self._debt = rate, now, debt
        return now, debt, rate


def _divided_up(a: int, b: int) -> int:
    return -(-a // b)
