"""Policies: a limit, what it is called, which bucket it fills, and what an outage means for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from lockwatch.errors import ConfigurationError
from lockwatch.limits.grammar import Limit

ON_STORE_ERROR: Final = ("allow", "deny", "local")
ALGORITHMS: Final = {"sliding-window": "sw"}
"""Algorithm name -> the code that stands for it in a store key."""


@dataclass(frozen=True, slots=True)
class Policy:
    """One limit of one route, ready to be charged.

    Attributes:
        limit: quota and window.
        name: what it is called in headers, decisions and metrics; unique within a plan.
        bucket: the part of the store key after the subject: policy identity and scope, never a concrete URL.
        shadow: decides and reports, never refuses.
        on_store_error: what a store failure means.
        algorithm: a key of `ALGORITHMS`.
        on_breach: called with the request and the decision when it refuses.
    """

    limit: Limit
    name: str
    bucket: str
    shadow: bool = False
    on_store_error: str = "allow"
    algorithm: str = "sliding-window"
    on_breach: Callable[[Any, Any], Any] | None = None


class Charge(NamedTuple):
    """A policy about to be charged for one subject.

    Attributes:
        policy: what decides.
        key: the store key of the bucket.
        cost: how much is asked for, >= 0.
    """

    policy: Policy
    key: str
    cost: int


def check_algorithm(name: str, limits: Iterable[Limit] = ()) -> str:
    """Return `name` if this release implements it for `limits`. Raises: ConfigurationError."""
    if name not in ALGORITHMS:
        raise ConfigurationError(f"algorithm={name!r} is not one of {', '.join(map(repr, ALGORITHMS))}")
    for limit in limits:
        if limit.concurrent or limit.burst is not None:
            wanted = "concurrent" if limit.concurrent else "gcra"
            raise ConfigurationError(
                f"{str(limit)!r} needs the algorithm {wanted!r}, which this release does not have; use a limit like '100/minute'"
            )
    return name


def check_on_store_error(value: str) -> str:
    """Return `value` if it is a failure policy. Raises: ConfigurationError."""
    if value not in ON_STORE_ERROR:
        raise ConfigurationError(f"on_store_error={value!r} is not one of {', '.join(map(repr, ON_STORE_ERROR))}")
    return value


def unique_names(names: Iterable[str], mark: str = "-") -> tuple[str, ...]:
    """Make names unique by position: the second ``a`` becomes ``a-2``, the third ``a-3``."""
    taken: set[str] = set()
    unique: list[str] = []
    for name in names:
        candidate, count = name, 1
        while candidate in taken:
            count += 1
            candidate = f"{name}{mark}{count}"
        taken.add(candidate)
        unique.append(candidate)
    return tuple(unique)


def identity(limit: Limit, name: str | None) -> str:
    """What tells a policy from its neighbours in a store key.

    Its name, else its window: so that raising ``100/minute`` to ``200/minute`` keeps the history of the bucket.
    """
    return limit.name or name or limit.spelled_window


def share_of(limit: Limit, workers: int) -> int:
    """The quota one of `workers` processes may grant alone: at least 1, unless the limit is 0."""
    return min(limit.amount, max(1, limit.amount // workers))
