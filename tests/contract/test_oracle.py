"""The exact algorithms, settles and leases included, against a list of everything admitted, in exact fractions of seconds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import pytest
from hypothesis import given, settings

from lockwatch.flow import Call
from tests.contract.bench import FLAGS, HELD, LOOK, LOOSE, PENALTY, SECOND, SET, WINDOW
from tests.contract.histories import KEYS, LEASE, History, Step
from tests.contract.test_histories import HISTORIES, QUIET

MICROSECOND = Fraction(1, SECOND)
NEVER = -MICROSECOND


def microseconds(seconds: Fraction) -> int:
    exact = seconds * SECOND
    assert exact.denominator == 1
    return exact.numerator


@dataclass
class Admission:
    at: Fraction
    cost: int


@dataclass
class Log:
    """Everything one bucket admitted, and what of it is reserved. It is clever about nothing."""

    own_stamps: bool
    admissions: list[Admission] = field(default_factory=list)
    loose: bool = False
    reserved: dict[tuple[Fraction, int], Fraction] = field(default_factory=dict)
    lapsed: set[tuple[Fraction, int]] = field(default_factory=set)

    def time(self, now: Fraction) -> Fraction:
        """Stamps of their own may be a little ahead of the clock."""
        return max([now, *[a.at for a in self.admissions]])

    def counting(self, now: Fraction, span: Fraction) -> list[Admission]:
        return [a for a in self.admissions if a.at > self.time(now) - span]

    def give_back(self, now: Fraction, span: Fraction) -> None:
        for (receipt, cost), lapses in sorted(self.reserved.items(), key=lambda item: item[1]):
            if lapses <= now:
                del self.reserved[receipt, cost]
                self.lapsed.add((receipt, cost))
                self.change(now, span, receipt, cost, 0)

    def judge(self, now: Fraction, quota: int, span: Fraction, cost: int) -> list[int]:
        counting = self.counting(now, span)
        left = quota - sum(a.cost for a in counting)
        times = [counting[-1].at + span - now, counting[0].at + span - now] if counting else [Fraction(0)] * 2
        if cost <= left or cost == 0:
            return [1, max(0, left), 0, *map(microseconds, times), 0]
        if cost > quota:
            return [0, max(0, left), -1, *map(microseconds, times), 0]
        need, retry = cost - left, Fraction(0)
        for admission in counting:
            need, retry = need - admission.cost, admission.at + span - now
            if need <= 0:
                break
        return [2 if self.loose or self.own_stamps else 0, max(0, left), *map(microseconds, (retry, *times)), 0]

    def charge(self, now: Fraction, quota: int, span: Fraction, cost: int, loose: bool) -> list[int]:
        counting = self.counting(now, span)
        self.loose = loose or (self.loose and bool(counting))
        at = self.time(now)
        if (self.loose or self.own_stamps) and self.admissions:
            at = max(at, self.admissions[-1].at + MICROSECOND)
        oldest = counting[0].at if counting else at
        left = quota - sum(a.cost for a in counting) - cost
        self.admissions.append(Admission(at, cost))
        return [1, max(0, left), 0, *map(microseconds, (at + span - now, oldest + span - now)), microseconds(at) if loose else 0]

    def change(self, now: Fraction, span: Fraction, receipt: Fraction, charged: int, actual: int) -> int:
        """Less stays where it was; of more, all but one unit less than was charged counts from now on."""
        found = [a for a in self.counting(now, span) if a.at == receipt and a.cost >= charged]
        if not found or (found[0].cost != charged and not self.own_stamps):
            return 0
        kept = min(actual, charged - 1)
        if actual > kept and self.own_stamps:
            self.charge(now, 0, span, actual - kept, True)
        found[0].cost -= charged - kept
        self.admissions = [a for a in self.admissions if a.cost]
        if actual > kept and not self.own_stamps:
            self.charge(now, 0, span, actual - kept, True)
        self.loose = self.loose and bool(self.counting(now, span))
        return actual - charged

    def settle(self, now: Fraction, span: Fraction, receipt: Fraction, charged: int, actual: int, held: bool) -> int:
        if held:
            if (receipt, charged) in self.lapsed:
                self.lapsed.remove((receipt, charged))
                if actual and receipt + span > now:
                    self.charge(now, 0, span, actual, False)
                    return actual
                return 0
            if self.reserved.pop((receipt, charged), None) is None:
                return 0
        return self.change(now, span, receipt, charged, actual) if actual != charged else 0


def expected(calls: Sequence[Call], algorithm: int) -> Iterator[list[int]]:
    """What a store has to answer."""
    logs = {key: Log(algorithm == SET and key != KEYS[2]) for key in KEYS}
    for call in calls:
        own = [key for key in call.keys if key in KEYS]
        if call.script == "reset":
            logs[own[0]] = Log(logs[own[0]].own_stamps)
            yield []
        elif call.script == "renew":
            now, receipt, cost, lease = call.args
            reserved, what = logs[call.keys[0].partition(":")[0]].reserved, (receipt * MICROSECOND, cost)
            there = reserved.get(what, Fraction(0)) > now * MICROSECOND
            if there:
                reserved[what] = max(reserved[what], (now + lease) * MICROSECOND)
            yield [int(there)]
        elif call.script == "settle":
            now, mode, _, span, _, receipt, charged, actual = call.args
            times = (now * MICROSECOND, span * MICROSECOND, receipt * MICROSECOND)
            yield [logs[own[0]].settle(*times, charged, actual, mode & HELD > 0)]
        else:
            yield decided(call, [logs[key] for key in own])


def decided(call: Call, logs: Sequence[Log]) -> list[int]:
    now = call.args[0] * MICROSECOND
    asks = [call.args[i : i + 5] for i in range(1, len(call.args), 5)]
    found = []
    for log, (mode, quota, span, _, cost) in zip(logs, asks, strict=True):
        if mode & HELD:
            log.give_back(now, span * MICROSECOND)
        found.append(log.judge(now, quota, span * MICROSECOND, cost))
    refusing = {ask[0] & PENALTY for ask, verdict in zip(asks, found, strict=True) if verdict[0] != 1 and not ask[0] & 1}
    due = PENALTY if 0 in refusing else None if refusing else 0
    for i, (log, (mode, quota, span, _, cost)) in enumerate(zip(logs, asks, strict=True)):
        if call.script == "admit" and mode & (PENALTY | LOOK) == due and found[i][0] == 1 and cost:
            found[i] = log.charge(now, quota, span * MICROSECOND, cost, mode & (LOOSE | HELD) > 0)
            if mode & HELD:
                log.reserved[found[i][5] * MICROSECOND, cost] = now + LEASE * MICROSECOND
    return [number for verdict in found for number in verdict]


@pytest.mark.parametrize("algorithm", [WINDOW, SET], ids=["sliding-window", "sorted-set"])
@settings(max_examples=400, **QUIET)
@given(HISTORIES)
def test_the_exact_algorithms_agree_with_the_oracle(algorithm: int, found: list[Step]) -> None:
    history = History(algorithm)
    history.play(found)
    assert history.replies == list(expected(history.calls, algorithm))
    assert all(call.args[1] // FLAGS in {WINDOW, algorithm} for call in history.calls if call.script == "admit")
