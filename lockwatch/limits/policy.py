"""Policies: a limit, how it is counted, what it is called, which bucket it fills, and what an outage means for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import gcd
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from lockwatch.errors import ConfigurationError
from lockwatch.limits.grammar import Limit

ON_STORE_ERROR: Final = ("allow", "deny", "local")
ALGORITHMS: Final = {
    "sliding-window": "sw",
    "sorted-set": "ss",
    "sliding-counter": "sc",
    "gcra": "gc",
    "fixed-window": "fw",
    "concurrent": "cc",
}
"""Algorithm name -> the code that stands for it in a store key. Their order is their number in a call."""
_NUMBERS: Final = {name: number for number, name in enumerate(ALGORITHMS)}
SHADOW: Final = 1
LOOSE: Final = 2
HELD: Final = 4
PENALTY: Final = 8
LOOK: Final = 16
_ALGORITHM: Final = 32
LEASE: Final = 10_000_000
"""How long a reservation or a request in flight counts without being renewed, in microseconds."""
_EXACT: Final = 2**53
_LISTED: Final = 100_000
"""A sorted set has a member for each unit of cost, and a script writes those of a charge at once."""

Role: TypeAlias = Literal["limit", "penalty", "look"]
Counts: TypeAlias = Callable[[int], Any]
_FLAGS: Final[dict[str, int]] = {"limit": 0, "penalty": PENALTY, "look": LOOK}


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
        counts: says whether a response status counts; None when every request does.
        role: ``limit``; ``penalty`` is charged when another policy refuses; ``look`` is charged by somebody else.
        settles: `settle` changes what a request cost here.
        by_address: counted by address, whatever its declaration counts by.
    """

    limit: Limit
    name: str
    bucket: str
    shadow: bool = False
    on_store_error: str = "allow"
    algorithm: str = "sliding-window"
    on_breach: Callable[[Any, Any], Any] | None = None
    counts: Counts | None = None
    role: Role = "limit"
    settles: bool = False
    by_address: bool = False
    mode: int = field(init=False, repr=False, compare=False)
    """Algorithm and flags as scripts take them."""
    numbers: tuple[int, int, int] = field(init=False, repr=False, compare=False)
    """Quota, span and burst as scripts take them."""
    held: bool = field(init=False, repr=False, compare=False)
    """Whether a charge is a reservation, with a key beside the bucket's."""

    def __post_init__(self) -> None:
        held = self.counts is not None and self.algorithm != "concurrent"
        loose = HELD | LOOSE if held else LOOSE if self.settles or self.algorithm == "concurrent" else 0
        mode = _NUMBERS[self.algorithm] * _ALGORITHM + (SHADOW if self.shadow else 0) + loose + _FLAGS[self.role]
        object.__setattr__(self, "held", held)
        object.__setattr__(self, "mode", mode)
        object.__setattr__(self, "numbers", numbers_of(self.limit, self.algorithm))

    def __repr__(self) -> str:
        return f"Policy({self.name!r}, {str(self.limit)!r}, algorithm={self.algorithm!r})"


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


class Receipt(NamedTuple):
    """What was charged and may be changed: an open reservation, a cost to settle, a request in flight.

    Attributes:
        charge: policy, bucket and the cost that was asked for.
        number: what the store calls it within its bucket.
        mode: how it was charged: algorithm and flags.
        numbers: quota, span and burst it was charged under.
        local: it was charged in this process's memory, because the store failed.
        charged: what it stands at now.
    """

    charge: Charge
    number: int
    mode: int
    numbers: tuple[int, int, int]
    local: bool
    charged: int


def numbers_of(limit: Limit, algorithm: str, amount: int | None = None) -> tuple[int, int, int]:
    """Quota, span and burst of `limit` as scripts take them; `amount` in the place of its own quota."""
    quota = limit.amount if amount is None else amount
    if algorithm == "concurrent":
        return quota, LEASE, 0
    if algorithm == "gcra":
        capacity = limit.amount if limit.burst is None else limit.burst
        share = capacity if amount is None or not limit.amount else max(1, capacity * quota // limit.amount)
        return quota, limit.window_us, share
    return quota, limit.window_us, 0


def is_failure(status: int) -> bool:
    """Whether a response with that status is a failure, where nobody says otherwise."""
    return status >= 400


def algorithm_for(limit: Limit, wanted: str) -> str:
    """The algorithm that counts `limit`, where `wanted` was declared. Raises: ConfigurationError."""
    if wanted not in ALGORITHMS:
        raise ConfigurationError(f"algorithm={wanted!r} is not one of {', '.join(map(repr, ALGORITHMS))}")
    if limit.concurrent:
        return "concurrent"
    if wanted == "concurrent":
        raise ConfigurationError(f"{str(limit)!r} has a window; algorithm='concurrent' takes a limit like '20 concurrent'")
    if limit.burst is not None and wanted not in ("sliding-window", "gcra"):
        raise ConfigurationError(f"{str(limit)!r} has a burst, which is counted by 'gcra', not by algorithm={wanted!r}")
    found = "gcra" if limit.burst is not None else wanted
    if found == "gcra":
        _check_exact(limit)
    if found == "sorted-set" and limit.amount > _LISTED:
        raise ConfigurationError(
            f"{str(limit)!r} is too much to be listed; 'sorted-set' takes at most {_LISTED}, 'sliding-window' more"
        )
    return found


def _check_exact(limit: Limit) -> None:
    """A token is worth span / g units of debt, g = gcd(quota, span); a full bucket of them has to be a whole double."""
    capacity = limit.amount if limit.burst is None else limit.burst
    unit = limit.window_us // gcd(limit.amount, limit.window_us)
    if not limit.amount:
        raise ConfigurationError(f"{str(limit)!r} never refills; 'gcra' takes an amount of at least 1, like '100/minute burst 20'")
    if (capacity + 1) * unit >= _EXACT:
        raise ConfigurationError(f"{str(limit)!r} is too fine to be counted exactly; choose a shorter window or a smaller burst")


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
    return limit.name or name or ("concurrent" if limit.concurrent else limit.spelled_window)


def share_of(limit: Limit, workers: int) -> int:
    """The quota one of `workers` processes may grant alone: at least 1, unless the limit is 0."""
    return min(limit.amount, max(1, limit.amount // workers))
