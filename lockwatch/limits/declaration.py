"""What a developer declares (`RateLimit(...)`, `@lockwatch.limit(...)`) and the plan a route makes of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from inspect import isawaitable
from typing import Any, Final, TypeAlias

from lockwatch.errors import ConfigurationError
from lockwatch.keys import Key, Visit, by_ip, is_prefixed, subject_of
from lockwatch.limits.buckets import Buckets
from lockwatch.limits.decision import Decision
from lockwatch.limits.grammar import Limit, parse
from lockwatch.limits.policy import Charge, Policy, check_algorithm, check_on_store_error, identity, unique_names

Limits: TypeAlias = "str | Limit | Iterable[str | Limit]"
DynamicLimits: TypeAlias = "Callable[[Any], Limits | Awaitable[Limits]]"
UNMATCHED: Final = "<unmatched>"
"""The template of requests that match no route."""


def read_limits(value: Any) -> tuple[Limit, ...]:
    """The limits in a text, a `Limit`, or a sequence of either. Raises: ConfigurationError."""
    if isinstance(value, Limit):
        return (value,)
    if isinstance(value, str):
        return parse(value)
    if isinstance(value, Iterable):
        return tuple([limit for part in value for limit in read_limits(part)])
    raise ConfigurationError(f"limits={value!r} is not a text like '100/minute', a Limit, or a sequence of them")


class Declaration:
    """One declared limit, or several with one key. Compared by identity: two equal ones are two policies.

    Args:
        limits: grammar text, a `Limit`, a sequence of them, or a callable taking the request (sync or async).
        key: whom to count, a callable taking the request (sync or async).
        name: what the policies are called; their limit by default.
        algorithm: ``sliding-window``.
        cost: int >= 0 or a callable taking the request; 0 is a peek.
        methods: HTTP methods it applies to; all by default.
        exempt_when: a callable taking the request; true exempts it.
        shared: a bucket name that replaces route and method.
        shadow: decide and report, never refuse.
        on_store_error: ``allow``, ``deny`` or ``local`` when the store fails; None: as configured, else ``allow``.
        on_breach: called with the request and the decision that refused.

    Raises: ConfigurationError.
    """

    def __init__(
        self,
        limits: Limits | DynamicLimits,
        *,
        key: Key = by_ip,
        name: str | None = None,
        algorithm: str = "sliding-window",
        cost: int | Callable[[Any], Any] = 1,
        methods: Iterable[str] | None = None,
        exempt_when: Callable[[Any], Any] | None = None,
        shared: str | None = None,
        shadow: bool = False,
        on_store_error: str | None = None,
        on_breach: Callable[[Any, Decision], Any] | None = None,
    ) -> None:
        self.dynamic = limits if callable(limits) else None
        self.limits = () if callable(limits) else read_limits(limits)
        self.key, self.name, self.shared, self.shadow, self.cost = key, name, shared, shadow, cost
        self.exempt_when, self.on_breach = exempt_when, on_breach
        self.methods = (
            None if methods is None else frozenset(_method(m) for m in ([methods] if isinstance(methods, str) else methods))
        )
        self.algorithm = check_algorithm(algorithm, self.limits)
        self.on_store_error = None if on_store_error is None else check_on_store_error(on_store_error)
        self._check()

    def _check(self) -> None:
        for option in ("key", "exempt_when", "on_breach"):
            value = getattr(self, option)
            if not callable(value) and (value is not None or option == "key"):
                raise ConfigurationError(f"{option}={value!r} is not callable; it takes the request, e.g. key=by_ip")
        for option in ("name", "shared"):
            value = getattr(self, option)
            if value is not None:
                Limit(1, 1, name=value)
        if not callable(self.cost):
            self._check_cost(self.cost)

    def _check_cost(self, cost: object) -> None:
        if not isinstance(cost, int) or isinstance(cost, bool) or cost < 0:
            raise ConfigurationError(f"cost={cost!r} is not a whole number of at least 0")
        for limit in self.limits:
            if cost > limit.amount > 0:
                raise ConfigurationError(f"cost={cost} can never be admitted by {str(limit)!r}; raise the limit or lower the cost")

    def __repr__(self) -> str:
        limits = "; ".join(map(str, self.limits)) if self.dynamic is None else getattr(self.dynamic, "__qualname__", "callable")
        return f"{type(self).__name__}({limits!r}, key={getattr(self.key, '__qualname__', self.key)})"


@dataclass(frozen=True, slots=True)
class Step:
    """One declaration in a plan, and its policies; those of dynamic limits are made per request."""

    declaration: Declaration
    policies: tuple[Policy, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a route and method has declared, ready to be charged in one call.

    `fixed` holds every policy and its cost when nothing has to ask the request: fixed limits and costs, counted by address.
    `exempt` overrules every declaration.
    """

    steps: tuple[Step, ...]
    scope: str
    on_store_error: str
    fixed: tuple[tuple[Policy, int], ...] | None
    exempt: bool = False

    def settles(self, declaration: object) -> bool:
        """Whether deciding this plan decides `declaration`."""
        return self.exempt or any(step.declaration is declaration for step in self.steps)


@dataclass(frozen=True, slots=True)
class Asked:
    """What one declaration asks of one request."""

    declaration: Declaration
    subject: str
    cost: int
    limits: tuple[Limit, ...]


EXEMPT: Final = Plan((), "", "allow", (), exempt=True)


