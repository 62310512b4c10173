"""Looking at buckets by subject: which ones it may fill, and what it has used of them. Pure, as all of `limits`.

No key is searched for in the store. A bucket's key follows from what the application declares and from the subject, so the keys
are computed, and asked for in batches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeVar

from lockwatch.flow import Flow
from lockwatch.limits import flows
from lockwatch.limits.buckets import Buckets
from lockwatch.limits.decision import Decision
from lockwatch.limits.declaration import Declaration
from lockwatch.limits.grammar import Limit
from lockwatch.limits.plan import Plan, possible
from lockwatch.limits.policy import Charge, Policy
from lockwatch.subjects import is_counted_by

T = TypeVar("T")
BATCH: Final = 64
"""Buckets in one call to the store."""


@dataclass(frozen=True, slots=True)
class Route:
    """A method of a route, as operators name it.

    Attributes:
        method: ``GET``; ``WEBSOCKET`` for one.
        template: its path template, with the mounts it was reached through.
        plan: what it declares.
        origins: where each declaration stands, as far as that is known.
        endpoint: its function; None where it has none.
    """

    method: str
    template: str
    plan: Plan
    origins: Mapping[Declaration, str]
    endpoint: Any = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:
        """``GET /items/{id}``."""
        return f"{self.method} {self.template}"


class Counted(NamedTuple):
    """A bucket one subject may fill.

    Attributes:
        route: a route that fills it.
        declaration: what was declared.
        tier: which tier it belongs to, empty when there are none.
        subject: whom it counts.
        charge: policy, key and what one request costs (1 where the request would have to be asked).
    """

    route: Route
    declaration: Declaration
    tier: str
    subject: str
    charge: Charge


@dataclass(frozen=True, slots=True)
class Usage:
    """What one subject has used of one policy. Times are seconds.

    Attributes:
        routes: the routes that fill the bucket.
        policy: its name.
        tier: the tier the limit belongs to, empty when there are none.
        subject: whom it counts.
        limit: quota and window.
        algorithm: how it is counted.
        used: how much of the quota counts now.
        remaining: how much is left.
        retry_after: until one more request would be admitted; 0 when it would be now, None when it never will be.
        reset_after: until the whole quota is free again.
        key: the bucket's key in the store.
    """

    routes: tuple[str, ...]
    policy: str
    tier: str
    subject: str = field(repr=False)
    limit: Limit
    algorithm: str
    used: int
    remaining: int
    retry_after: float | None
    reset_after: float
    key: str


def counted(routes: Iterable[Route], subjects: Sequence[str], buckets: Buckets) -> Iterator[Counted]:
    """Every bucket that one of `subjects` may fill on `routes`, as often as there are routes that fill it."""
    for route in routes:
        for step in (*route.plan.steps, *route.plan.later):
            for tier, policy in possible(route.plan, step):
                cost = step.declaration.cost if isinstance(step.declaration.cost, int) else 1
                for subject in subjects:
                    if counts(step.declaration, policy, subject):
                        yield Counted(route, step.declaration, tier, subject, Charge(policy, buckets.key(policy, subject), cost))


def counts(declaration: Declaration, policy: Policy, subject: str) -> bool:
    """Whether a policy of `declaration` can count `subject`."""
    return subject.startswith("ip:") if policy.by_address else is_counted_by(declaration.key, subject)


def usages(found: Iterable[Counted], split: bool) -> Flow[tuple[Usage, ...]]:
    """What was used of each bucket, routes that share one together. Raises: StoreError."""
    together: dict[tuple[str, Limit], list[Counted]] = {}
    for one in found:
        together.setdefault((one.charge.key, one.charge.policy.limit), []).append(one)
    decisions = yield from peeks([same[0].charge for same in together.values()], split)
    return tuple([usage(same, decision) for same, decision in zip(together.values(), decisions, strict=True)])


def peeks(charges: Sequence[Charge], split: bool) -> Flow[list[Decision]]:
    """What each charge would get now, in batches. Raises: StoreError."""
    seen: Counter[str] = Counter()
    rounds: dict[int, list[int]] = {}
    for place, charge in enumerate(charges):
        seen[charge.key] += 1  # two tiers of one bucket share its key, and a call holds a key once
        rounds.setdefault(seen[charge.key], []).append(place)
    decisions: dict[int, Decision] = {}
    for places in rounds.values():
        for batch in batches(places):
            peeked = yield from flows.peek([charges[place] for place in batch], flows.Terms("", split=split))
            decisions.update(zip(batch, peeked.decisions, strict=True))
    return [decisions[place] for place in range(len(charges))]


def forget(charges: Iterable[Charge], namespace: str, split: bool) -> Flow[int]:
    """Forget buckets and their open reservations, and tell every process; how many there were. Raises: StoreError."""
    gone = 0
    for batch in batches(list({charge.key: charge for charge in charges}.values())):
        gone += yield from flows.reset(batch, split)
    yield from flows.epoch(namespace, add=1)
    return gone


def batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Parts small enough for one call."""
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))


def usage(same: Sequence[Counted], decision: Decision) -> Usage:
    """What a decision says about the bucket of `same`."""
    one = same[0]
    policy = one.charge.policy
    return Usage(
        tuple(dict.fromkeys(each.route.name for each in same)),
        policy.name,
        one.tier,
        one.subject,
        policy.limit,
        policy.algorithm,
        capacity(policy.limit) - decision.remaining,
        decision.remaining,
        decision.retry_after,
        decision.reset_after,
        one.charge.key,
    )


def capacity(limit: Limit) -> int:
    """How much of a limit can be left at most."""
    return limit.amount if limit.burst is None else limit.burst
