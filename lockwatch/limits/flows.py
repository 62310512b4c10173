"""The flows of rate limiting: admit, settle, peek, reset. Pure: they yield calls and return what was decided.

Scripts take ``(now, then mode, quota, span, burst, cost per charge)`` and answer six numbers per charge:
``(verdict, remaining, retry_after, reset_after, next_after, receipt)``, times in microseconds. A `now` of 0 means the store's
own clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from lockwatch.errors import StoreError, StoreFull
from lockwatch.flow import Call, Flow, Reply
from lockwatch.limits.buckets import SCHEMA
from lockwatch.limits.decision import Decision
from lockwatch.limits.policy import HELD, LEASE, LOOSE, PENALTY, SHADOW, Charge, Policy, Receipt, numbers_of, share_of

NEVER: Final = -1
FIRM: Final = 0
_EPOCH_LIFETIME_MS: Final = 86_400_000
RETRY_WHEN_DENIED: Final = 1.0
"""Seconds a client is told to wait when the store is down and the policy says deny."""
_SECOND: Final = 1e-6
_EACH: Final = 6
"""Numbers of a reply for each charge."""
_new: Final[Any] = tuple.__new__
"""Makes a named tuple without the call of a function that only sorts arguments."""


class Outcome(NamedTuple):
    """What was decided about one request.

    Attributes:
        charges: what was asked, in the order it was declared; on a refusal perhaps not all.
        decisions: one for each of `charges`.
        receipts: what can be given back or settled.
    """

    charges: Sequence[Charge]
    decisions: tuple[Decision, ...]
    receipts: tuple[Receipt, ...] = ()


class Terms(NamedTuple):
    """How a request is decided.

    Attributes:
        id: recorded in every decision.
        workers: how many processes share the quota when the store is down (policy `local`).
        observe: report refusals, enforce none.
        loose: everything charged may have to be given back.
        split: the store takes the buckets of one subject at a time (Redis Cluster).
    """

    id: str
    workers: int = 1
    observe: bool = False
    loose: bool = False
    split: bool = False

    @property
    def flags(self) -> int:
        """What is added to every charge's own flags."""
        return (SHADOW if self.observe else 0) | (LOOSE if self.loose else 0)


PLAIN: Final = Terms("")
"""Terms that add nothing."""


def admit(charges: Sequence[Charge], terms: Terms) -> Flow[Outcome]:
    """Charge every bucket, or none when one of them refuses. One store call, one per subject where the store is split."""
    try:
        if terms.split and len(charges) > 1:
            return (yield from _admit_apart(charges, terms))
        reply = yield call("admit", charges, terms)
    except StoreError as error:
        return (yield from without_store(charges, terms, isinstance(error, StoreFull)))
    return outcome(charges, reply, terms)


def peek(charges: Sequence[Charge], terms: Terms) -> Flow[Outcome]:
    """Say what `admit` would decide now, and change nothing. Raises: StoreError."""
    decisions: dict[str, Decision] = {}
    for group in _groups(charges) if terms.split else [charges]:
        reply = yield call("peek", group, terms)
        decisions.update(zip([c.key for c in group], outcome(group, reply, terms).decisions, strict=True))
    return Outcome(charges, tuple([decisions[c.key] for c in charges]))


def reset(charges: Sequence[Charge], split: bool = False) -> Flow[int]:
    """Forget what was charged; returns how many buckets there were. Raises: StoreError."""
    found = 0
    for group in _groups(charges) if split else [charges]:
        reply = yield Call("reset", _keys(group), ())
        found += reply[0]
    return found


def settlements(items: Iterable[tuple[Receipt, int]], split: bool = False) -> list[Call]:
    """The calls that set what was charged to what it really was: 0 gives it back, more is charged whatever the quota.

    A settlement that comes after the window rolled over changes nothing, and so does one made twice.
    """
    listed = list(items)
    calls: list[Call] = []
    for local in (False, True):
        meant = [item for item in listed if item[0].local is local]
        calls += [_settlement(group, local) for group in (_by_tag(meant) if split and not local else [meant]) if group]
    return calls


