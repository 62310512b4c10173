"""What both extensions say of limits that are taken by hand, and of settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lockwatch.config import LockWatchConfig
from lockwatch.engine import Engine
from lockwatch.errors import ConfigurationError
from lockwatch.limits.buckets import Buckets
from lockwatch.limits.declaration import Declaration, Limits
from lockwatch.limits.plan import make_plan
from lockwatch.limits.policy import Charge


def charges_of(config: LockWatchConfig, buckets: Buckets, name: str, subject: str, limits: Limits, cost: int) -> Sequence[Charge]:
    """What `take` charges. Raises: ConfigurationError, ValueError."""
    if not isinstance(subject, str) or not subject:
        raise ValueError("subject is empty; whom should be counted?")
    if not isinstance(cost, int) or cost < 0:
        raise ValueError(f"cost={cost!r} is not a whole number of at least 0")
    if callable(limits):
        raise ConfigurationError("limits is callable, but there is no request to call it with; give limits like '100/hour'")
    declaration = Declaration(limits, shared=name)
    if any(limit.concurrent for limit in declaration.limits):
        raise ConfigurationError("a concurrent limit ends with its request; declare it on a route, like RateLimit('20 concurrent')")
    plan = make_plan((declaration,), "GET", name, config.on_redis_failure)
    return [Charge(p, buckets.key(p, f"custom:{subject}"), cost) for step in plan.steps for p in step.policies]


def mark(endpoint: Any, name: str, value: object) -> None:
    """Note something on a function. Raises: ConfigurationError."""
    try:
        setattr(endpoint, name, value)
    except AttributeError:
        raise ConfigurationError(
            f"{endpoint!r} cannot be marked, because it is no function; decorate the function, for a method the one in its class"
        ) from None


@contextmanager
def overriding(engines: Sequence[Engine], mode: str) -> Iterator[None]:
    """Another mode while the block runs, in the whole process. Raises: ConfigurationError."""
    LockWatchConfig(mode=mode)
    before = [engine.admission.mode for engine in engines]
    for engine in engines:
        engine.admission.mode = mode
    try:
        yield
    finally:
        for engine, was in zip(engines, before, strict=True):
            engine.admission.mode = was
