"""What a developer declares: `RateLimit(...)`, `@lockwatch.limit(...)`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias, TypedDict

from lockwatch.errors import ConfigurationError
from lockwatch.keys import Key, by_claim, by_form, by_ip, by_json, is_late
from lockwatch.limits.decision import Decision
from lockwatch.limits.grammar import Limit, parse
from lockwatch.limits.policy import Counts, Role, algorithm_for, check_on_store_error, is_failure

Limits: TypeAlias = "str | Limit | Iterable[str | Limit]"
DynamicLimits: TypeAlias = "Callable[[Any], Limits | Awaitable[Limits]]"
TieredLimits: TypeAlias = "Mapping[str, Limits]"
EVERYONE: Final = "*"
"""The tier of those who have none, or one that is not listed."""

_NAMED: Final = {"by_claim": "plan", "by_json": "email", "by_form": "username"}


class Options(TypedDict, total=False):
    """What a `Declaration` takes besides its limits: for editors and type checkers, which see it behind ``**options``."""

    key: Key | Any
    name: str | None
    algorithm: str
    cost: int | Callable[[Any], Any]
    count: str | Counts
    methods: Iterable[str] | None
    exempt_when: Callable[[Any], Any] | None
    shared: str | None
    shadow: bool
    on_store_error: str | None
    tier: str | Callable[[Any], Any] | None
    on_breach: Callable[[Any, Decision], Any] | None


def read_limits(value: Any) -> tuple[Limit, ...]:
    """The limits in a text, a `Limit`, or a sequence of either. Raises: ConfigurationError."""
    if isinstance(value, Limit):
        return (value,)
    if isinstance(value, str):
        return parse(value)
    if isinstance(value, Iterable) and not isinstance(value, Mapping):
        return tuple([limit for part in value for limit in read_limits(part)])
    raise ConfigurationError(f"limits={value!r} is not a text like '100/minute', a Limit, or a sequence of them")


class Declaration:
    """One declared limit, or several with one key. Compared by identity: two equal ones are two policies.

    Args:
        limits: grammar text, a `Limit`, a sequence of them, a callable taking the request (sync or async), or with `tier` a mapping
            from tier to any of the first three.
        key: whom to count, a callable taking the request (sync or async), or a FastAPI dependency given as ``Depends(...)``.
        name: what the policies are called; their limit by default.
        algorithm: ``sliding-window``, ``sorted-set``, ``sliding-counter``, ``gcra`` or ``fixed-window``. A burst selects gcra.
        cost: int >= 0 or a callable taking the request; 0 is a peek.
        count: ``all``; ``failures`` (taken at entry, given back when the status is below 400); or a callable taking the status that
            says whether it counts.
        methods: HTTP methods it applies to; all by default.
        exempt_when: a callable taking the request; true exempts it.
        shared: a bucket name that replaces route and method.
        shadow: decide and report, never refuse.
        on_store_error: ``allow``, ``deny`` or ``local`` when the store fails; None: as configured, else ``local`` for a limit that
            does not count everything, ``allow`` for the others.
        tier: a claim name or a callable taking the request, with `limits` a mapping; ``"*"`` stands for everyone else.
        on_breach: called with the request and the decision that refused.

    Raises: ConfigurationError.
    """

    role: Role = "limit"

    def __init__(
        self,
        limits: Limits | DynamicLimits | TieredLimits,
        *,
        key: Key | Any = by_ip,
        name: str | None = None,
        algorithm: str = "sliding-window",
        cost: int | Callable[[Any], Any] = 1,
        count: str | Counts = "all",
        methods: Iterable[str] | None = None,
        exempt_when: Callable[[Any], Any] | None = None,
        shared: str | None = None,
        shadow: bool = False,
        on_store_error: str | None = None,
        tier: str | Callable[[Any], Any] | None = None,
        on_breach: Callable[[Any, Decision], Any] | None = None,
    ) -> None:
        self.dynamic = limits if callable(limits) else None
        self.tiers = _read_tiers(limits, tier)
        self.limits = () if self.dynamic or self.tiers else read_limits(limits)
        self.key, self.name, self.shared, self.shadow, self.cost = key, name, shared, shadow, cost
        self.exempt_when, self.on_breach, self.tier = exempt_when, on_breach, tier
        self.methods = (
            None if methods is None else frozenset(method_of(m) for m in ([methods] if isinstance(methods, str) else methods))
        )
        self.algorithm = algorithm
        self.counts = _counts(count)
        self.on_store_error = None if on_store_error is None else check_on_store_error(on_store_error)
        self._check()

    @property
    def late(self) -> bool:
        """Whether it is decided with the body."""
        return is_late(self.key)

    @property
    def settles(self) -> bool:
        """Whether `settle` changes what it was charged: its cost is not simply one request."""
        return callable(self.cost) or self.cost > 1

    @property
    def every_limit(self) -> tuple[Limit, ...]:
        """Every limit it may apply, as far as they are known."""
        return (*self.limits, *(limit for limits in self.tiers.values() for limit in limits))

    def _check(self) -> None:
        for option in ("key", "exempt_when", "on_breach"):
            value = getattr(self, option)
            fits = callable(value) or (option == "key" and is_late(value)) or (value is None and option != "key")
            if not fits:
                raise ConfigurationError(f"{option}={value!r} is not callable; it takes the request, e.g. key=by_ip")
        if self.key in (by_claim, by_json, by_form):
            name = self.key.__name__
            raise ConfigurationError(f"key={name} does not say which; a correct one is key={name}({_NAMED[name]!r})")
        for option in ("name", "shared"):
            value = getattr(self, option)
            if value is not None:
                Limit(1, 1, name=value)
        algorithm_for(Limit(1, 1), self.algorithm)
        for limit in self.every_limit:
            algorithm_for(limit, self.algorithm)
        if not callable(self.cost):
            self._check_cost(self.cost)

    def _check_cost(self, cost: object) -> None:
        if not isinstance(cost, int) or isinstance(cost, bool) or cost < 0:
            raise ConfigurationError(f"cost={cost!r} is not a whole number of at least 0")
        for limit in self.every_limit:
            most = limit.amount if limit.burst is None else limit.burst
            if cost > most > 0 and not limit.concurrent:
                raise ConfigurationError(f"cost={cost} can never be admitted by {str(limit)!r}; raise the limit or lower the cost")

    def __repr__(self) -> str:
        listed = "; ".join(map(str, self.every_limit))
        limits = listed if self.dynamic is None else getattr(self.dynamic, "__qualname__", "callable")
        return f"{type(self).__name__}({limits!r}, key={getattr(self.key, '__qualname__', self.key)})"


class Penalty(Declaration):
    """A limit on refusals: charged when another limit refuses."""

    role = "penalty"


class Look(Declaration):
    """A limit that is only looked at; something else charges it."""

    role = "look"


def method_of(method: str) -> str:
    """The method a bucket is named after: HEAD counts as GET."""
    method = method.upper()
    return "GET" if method == "HEAD" else method


def _read_tiers(limits: Any, tier: object) -> dict[str, tuple[Limit, ...]]:
    if tier is None:
        if isinstance(limits, Mapping):
            raise ConfigurationError("limits is a mapping, but no tier= says which entry applies; e.g. tier='plan'")
        return {}
    if not isinstance(tier, str) and not callable(tier):
        raise ConfigurationError(f"tier={tier!r} is not the name of a claim or a callable taking the request")
    if not isinstance(limits, Mapping) or EVERYONE not in limits:
        raise ConfigurationError(
            "with tier= the limits are a mapping with an entry '*' for everyone else, like {'pro': '600/min', '*': '10/min'}"
        )
    return {str(name): read_limits(value) for name, value in limits.items()}


def _counts(count: object) -> Counts | None:
    if count == "all":
        return None
    if count == "failures":
        return is_failure
    if not callable(count):
        raise ConfigurationError(f"count={count!r} is not 'all', 'failures' or a callable taking the response status")
    return count