def make_plan(declarations: Sequence[Declaration], method: str, template: str, on_store_error: str | None = None) -> Plan:
    """Plan what `declarations` mean for one method of one route. HEAD counts as GET."""
    method = _method(method)
    scope = f"{method}:{template}"
    fallback = on_store_error or "allow"
    unique = list(dict.fromkeys(d for d in declarations if d.methods is None or method in d.methods))
    pairs = [(d, limit) for d in unique for limit in d.limits]
    # Unique where a bucket is shared or not, apart: a neighbour must not move a shared limit to a bucket of its own.
    buckets = unique_names([f"{d.shared or ''}:{identity(limit, d.name)}" for d, limit in pairs], mark="~")
    named = _named(
        [(d, _policy(d, limit, b.partition(":")[2], scope, fallback)) for (d, limit), b in zip(pairs, buckets, strict=True)]
    )
    steps = tuple([Step(d, tuple([p for owner, p in named if owner is d])) for d in unique])
    return Plan(steps, scope, fallback, _fixed(named) if all(map(_asks_nothing, unique)) else None)


def _policy(d: Declaration, limit: Limit, bucket: str, scope: str, on_store_error: str) -> Policy:
    bucket = f"{bucket}:{d.shared or scope}"
    return Policy(limit, _wish(d, limit), bucket, d.shadow, d.on_store_error or on_store_error, d.algorithm, d.on_breach)


def _wish(d: Declaration, limit: Limit) -> str:
    return limit.name or d.name or limit.slug


def _named(pairs: Sequence[tuple[Declaration, Policy]]) -> list[tuple[Declaration, Policy]]:
    """The policies under names unique on a response: later ones get ``-2``, ``-3``."""
    names = unique_names([_wish(d, policy.limit) for d, policy in pairs])
    return [(d, p if p.name == name else replace(p, name=name)) for (d, p), name in zip(pairs, names, strict=True)]


def _asks_nothing(d: Declaration) -> bool:
    return d.dynamic is None and d.key is by_ip and isinstance(d.cost, int) and d.exempt_when is None


def _fixed(named: Iterable[tuple[Declaration, Policy]]) -> tuple[tuple[Policy, int], ...]:
    return tuple([(p, d.cost) for d, p in named if isinstance(d.cost, int)])


def fixed_charges(fixed: Sequence[tuple[Policy, int]], subject: str, buckets: Buckets) -> tuple[Charge, ...]:
    """What to charge where nothing has to ask the request."""
    return tuple([Charge(policy, buckets.key(policy, subject), cost) for policy, cost in fixed])


def charges(plan: Plan, request: Any, visit: Visit, buckets: Buckets) -> Generator[Any, Any, tuple[Charge, ...]]:
    """What to charge for one request. A generator that yields only what has to be awaited, and is sent the result."""
    if plan.fixed is not None:
        return fixed_charges(plan.fixed, visit.client.subject, buckets)
    asked: list[Asked] = []
    for step in plan.steps:
        declared = step.declaration
        if declared.exempt_when is not None and (yield from _ask(declared.exempt_when, request)):
            continue
        value = yield from _ask(declared.key, visit if is_prefixed(declared.key) else request)
        cost = (yield from _ask(declared.cost, request)) if callable(declared.cost) else declared.cost
        limits = declared.limits
        if declared.dynamic is not None:
            limits = check_dynamic(declared, read_limits((yield from _ask(declared.dynamic, request))))
        asked.append(Asked(declared, subject_of(declared.key, value, visit.client), _whole(cost), limits))
    return _charged(plan, asked, buckets)


def _charged(plan: Plan, asked: Sequence[Asked], buckets: Buckets) -> tuple[Charge, ...]:
    by = {a.declaration: a for a in asked}
    found = [
        (step.declaration, policy)
        for position, step in enumerate(plan.steps)
        if step.declaration in by
        for policy in step.policies or _dynamic(plan, position, by[step.declaration])
    ]
    return tuple([Charge(p, buckets.key(p, by[d].subject), by[d].cost) for d, p in _named(found)])


def _dynamic(plan: Plan, position: int, asked: Asked) -> list[Policy]:
    """The policies of limits decided per request; their buckets are their own, whatever the rest of the plan does."""
    d = asked.declaration
    others = [step.declaration for step in plan.steps[:position]]
    before = sum(other.dynamic is not None and other.shared == d.shared for other in others)
    names = unique_names([f"{identity(limit, d.name)}~d{before}" for limit in asked.limits], mark="~")
    return [_policy(d, limit, name, plan.scope, plan.on_store_error) for limit, name in zip(asked.limits, names, strict=True)]


def check_dynamic(declared: Declaration, limits: tuple[Limit, ...]) -> tuple[Limit, ...]:
    """Limits a callable returned, if the algorithm can do them. Raises: ConfigurationError."""
    check_algorithm(declared.algorithm, limits)
    return limits


def _ask(function: Callable[..., Any], request: Any) -> Generator[Any, Any, Any]:
    value = function(request)
    return (yield value) if isawaitable(value) else value


def _whole(cost: object) -> int:
    if not isinstance(cost, int) or cost < 0:
        raise TypeError(f"a cost function returns a whole number of at least 0, not {cost!r}")
    return cost


def _method(method: str) -> str:
    method = method.upper()
    return "GET" if method == "HEAD" else method