def settle(items: Iterable[tuple[Receipt, int]], split: bool = False) -> Flow[None]:
    """Make `settlements`, one after the other. Raises: StoreError."""
    for settlement in settlements(items, split):  # noqa: UP028  # replies are sent in, which a list cannot take
        yield settlement


def renew(receipts: Sequence[Receipt], split: bool = False) -> Flow[None]:
    """Keep reservations and requests in flight from lapsing for another lease. Raises: StoreError."""
    for local in (False, True):
        meant = [(r, 0) for r in receipts if r.local is local and (r.mode & HELD or r.charge.policy.algorithm == "concurrent")]
        for group in _by_tag(meant) if split and not local else [meant]:
            if group:
                keys = tuple([_keys([r.charge])[-1] for r, _ in group])
                numbers = [n for r, _ in group for n in (r.number, r.charge.cost, LEASE)]
                yield Call("renew", keys, (0, *numbers), local)


def epoch(namespace: str, add: int = 0) -> Flow[int]:
    """How often buckets of a namespace were reset; `add` one more. Raises: StoreError."""
    reply = yield Call("epoch", (f"{namespace}:{SCHEMA}:epoch",), (add, _EPOCH_LIFETIME_MS))
    return reply[0]


def untouched(charge: Charge) -> Decision:
    """The decision of a policy that is switched off."""
    policy, _, cost = charge
    return Decision(True, policy.name, policy.limit, policy.limit.amount, 0.0, 0.0, cost, policy.shadow, False, "", 0.0)


def call(script: str, charges: Sequence[Charge], terms: Terms, workers: int = 0) -> Call:
    """The call that asks about `charges`; with `workers` in this process's memory, each quota divided by that."""
    flags = terms.flags
    numbers = [0]
    for policy, _, cost in charges:
        numbers += (policy.mode | flags, *_numbers(policy, workers), cost)
    return Call(script, _keys(charges), tuple(numbers), workers > 0)


def _numbers(policy: Policy, workers: int) -> tuple[int, int, int]:
    return numbers_of(policy.limit, policy.algorithm, share_of(policy.limit, workers)) if workers else policy.numbers


def _keys(charges: Iterable[Charge]) -> tuple[str, ...]:
    keys: list[str] = []
    for policy, key, _ in charges:
        keys.append(key)
        if policy.held:
            keys.append(f"{key}:open")
    return tuple(keys)


def _settlement(items: Sequence[tuple[Receipt, int]], local: bool) -> Call:
    numbers = [0]
    for receipt, actual in items:
        numbers += (receipt.mode, *receipt.numbers, receipt.number, receipt.charged, actual)
    return Call("settle", _keys([receipt.charge for receipt, _ in items]), tuple(numbers), local)


def outcome(charges: Sequence[Charge], reply: Reply, terms: Terms, workers: int = 0) -> Outcome:
    """What a reply to `call` says about `charges`."""
    if len(reply) == _EACH and not reply[-1]:  # what most requests are: one charge that leaves nothing behind
        return Outcome(charges, (_decision(charges[0], reply, terms, workers > 0),))
    numbers = iter(reply)  # six for each charge
    decisions: list[Decision] = []
    receipts: tuple[Receipt, ...] = ()
    for charge, verdict, remaining, retry, reset_after, next_after, number in zip(
        charges, numbers, numbers, numbers, numbers, numbers, numbers, strict=True
    ):
        policy, _, cost = charge
        if number:
            receipts += (Receipt(charge, number, policy.mode | terms.flags, _numbers(policy, workers), workers > 0, cost),)
        said = (verdict, remaining, retry, reset_after, next_after, number)
        decisions.append(_decision(charge, said, terms, workers > 0))
    return Outcome(charges, tuple(decisions), receipts)


def _decision(charge: Charge, said: Sequence[int], terms: Terms, local: bool) -> Decision:
    policy, _, cost = charge
    verdict, remaining, retry, reset_after, next_after, _ = said
    made: Decision = _new(
        Decision,
        (
            verdict == 1,
            policy.name,
            policy.limit,
            remaining,
            retry and (None if retry == NEVER else retry * _SECOND),
            reset_after * _SECOND,
            cost,
            policy.shadow or terms.observe,
            local,
            terms.id,
            next_after * _SECOND,
            verdict == FIRM,
        ),
    )
    return made


