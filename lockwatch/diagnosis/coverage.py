"""What protects each route of an application, as plain data. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from lockwatch.config import LockWatchConfig
from lockwatch.limits.declaration import Declaration
from lockwatch.limits.explanation import limit_data, name_of, spelled
from lockwatch.limits.plan import UNMATCHED, Step, possible
from lockwatch.limits.policy import Policy, is_failure
from lockwatch.limits.survey import Route
from lockwatch.tokens.requirement import Access

if TYPE_CHECKING:
    from lockwatch.engine import Engine
    from lockwatch.overview import Overview

State: TypeAlias = Literal["protected", "exempt", "unprotected"]
_BELOW: Final = "/{path}"
"""What the template of a mount ends in that is one route."""
PER_REQUEST: Final = "(per request)"
"""What stands in the place of a limit that a function decides."""


@dataclass(frozen=True, slots=True)
class LimitOf:
    """A limit of a route.

    Attributes:
        policy: its name.
        limit: as people say it.
        detail: amount, window, burst, concurrent; None where a request decides.
        key: whom it counts, by the name of the function.
        algorithm: how it counts.
        tier: for whom, empty for everybody.
        counts: ``all``, ``failures``, or the name of a function of the status.
        shadow: it refuses nobody.
        role: ``limit``, ``penalty`` (charged by refusals) or ``look`` (charged by 401 and 403).
        on_store_error: ``allow``, ``deny`` or ``local``.
        exempt_when: the name of a function that exempts requests, else None.
        declared: where it stands.
    """

    policy: str
    limit: str
    detail: dict[str, Any] | None
    key: str
    algorithm: str
    tier: str
    counts: str
    shadow: bool
    role: str
    on_store_error: str
    exempt_when: str | None
    declared: str

    @property
    def refuses(self) -> bool:
        """Whether it protects the route: it can refuse who sends too much."""
        return not self.shadow and self.role == "limit"


@dataclass(frozen=True, slots=True)
class TokenOf:
    """A token that a route asks for.

    Attributes:
        scopes: all of them are needed.
        roles: one of them is needed.
        optional: a request without a token is let in.
        fresh: it has to come from a log-in.
        max_age: seconds since the log-in at most.
        refresh: a refresh token is asked for.
        locations: where it may be.
        on_store_error: ``deny`` or ``allow``.
    """

    scopes: tuple[str, ...]
    roles: tuple[str, ...]
    optional: bool
    fresh: bool
    max_age: float | None
    refresh: bool
    locations: tuple[str, ...]
    on_store_error: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """A route and what protects it.

    Attributes:
        method: ``GET``; ``WEBSOCKET`` for one.
        path: its template.
        state: ``protected`` by a limit that can refuse or a token that it takes; ``exempt`` where somebody said so.
        exempt: who said so: ``decorator``, ``exempt_paths`` or ``unlimited``; None where nobody did.
        bans: the banned are turned away.
        anomaly: attacks are looked for.
        audit: requests leave a row.
    """

    method: str
    path: str
    state: State
    exempt: str | None
    limits: tuple[LimitOf, ...]
    tokens: tuple[TokenOf, ...]
    bans: bool
    anomaly: bool
    audit: bool

    @property
    def name(self) -> str:
        """``GET /items/{id}``."""
        return f"{self.method} {self.path}"

    def data(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def coverage(overview: Overview, prefix: str = "", around: tuple[LimitOf, ...] = ()) -> Iterator[Coverage]:
    """What protects each route, and requests that no route matches.

    Args:
        prefix: the template of the mounts it was reached through.
        around: the limits of those.
    """
    seen = set[int]()
    for route in overview.routes:
        inner = next((below for place, below in overview.inner if route.template == place + _BELOW), None)
        limits = (*around, *limits_of(route))
        if inner is None:
            yield _covered(route, prefix, limits, overview.engine)
        elif id(inner) not in seen:  # the mount is listed once for each method
            seen.add(id(inner))
            yield from coverage(inner, prefix + route.template.removesuffix(_BELOW), limits)


def _covered(route: Route, prefix: str, limits: tuple[LimitOf, ...], engine: Engine) -> Coverage:
    config = engine.config
    tokens = tuple([_token(access) for access in route.plan.access])
    exempt = _exempt(route, limits, config)
    safe = any(limit.refuses for limit in limits) or any(not token.optional for token in tokens)
    state: State = "protected" if safe else "exempt" if exempt else "unprotected"
    audited = config.has_audit and not listed(route.template, config.audit_exempt_paths)
    path = route.template if route.template == UNMATCHED and not prefix else prefix + route.template
    bans, anomaly = engine.bans is not None, engine.anomaly is not None
    return Coverage(route.method, path, state, exempt, limits, tokens, bans, anomaly, audited)


def limits_of(route: Route) -> Iterator[LimitOf]:
    """Every limit of a route, in the order they are decided."""
    for step in (*route.plan.steps, *route.plan.later):
        d = step.declaration
        declared = route.origins.get(d, "unknown")
        if d.dynamic is not None:
            yield _limit(d, PER_REQUEST, None, f"decided by {name_of(d.dynamic)}", "", declared)
        for tier, policy in possible(route.plan, step):
            yield _limit(d, policy.name, policy, spelled(policy.limit), tier, declared)


def unprotected(found: Iterable[Coverage], allowed: Sequence[str]) -> list[Coverage]:
    """The routes that nothing protects, nobody exempts and no pattern of `allowed` names."""
    bare = [one for one in found if one.state == "unprotected" and not one.path.endswith(UNMATCHED)]
    return [one for one in bare if not any(is_named(one, pattern) for pattern in allowed)]


def is_named(route: Coverage, pattern: str) -> bool:
    """Whether a pattern names the route: ``/health*``, or ``GET /health*``."""
    return fnmatchcase(route.name if " " in pattern.strip() else route.path, pattern.strip())


def listed(template: str, paths: Iterable[str]) -> bool:
    """Whether a template is one of `paths`, or begins like one that ends in ``*``."""
    return any(template == path or (path.endswith("*") and template.startswith(path[:-1])) for path in paths)


def _exempt(route: Route, limits: Sequence[LimitOf], config: LockWatchConfig) -> str | None:
    if route.plan.exempt:
        return "decorator"
    if listed(route.template, config.exempt_paths):
        return "exempt_paths"
    return "unlimited" if not limits and any(_is_unlimited(s) for s in (*route.plan.steps, *route.plan.later)) else None


def _is_unlimited(step: Step) -> bool:
    d = step.declaration
    return d.dynamic is None and not d.every_limit


def _limit(d: Declaration, name: str, policy: Policy | None, text: str, tier: str, declared: str) -> LimitOf:
    counts = "all" if d.counts is None else "failures" if d.counts is is_failure else name_of(d.counts)
    return LimitOf(
        d.name or name if policy is None else name,
        text,
        None if policy is None else limit_data(policy.limit),
        "by_ip" if policy is not None and policy.by_address else name_of(d.key),
        d.algorithm if policy is None else policy.algorithm,
        tier,
        counts,
        d.shadow,
        d.role,
        d.on_store_error or ("allow" if d.counts is None else "local") if policy is None else policy.on_store_error,
        None if d.exempt_when is None else name_of(d.exempt_when),
        declared,
    )


def _token(access: Access) -> TokenOf:
    requirement, demands = access
    return TokenOf(
        tuple(demands.scopes),
        tuple(demands.roles),
        requirement.optional,
        bool(demands.fresh),
        demands.max_age,
        requirement.refresh,
        requirement.locations,
        requirement.on_store_error,
    )
