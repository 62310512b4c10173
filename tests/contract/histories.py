"""Histories: what happens to a few buckets over time, as the calls of a store, with everything that must always hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from lockwatch.flow import Call, Reply
from lockwatch.stores.memory import MemoryStore
from tests.contract.bench import (
    CONCURRENT,
    COUNTER,
    FLAGS,
    HELD,
    LOOK,
    LOOSE,
    PENALTY,
    SECOND,
    START,
    Ask,
    Verdict,
    held_by,
    settle,
    verdicts,
)
from tests.contract.bench import admit as admit_call

LEASE: Final = 10 * SECOND
KEYS: Final = ("a", "b", "c")
SPANS: Final = (10 * SECOND, 3 * SECOND, 25 * SECOND)
QUOTAS: Final = (5, 3, 8)
FORWARD: Final = (0, 0, 1, SECOND // 2, SECOND, 2_500_000, 3 * SECOND, LEASE - 1, LEASE, LEASE + 1, 25 * SECOND)
NUDGE: Final = 100
"""Microseconds by which a bucket may be ahead of the clock: charges that can be given back have stamps of their own."""
BACK: Final = (-1, -SECOND, -3 * SECOND - 1, -LEASE - 1, -60 * SECOND)


class Step(NamedTuple):
    """What happens next, in small numbers."""

    pause: int
    what: int
    which: int
    costs: int
    flags: int
    pick: int
    actual: int


class Given(NamedTuple):
    """A charge that may be settled."""

    ask: Ask
    receipt: int
    at: int


@dataclass
class History:
    """Plays steps on a memory store. Other stores have to answer the same `calls` with the same `replies`."""

    algorithm: int
    pauses: Sequence[int] = FORWARD
    changing: bool = False
    """Quotas change, and there is one bucket: a table may forget what has expired, which a clock set back revives on a server."""
    now: int = START
    store: MemoryStore = field(default_factory=MemoryStore)
    calls: list[Call] = field(default_factory=list)
    replies: list[list[int]] = field(default_factory=list)
    given: list[Given] = field(default_factory=list)
    quotas: list[int] = field(default_factory=lambda: list(QUOTAS))
    seen: dict[str, Verdict] = field(default_factory=dict)
    admitted: dict[str, list[list[int]]] = field(default_factory=lambda: {key: [] for key in KEYS})
    """Per key: when, how much, the receipt. A settle lowers how much; what comes on top is a debt and not here."""

    def play(self, steps: Sequence[Step]) -> None:
        """All steps, one after the other."""
        for step in steps:
            pause = self.pauses[step.pause % len(self.pauses)]
            if pause:
                self.seen.clear()
            self.now += pause
            if self.changing and step.pick % 16 == 1:
                self.quotas[step.which % 3] = (2, 5, 7, 0)[step.actual % 4]
                self.seen.clear()
            [self._admit, self._admit, self._admit, self._settle, self._settle, self._again, self._renew, self._reset][
                step.what % 8
            ](step)

    def run(self, call: Call) -> Reply:
        """One call, noted for other stores. What a reset finds is not: a server keeps keys longer when a test gives the time."""
        reply = list(self.store.call(call)) if call.script != "reset" else list(self.store.call(call))[:0]
        self.calls.append(call)
        self.replies.append(reply)
        return reply

    def ask(self, i: int, cost: int = 1, flags: int = 0) -> Ask:
        """What is asked of the i-th bucket. The third is a sliding window beside those of another algorithm."""
        mode = (self.algorithm if i < 2 else 0) * FLAGS
        return Ask(KEYS[i], self.quotas[i], SPANS[i], cost, 0, mode + flags, self.quotas[i])

    def _admit(self, step: Step) -> None:
        chosen = [i for i in range(3) if step.which >> i & 1] or [step.which % 3]
        chosen = [0] if self.changing else chosen
        flags = [(0, LOOSE, HELD, 1, HELD, 0, PENALTY, LOOK)[step.flags >> 3 * i & 7] for i in range(3)]
        asks = [self.ask(i, (1, 1, 2, 0)[step.costs >> 2 * i & 3], flags[i]) for i in chosen]
        for ask in asks:
            if ask.mode & HELD:
                self.seen.pop(ask.key, None)  # what lapsed is given back
        before = verdicts(self.run(admit_call(self.now, *asks, script="peek")))
        found = verdicts(self.run(admit_call(self.now, *asks)))
        assert [v.allowed for v in before] == [v.allowed for v in found]
        self._note(asks, before, found)

    def _note(self, asks: list[Ask], before: list[Verdict], found: list[Verdict]) -> None:
        refusing = [a.mode & PENALTY for a, v in zip(asks, found, strict=True) if v.allowed != 1 and not a.mode & 1]
        for ask, was, verdict in zip(asks, before, found, strict=True):
            paid = PENALTY if 0 in refusing else 0 if not refusing else -1
            charged = ask.mode & (PENALTY | LOOK) == paid and verdict.allowed == 1 and ask.cost > 0
            if charged:
                self._charged(ask, verdict)
            else:
                assert verdict == was
            known = self.seen.get(ask.key, verdict)
            assert verdict.remaining <= known.remaining or known.following <= NUDGE
            self.seen[ask.key] = verdict
            if verdict.allowed != 1 and not self.changing:
                self._check_wait(ask, verdict)

    def _charged(self, ask: Ask, verdict: Verdict) -> None:
        self.admitted[ask.key].append([self.now, ask.cost, verdict.receipt])
        assert (verdict.receipt > 0) == (ask.mode & (LOOSE | HELD) > 0 or ask.mode // FLAGS == CONCURRENT)
        if verdict.receipt:
            self.given.append(Given(ask._replace(cost=1) if ask.mode // FLAGS == CONCURRENT else ask, verdict.receipt, self.now))

    def _check_wait(self, ask: Ask, verdict: Verdict) -> None:
        """Waiting as told is enough; a microsecond less is not."""
        if ask.cost > ask.quota:
            assert (verdict.allowed, verdict.retry) == (0, -1)
            return
        assert verdict.retry > 0
        if ask.mode // FLAGS == CONCURRENT or BACK[0] in self.pauses:
            return
        plain = ask._replace(mode=ask.mode // FLAGS * FLAGS)
        assert self.store.call(admit_call(self.now + verdict.retry, plain, script="peek"))[0] == 1
        if ask.mode // FLAGS != COUNTER:
            assert self.store.call(admit_call(self.now + verdict.retry - 1, plain, script="peek"))[0] != 1

    def _settle(self, step: Step) -> None:
        if self.given:
            given = self.given.pop(step.pick % len(self.given))
            actual = (0, 0, 1, 2, 4, 9)[step.actual % 6]
            self._settle_one(given, actual)
            if step.flags & 1 and (not actual or given.ask.mode // FLAGS != CONCURRENT):
                self._unchanged(given, actual)

    def _again(self, step: Step) -> None:
        """Settle something twice at once."""
        self._settle(step._replace(flags=1))

    def _unchanged(self, given: Given, actual: int) -> None:
        looks = [self.ask(i) for i in range(3)]
        before = self.run(admit_call(self.now, *looks, script="peek"))
        assert self.run(settle(self.now, (given.ask, given.receipt, actual))) == [0]
        assert self.run(admit_call(self.now, *looks, script="peek")) == before

    def _settle_one(self, given: Given, actual: int) -> None:
        (change,) = self.run(settle(self.now, (given.ask, given.receipt, actual)))
        self.seen.clear()
        for entry in self.admitted[given.ask.key]:
            if entry[2] == given.receipt:
                entry[1] = 0 if self._lapsed(given) else entry[1] + min(0, change)

    def _lapsed(self, given: Given) -> bool:
        return given.ask.mode & HELD > 0 and self.now - given.at >= LEASE

    def final(self, key: str) -> list[list[int]]:
        """When and how much of what was admitted counts in the end. What may have lapsed counts for nothing."""
        lapsed = {given.receipt for given in self.given if given.ask.key == key and self._lapsed(given)}
        return [[at, 0 if receipt in lapsed else cost] for at, cost, receipt in self.admitted[key]]

    def _renew(self, step: Step) -> None:
        held = [g for g in self.given if g.ask.mode & HELD or g.ask.mode // FLAGS == CONCURRENT]
        if held:
            ask, receipt, _ = held[step.pick % len(held)]
            key = ask.key if ask.mode // FLAGS == CONCURRENT else held_by(ask.key)
            self.run(Call("renew", (key,), (self.now, receipt, ask.cost, (1 + step.actual % 3) * 5 * SECOND)))

    def _reset(self, step: Step) -> None:
        if step.pick % 4 == 0:
            key = KEYS[step.which % 3]
            self.run(Call("reset", (key, held_by(key)), ()))
            self.given = [g for g in self.given if g.ask.key != key]
            self.admitted[key].clear()
            self.seen.pop(key, None)


def most(log: Sequence[Sequence[int]], span: int) -> int:
    """The most that was admitted in any window of any position, its end not included."""
    return max((sum(cost for at, cost in log if first <= at < first + span) for first, _ in log), default=0)
