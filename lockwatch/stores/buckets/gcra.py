"""gcra: a bucket of `burst` tokens that refills `quota` of them per window."""

from __future__ import annotations

from math import ceil, gcd
from typing import Final

from lockwatch.stores.buckets.bucket import Bucket, Settled, Verdict, verdict_of

_LIMIT: Final = 2**53 - 1


class Gcra(Bucket):
    """What is missing, in units of which a token is ``span / g`` and of which ``quota / g`` come back each microsecond.

    g is their greatest common divisor, so nothing is ever rounded. A receipt is when its charge has been refilled; what of
    it is still missing can be given back, no more.
    """

    __slots__ = ("_at", "_debt", "_loose", "_newest", "_refill", "_settled", "_token")

    def __init__(self) -> None:
        self._refill = self._token = self._debt = self._at = self._newest = 0
        self._loose = False
        self._settled = Settled()

    @property
    def until(self) -> int:
        return self._at + _divided_up(self._debt, self._refill) if self._refill else 0

    @property
    def empty(self) -> bool:
        return not self._debt

    def judge(self, now: int, quota: int, span: int, burst: int, cost: int) -> Verdict:
        """What `cost` would get now."""
        if not quota:
            return verdict_of(0, 0, cost, True, 0, 0) or (0, 0, 0, 0, 0, 0)
        _, debt = self._look(now, quota, span)
        left, reset, upcoming = self._tell(debt, burst)
        known = verdict_of(left, burst, cost, True, reset, upcoming)
        if known:
            return known
        wait = _divided_up(debt + (cost - burst) * self._token, self._refill)
        return (2 if self._loose and debt else 0, max(0, left), wait, reset, upcoming, 0)

    def charge(self, now: int, quota: int, span: int, burst: int, cost: int, loose: bool) -> Verdict:
        """Take tokens."""
        if not quota:
            return (1, 0, 0, 0, 0, 0)
        self._at, debt = self._look(now, quota, span)
        if not debt:
            self._loose, self._settled = False, Settled()
        self._debt = min(debt + cost * self._token, _LIMIT)
        if loose:
            self._newest, self._loose = max(self._at + _divided_up(self._debt, self._refill), self._newest + 1), True
        left, reset, upcoming = self._tell(self._debt, burst)
        return (1, max(0, left), 0, reset, upcoming, self._newest if loose else 0)

    def settle(self, now: int, quota: int, span: int, burst: int, receipt: int, charged: int, actual: int, held: bool) -> int:
        """Give back what of the charge is still missing, or take what is more."""
        if not quota:
            return 0
        now, debt = self._look(now, quota, span)
        if not debt or not now < receipt <= self._newest or not (held or self._settled.add(receipt)):
            return 0
        if actual > charged:
            self.charge(now, quota, span, burst, actual - charged, False)
            return actual - charged
        less = min((charged - actual) * self._token, (receipt - now) * self._refill, debt)
        self._at, self._debt = now, debt - less
        return -_divided_up(less, self._token)

    def _tell(self, debt: int, burst: int) -> tuple[int, int, int]:
        """What is left, when all of it is free again, when more than that is."""
        room = burst * self._token - debt
        left = room // self._token
        upcoming = _divided_up((max(0, left) + 1) * self._token - room, self._refill) if left < burst else 0
        return left, _divided_up(debt, self._refill), upcoming

    def _look(self, now: int, quota: int, span: int) -> tuple[int, int]:
        """The time, which never steps back, and what is missing then. Other units, and a clock set back by more, are noted."""
        if now < self._at <= now + span:
            now = self._at
        debt = max(0, self._debt - max(0, now - self._at) * self._refill)
        divisor = gcd(quota, span)
        refill, token = quota // divisor, span // divisor
        other = (refill, token) != (self._refill, self._token)
        if other and debt:
            debt = min(ceil(float(debt) * float(token) / float(self._token)), _LIMIT)
        if other or self._at > now:
            self._refill, self._token, self._at, self._debt = refill, token, now, debt
        return now, debt


def _divided_up(a: int, b: int) -> int:
    return -(-a // b)
