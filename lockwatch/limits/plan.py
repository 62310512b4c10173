"""The plan of a route: what its declarations mean for one method, and what one request is charged for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from inspect import isawaitable
from typing import Any, Final, NamedTuple

from lockwatch.flow import Call
from lockwatch.keys import BodyKey, Visit, by_api_key, by_ip, is_prefixed, subject_of
from lockwatch.limits import flows
from lockwatch.limits.buckets import MAX_REMEMBERED, Buckets
from lockwatch.limits.declaration import EVERYONE, Declaration, method_of, read_limits
from lockwatch.limits.grammar import MAX_AMOUNT, Limit
from lockwatch.limits.policy import Charge, Policy, algorithm_for, identity, unique_names

_PREPARED: Final = 4096
UNMATCHED: Final = "<unmatched>"
"""The template of requests that match no route."""
_ADDRESS_FACTOR: Final = 10
"""How much more than an unverified API key its address may use."""


@dataclass(frozen=True, slots=True)
class Step:
    """One declaration in a plan, and its policies; those of limits decided per request are made then."""

    declaration: Declaration
    policies: tuple[Policy, ...]


class Prepared(NamedTuple):
    """Everything a plan charges one subject, and the call that does."""

    charges: tuple[Charge, ...]
    call: Call
    buckets: Buckets


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a route and method has declared, ready to be charged.

    Attributes:
        steps: decided before the body is read.
        later: decided with the body; when they refuse, what `steps` charged is given back.
        prepared: what `fixed` means for the subjects seen last, at most 4,096 of them.
        scope: method and route template.
        on_store_error: what the configuration says, None when it leaves it to each policy.
        fixed: every policy and its cost when nothing has to ask the request: fixed limits and costs, counted by address.
        exempt: overrules every declaration of a limit.
        access: the tokens the route requires, with what it demands of them.
        plain: nothing but the store has to be asked, and nobody is told: all of it is `fixed`.
    """

    steps: tuple[Step, ...]
    scope: str
    on_store_error: str | None
    fixed: tuple[tuple[Policy, int], ...] | None
    exempt: bool = False
    access: tuple[Any, ...] = ()
    later: tuple[Step, ...] = ()
    prepared: dict[str, Prepared] = field(default_factory=dict, repr=False, compare=False)
    plain: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        asks = self.fixed is None or self.access or self.later or self.exempt
        object.__setattr__(self, "plain", not asks and not any(policy.on_breach for policy, _ in self.fixed or ()))

    def prepare(self, subject: str, buckets: Buckets) -> Prepared:
        """What `fixed` charges `subject`. Raises: TypeError, when something has to ask the request."""
        found = self.prepared.get(subject)
        if found is None or found.buckets is not buckets:
            charged = tuple([Charge(policy, buckets.key(policy, subject), cost) for policy, cost in self.fixed or ()])
            found = Prepared(charged, flows.call("admit", charged, flows.PLAIN), buckets)
            if len(self.prepared) >= _PREPARED:
                self.prepared.clear()
            if len(subject) <= MAX_REMEMBERED:
                self.prepared[subject] = found
        return found

    def settles(self, declaration: object) -> bool:
        """Whether deciding this plan decides `declaration`, without a word from its dependency."""
        if self.exempt or any(step.declaration is declaration for step in self.steps):
            return True
        return bool(self.later) and any(s.declaration is declaration and isinstance(s.declaration.key, BodyKey) for s in self.later)

    @property
    def has_costs(self) -> bool:
        """Whether `settle` changes anything."""
        return any(step.declaration.settles for step in (*self.steps, *self.later))

    @property
    def reads(self) -> int:
        """How many bytes of the body its keys want at most; 0 when none does."""
        keys = [step.declaration.key for step in self.later]
        return max([key.max_bytes for key in keys if isinstance(key, BodyKey)], default=0)


EXEMPT: Final = Plan((), "", None, (), exempt=True)


class Asked(NamedTuple):
    """What one declaration asks of one request."""

    step: Step
    subject: str
    cost: int
    limits: tuple[Limit, ...]


def make_plan(declarations: Sequence[Declaration], method: str, template: str, on_store_error: str | None = None) -> Plan:
    """Plan what `declarations` mean for one method of one route. HEAD counts as GET."""
    method = method_of(method)
    scope = f"{method}:{template}"
    unique = list(dict.fromkeys(d for d in declarations if d.methods is None or method in d.methods))
    pairs = [(d, limit) for d in unique for limit in d.limits]
    # Unique where a bucket is shared or not, apart: a neighbour must not move a shared limit to a bucket of its own.
    buckets = unique_names([f"{d.shared or ''}:{identity(limit, d.name)}" for d, limit in pairs], mark="~")
    named = _named(
        [
            (d, policy)
            for (d, limit), bucket in zip(pairs, buckets, strict=True)
            for policy in _policies(d, limit, bucket.partition(":")[2], scope, on_store_error)
        ]
    )
    steps = [Step(d, tuple([p for owner, p in named if owner is d])) for d in unique]
    first = tuple([s for s in steps if not s.declaration.late])
    later = tuple([s for s in steps if s.declaration.late])
    fixed = tuple([(p, d.cost) for d, p in named if isinstance(d.cost, int)]) if all(map(_asks_nothing, unique)) else None
    return Plan(first, scope, on_store_error, fixed, later=later)