def _admit_apart(charges: Sequence[Charge], terms: Terms) -> Flow[Outcome]:
    """One call per subject. What was charged before a refusal, or before the store failed, is given back."""
    done: list[Outcome] = []
    groups = _groups(charges)
    for position, group in enumerate(groups):
        own = terms if position == len(groups) - 1 else terms._replace(loose=True)
        try:
            done.append(outcome(group, (yield call("admit", group, own)), own))
        except StoreError:
            yield from _give_back(done)
            raise
        if any(decision.refuses for decision in done[-1].decisions):
            yield from _give_back(done[:-1])
            yield from _penalise(groups, group, terms)
            return _joined(charges, done)._replace(receipts=())
    return _joined(charges, done)


def _give_back(done: Sequence[Outcome]) -> Flow[None]:
    try:
        yield from settle([(receipt, 0) for one in done for receipt in one.receipts], split=True)
    except StoreError:
        pass  # it stays charged: too little is admitted, never too much


def _penalise(groups: Sequence[Sequence[Charge]], refusing: Sequence[Charge], terms: Terms) -> Flow[None]:
    """Charge the penalties that no call has charged, because another subject's bucket refused."""
    for group in groups:
        meant = [c for c in group if c.policy.mode & PENALTY] if group is not refusing else []
        if meant:
            asked = call("admit", meant, terms)
            freed = [n & ~PENALTY if i % 5 == 1 else n for i, n in enumerate(asked.args)]
            try:
                yield asked._replace(args=tuple(freed))
            except StoreError:
                return


def _joined(charges: Sequence[Charge], done: Sequence[Outcome]) -> Outcome:
    """The outcomes of several calls as one, in the order of `charges`."""
    found = {c.key: d for one in done for c, d in zip(one.charges, one.decisions, strict=True)}
    asked = [c for c in charges if c.key in found]
    return Outcome(asked, tuple([found[c.key] for c in asked]), tuple([r for o in done for r in o.receipts]))


def _groups(charges: Sequence[Charge]) -> list[list[Charge]]:
    """Charges by subject, the most shared last: what the application declares is outermost and comes first in a plan."""
    return [[charge for charge, _ in group] for group in reversed(_by_tag([(charge, 0) for charge in charges]))]


def _by_tag(items: Sequence[tuple[Charge | Receipt, int]]) -> list[list[tuple[Any, int]]]:
    """Items whose keys share a slot, together: all that stand under one subject."""
    groups: dict[str, list[tuple[Any, int]]] = {}
    for item in items:
        charge = item[0].charge if isinstance(item[0], Receipt) else item[0]
        groups.setdefault(_tag(charge.key), []).append(item)
    return list(groups.values())


def _tag(key: str) -> str:
    return key[key.find("{") + 1 : key.find("}")]


def without_store(charges: Sequence[Charge], terms: Terms, full: bool) -> Flow[Outcome]:
    """The store is down: each policy says itself what that means. A store that is only full is no reason to allow everything."""
    kept = [c for c in charges if c.policy.on_store_error == "local" or (full and c.policy.on_store_error == "allow")]
    denied = any(c.policy.on_store_error == "deny" and not c.policy.shadow for c in charges) and not terms.observe
    local = Outcome((), ())
    if kept and not denied:
        workers = max(1, terms.workers)
        local = outcome(kept, (yield call("admit", kept, terms, workers)), terms, workers)
    found = {c.key: d for c, d in zip(local.charges, local.decisions, strict=True)}
    return Outcome(charges, tuple([found.get(c.key) or _undecided(c, terms) for c in charges]), local.receipts)


def _undecided(charge: Charge, terms: Terms) -> Decision:
    policy, _, cost = charge
    allowed = policy.on_store_error != "deny"
    retry = 0.0 if allowed else RETRY_WHEN_DENIED
    shadow = policy.shadow or terms.observe
    return Decision(allowed, policy.name, policy.limit, 0, retry, 0.0, cost, shadow, True, terms.id, 0.0)
