"""The store in this process's memory: every script of `lua/` as a method under the same name.

Exact where its algorithms are, thread-safe and bounded. A full table never forgets a bucket that still counts: see `table`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from lockwatch.flow import Call, Reply
from lockwatch.stores.acquaintance import Acquaintance
from lockwatch.stores.bans import Banned
from lockwatch.stores.buckets import KINDS, MOST, Bucket, SortedSet, Verdict
from lockwatch.stores.buckets.leases import Leases
from lockwatch.stores.bursts import Bursts
from lockwatch.stores.charges import FLAGS, HELD, LOOK, LOOSE, PENALTY, SHADOW, Charge, read_charges
from lockwatch.stores.registry import Registry
from lockwatch.stores.reservations import Reservation, Reservations
from lockwatch.stores.sessions import LIVE, Sessions
from lockwatch.stores.table import Table
from lockwatch.stores.watch import Watch


def monotonic_us() -> int:
    """Microseconds of a clock that never steps back."""
    return time.monotonic_ns() // 1000


class MemoryStore:
    """Buckets of one process.

    Args:
        max_buckets: how many buckets are kept apart.
        clock: microseconds; monotonic.
    """

    def __init__(self, max_buckets: int = 200_000, clock: Callable[[], int] = monotonic_us) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: Table[Bucket] = Table(max_buckets)
        self._held: Table[Reservations] = Table(max_buckets)
        self._own = self._buckets.own
        self._registry = Registry()
        self.sessions = Sessions(clock)
        self.bursts = Bursts(clock)
        guards = (self.bursts, Banned(clock), Acquaintance(clock), Watch(clock))
        self._guards = {name: script for guard in guards for name, script in guard.scripts.items()}
        self._scripts = {
            "admit": self._admit,
            "peek": self._peek,
            "settle": self._settle,
            "renew": self._renew,
            "entries": self._entries,
            "reset": self._reset,
            "secret": self._secret,
            "workers": self._workers,
            "epoch": self._epoch,
        }

    def __len__(self) -> int:
        return len(self._buckets)

    @property
    def overflowed(self) -> int:
        """How many calls found no room for a bucket of their own."""
        return self._buckets.overflowed

    def call(self, call: Call) -> Reply:
        """Run one script. Atomic over all threads."""
        with self._lock:
            script = self._scripts.get(call.script)
            if script is not None:
                return script(call.keys, call.args)
            guard = self._guards.get(call.script)
            if guard is not None:
                return guard(call)
            return self._enter(call) if call.script == "enter" else self.sessions.call(call)

    def _admit(self, keys: tuple[str, ...], args: tuple[int, ...]) -> Reply:
        if len(args) == 6 and args[1] & FLAGS <= SHADOW:
            bucket = self._own.get(keys[0])
            if bucket is not None:
                return bucket.take(args[0] or self._clock(), args[2], args[3], args[4], args[5])
            return self._admit_new(keys[0], *args)
        return self._decide(keys, args, True)

    def _enter(self, call: Call) -> Reply:
        now, own, *charges = call.args
        told = self.sessions.call(Call("standing", call.keys[:own], (now,), words=call.words))
        return (*told, *self._admit(call.keys[own:], (now, *charges))) if told[0] == LIVE else told

    def _admit_new(self, key: str, now: int, mode: int, quota: int, span: int, burst: int, cost: int) -> Reply:
        charge = Charge(key, None, mode >> 5, mode, quota, span, burst, cost, 0)
        now = now or self._clock()
        bucket = self._buckets.shared_by(key, charge, now)
        if bucket is not None:
            return bucket.take(now, quota, span, burst, cost)
        bucket = KINDS[mode >> 5]()
        verdict = bucket.judge(now, quota, span, burst, cost)
        if verdict[0] == 1 and cost:
            verdict = bucket.charge(now, quota, span, burst, cost, False)
            self._buckets.keep(key, charge, bucket, now)
        return verdict

    def _peek(self, keys: tuple[str, ...], args: tuple[int, ...]) -> Reply:
        return self._decide(keys, args, False)

    def _decide(self, keys: tuple[str, ...], args: tuple[int, ...], write: bool) -> Reply:
        now = args[0] or self._clock()
        charges = read_charges(keys, args, 5)
        verdicts, refused, penalised = [], False, False
        for charge in charges:
            verdict = self._judge(charge, now)
            verdicts.append(verdict)
            if verdict[0] != 1 and not charge.flags & SHADOW:
                refused, penalised = refused or not charge.flags & PENALTY, penalised or charge.flags & PENALTY > 0
        if write and (refused or not penalised):
            due = PENALTY if refused else 0
            for i, charge in enumerate(charges):
                if charge.flags & (PENALTY | LOOK) == due and verdicts[i][0] == 1 and charge.first:
                    verdicts[i] = self._charge(charge, now)
        return [number for verdict in verdicts for number in verdict]

    def _bucket(self, charge: Charge, now: int) -> Bucket | None:
        return self._own.get(charge.key) or self._buckets.shared_by(charge.key, charge, now)

    def _judge(self, charge: Charge, now: int) -> Verdict:
        if charge.held is not None:
            self._give_back(charge, charge.held, now)
        bucket = self._bucket(charge, now) or KINDS[charge.kind]()
        return bucket.judge(now, charge.quota, charge.span, charge.burst, charge.first)

    def _charge(self, charge: Charge, now: int) -> Verdict:
        verdict = self._take(charge, now, charge.first, charge.flags & (LOOSE | HELD) > 0)
        if charge.held is not None:
            reservations = self._held.find(charge.held, charge, now)
            if reservations is None:
                reservations = Reservations()
                self._held.keep(charge.held, charge, reservations, now)
            reservations.add(Reservation(charge.held, verdict[5], charge.first), now, charge.span)
        return verdict

    def _take(self, charge: Charge, now: int, cost: int, loose: bool) -> Verdict:
        """Charge `cost`, whatever is left."""
        bucket = self._bucket(charge, now)
        known = bucket or KINDS[charge.kind]()
        verdict = known.charge(now, charge.quota, charge.span, charge.burst, cost, loose)
        if bucket is None:
            self._buckets.keep(charge.key, charge, known, now)
        return verdict

    def _change(self, charge: Charge, now: int, receipt: int, charged: int, actual: int) -> int:
        """Make a charge count `actual`."""
        bucket, held = self._bucket(charge, now), charge.held is not None
        if bucket is None:
            return 0
        change = bucket.settle(now, charge.quota, charge.span, charge.burst, receipt, charged, actual, held)
        if bucket.empty:
            self._buckets.drop(charge.key, charge)
        return change

    def _give_back(self, charge: Charge, held: str, now: int) -> None:
        """Give back the reservations whose lease has lapsed."""
        reservations = self._held.find(held, charge, now)
        if reservations is None:
            return
        for reservation in reservations.lapsed(held, now):
            self._change(charge, now, reservation.receipt, reservation.cost, 0)
            reservations.lapse(reservation, now, charge.span)

    def _settle(self, keys: tuple[str, ...], args: tuple[int, ...]) -> Reply:
        now = args[0] or self._clock()
        return [self._settle_one(c, now, c.first, *args[c.at + 1 : c.at + 3]) for c in read_charges(keys, args, 7)]

    def _settle_one(self, charge: Charge, now: int, receipt: int, charged: int, actual: int) -> int:
        state = self._close(charge, charge.held, now, charged) if charge.held is not None else "open"
        actual = min(actual, MOST)
        if not receipt or not state:
            return 0
        if state == "open":
            return self._change(charge, now, receipt, charged, actual) if actual != charged else 0
        if not actual or receipt + charge.span <= now:
            return 0
        self._take(charge, now, actual, False)
        return actual

    def _close(self, charge: Charge, held: str, now: int, charged: int) -> str:
        reservations = self._held.find(held, charge, now)
        if reservations is None:
            return ""
        state = reservations.close(Reservation(held, charge.first, charged))
        if reservations.empty:
            self._held.drop(held, charge)
        return state

    def _renew(self, keys: tuple[str, ...], args: tuple[int, ...]) -> Reply:
        now = args[0] or self._clock()
        return [self._renew_one(key, now, *args[i * 3 + 1 : i * 3 + 4]) for i, key in enumerate(keys)]

    def _renew_one(self, key: str, now: int, receipt: int, cost: int, lease: int) -> int:
        leases = [bucket for bucket in self._buckets.any_of(key) if isinstance(bucket, Leases)]
        found = [known.renew(now, receipt, now + lease) for known in leases]
        reservation = Reservation(key, receipt, cost)
        found += [known.renew(reservation, now, now + lease) for known in self._held.any_of(key)]
        return int(any(found))

    def _entries(self, keys: tuple[str, ...], args: tuple[int, ...]) -> Reply:
        now, span, most = args
        bucket = self._own.get(keys[0])
        return bucket.entries(now or self._clock(), span, most) if isinstance(bucket, SortedSet) else ()

    def _reset(self, keys: tuple[str, ...], args: tuple[int, ...]) -> Reply:
        # A shared bucket stays: emptying it would admit subjects nobody meant.
        return [sum((self._own.pop(key, None) or self._held.own.pop(key, None)) is not None for key in keys)]

    def _secret(self, keys: tuple[str, ...], args: tuple[int, ...]) -> Reply:
        return self._registry.secret(keys[0], args[1:])

    def _workers(self, keys: tuple[str, ...], args: tuple[int, ...]) -> Reply:
        return [self._registry.workers(keys[0], args[0] or self._clock(), args[1], args[2])]

    def _epoch(self, keys: tuple[str, ...], args: tuple[int, ...]) -> Reply:
        return [self._registry.epoch(keys[0], args[0])]