def _policies(d: Declaration, limit: Limit, bucket: str, scope: str, on_store_error: str | None) -> Iterable[Policy]:
    """The policy of a limit; for unverified API keys also that of the address, which no made-up key escapes."""
    policy = Policy(
        limit,
        _wish(d, limit),
        f"{bucket}:{d.shared or scope}",
        d.shadow,
        d.on_store_error or on_store_error or ("allow" if d.counts is None else "local"),
        algorithm_for(limit, d.algorithm),
        d.on_breach,
        d.counts,
        d.role,
        d.settles,
    )
    yield policy
    if d.key is by_api_key:
        wide = replace(limit, amount=min(limit.amount * _ADDRESS_FACTOR, MAX_AMOUNT))
        bucket = f"{bucket}~address:{d.shared or scope}"
        yield replace(policy, limit=wide, name=_wish(d, wide, by_address=True), bucket=bucket, by_address=True)


def _wish(d: Declaration, limit: Limit, by_address: bool = False) -> str:
    name = limit.name or d.name or limit.slug
    return f"{name}-by-address" if by_address else name


def _named(pairs: Sequence[tuple[Declaration, Policy]], taken: Collection[str] = ()) -> list[tuple[Declaration, Policy]]:
    """The policies under names unique on a response: later ones get ``-2``, ``-3``."""
    names = unique_names([*taken, *(_wish(d, p.limit, p.by_address) for d, p in pairs)])[len(taken) :]
    return [(d, p if p.name == name else replace(p, name=name)) for (d, p), name in zip(pairs, names, strict=True)]


def _asks_nothing(d: Declaration) -> bool:
    decided = d.dynamic is None and not d.tiers and isinstance(d.cost, int)
    return decided and d.key is by_ip and d.exempt_when is None


def charges(plan: Plan, request: Any, visit: Visit, buckets: Buckets) -> Generator[Any, Any, tuple[Charge, ...]]:
    """What to charge before the body is read. A generator that yields only what has to be awaited, and is sent the result."""
    if plan.fixed is not None:
        return plan.prepare(visit.client.subject, buckets).charges
    return (yield from charges_of(plan, plan.steps, request, visit, buckets))


def charges_of(
    plan: Plan,
    steps: Sequence[Step],
    request: Any,
    visit: Visit,
    buckets: Buckets,
    subject: Callable[[Declaration], str] | None = None,
    taken: Collection[str] = (),
) -> Generator[Any, Any, tuple[Charge, ...]]:
    """What to charge for some steps of a plan.

    Args:
        subject: whom to count, where that is known without asking the key.
        taken: names that are on the response already.
    """
    asked: list[Asked] = []
    for step in steps:
        declared = step.declaration
        if declared.exempt_when is not None and (yield from _ask(declared.exempt_when, request)):
            continue
        if subject is None:
            value = yield from _ask(declared.key, visit if is_prefixed(declared.key) else request)
            whom = subject_of(declared.key, value, visit.client)
        else:
            whom = subject(declared)
        cost = (yield from _ask(declared.cost, request)) if callable(declared.cost) else declared.cost
        limits = yield from _limits(declared, request, visit)
        asked.append(Asked(step, whom, _whole(cost), limits))
    return _charged(plan, asked, visit, buckets, taken)


def _limits(d: Declaration, request: Any, visit: Visit) -> Generator[Any, Any, tuple[Limit, ...]]:
    if d.tier is not None:
        tier = (yield from _ask(d.tier, request)) if callable(d.tier) else (visit.claims or {}).get(d.tier)
        return d.tiers.get(tier if isinstance(tier, str) else EVERYONE, d.tiers[EVERYONE])
    if d.dynamic is None:
        return d.limits
    limits = read_limits((yield from _ask(d.dynamic, request)))
    for limit in limits:
        algorithm_for(limit, d.algorithm)
    return limits


def _charged(plan: Plan, asked: Sequence[Asked], visit: Visit, buckets: Buckets, taken: Collection[str]) -> tuple[Charge, ...]:
    by = {a.step.declaration: a for a in asked}
    found = [(a.step.declaration, policy) for a in asked for policy in a.step.policies or _dynamic(plan, a)]
    client = visit.client.subject
    return tuple(
        [
            Charge(p, buckets.key(p, client if p.by_address else by[d].subject), by[d].cost)
            for d, p in _named(found, taken)
            if not p.by_address or by[d].subject != client
        ]
    )


def _dynamic(plan: Plan, asked: Asked) -> list[Policy]:
    """The policies of limits decided per request; their buckets are their own, whatever the rest of the plan does. One that is
    shared is that of fixed limits of the same window, unless these are in the plan, too.
    """
    d = asked.step.declaration
    steps = [*plan.steps, *plan.later]
    others = [step.declaration for step in steps[: steps.index(asked.step)]]
    before = sum(not other.limits and other.shared == d.shared for other in others)
    mark = f"~d{before}" if before or d.shared is None or any(_fixed_beside(d, step.declaration) for step in steps) else ""
    names = unique_names([f"{identity(limit, d.name)}{mark}" for limit in asked.limits], mark="~")
    return [
        policy
        for limit, name in zip(asked.limits, names, strict=True)
        for policy in _policies(d, limit, name, plan.scope, plan.on_store_error)
    ]


def _fixed_beside(d: Declaration, other: Declaration) -> bool:
    return bool(other.limits) and other.shared == d.shared


def possible(plan: Plan, step: Step) -> list[tuple[str, Policy]]:
    """Every policy `step` may charge, with the tier that has it, as far as they are known without a request."""
    fixed = [("", policy) for policy in step.policies]
    tiers = step.declaration.tiers.items()
    return fixed + [(tier, policy) for tier, limits in tiers for policy in _dynamic(plan, Asked(step, "", 0, limits))]


def _ask(function: Callable[..., Any], request: Any) -> Generator[Any, Any, Any]:
    value = function(request)
    return (yield value) if isawaitable(value) else value


def _whole(cost: object) -> int:
    if not isinstance(cost, int) or isinstance(cost, bool) or cost < 0:
        raise TypeError(f"a cost function returns a whole number of at least 0, not {cost!r}")
    return cost
