"""The shapes of `RateLimiter`: its settings and its answer, under the names of lockwatch 0.1. Pure, as all of `limits`."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil

from lockwatch.errors import ConfigurationError
from lockwatch.keys import Key, by_ip
from lockwatch.limits.decision import Decision
from lockwatch.limits.declaration import Declaration
from lockwatch.limits.grammar import MAX_AMOUNT, MAX_WINDOW, Limit


@dataclass(frozen=True, slots=True)
class RateLimitConfig:
    """The settings of a `RateLimiter`.

    Attributes:
        requests_per_window: the quota, >= 0 (0 refuses everything).
        window_seconds: over how many seconds.
        key_func: whom to count, when `check` is given a request instead of a key.
        key_prefix: the namespace of the keys; limiters with the same prefix and window share their buckets.
        algorithm: how it is counted.
        on_store_error: ``allow``, ``deny`` or ``local`` when the store fails.
        secret_key: subjects in the store are hashed with it; without one, with a key that is kept in the store.
        trusted_proxies: which peers may say whom they forward for, as for `LockWatch`.
        store_timeout: seconds a check waits for the store at most.

    Raises: ConfigurationError.
    """

    requests_per_window: int = 100
    window_seconds: float = 60
    key_func: Key = by_ip
    key_prefix: str = "lockwatch"
    algorithm: str = "sliding-window"
    on_store_error: str = "allow"
    secret_key: str | tuple[str, ...] | None = field(default=None, repr=False)
    trusted_proxies: str | int | tuple[str, ...] = "none"
    store_timeout: float = 0.05

    def __post_init__(self) -> None:
        quota, window = self.requests_per_window, self.window_seconds
        if type(quota) is not int or not 0 <= quota <= MAX_AMOUNT:
            raise ConfigurationError(f"requests_per_window={quota!r} is not a whole number from 0 to {MAX_AMOUNT}, like 100")
        if type(window) not in (int, float) or not 0.001 <= window <= MAX_WINDOW:
            raise ConfigurationError(f"window_seconds={window!r} is not between 0.001 and {MAX_WINDOW} seconds, like 60")
        if not callable(self.key_func):
            raise ConfigurationError(f"key_func={self.key_func!r} is not callable; it takes the request, e.g. key_func=key_by_ip")
        prefix = self.key_prefix
        if not isinstance(prefix, str) or not prefix.strip(":") or any(c in prefix for c in "{} \n"):
            raise ConfigurationError(f"key_prefix={prefix!r} is not text without '{{', '}}' and space; a correct one is 'shop:api'")
        self.declaration("limiter")

    def declaration(self, shared: str) -> Declaration:
        """The limit as it is declared elsewhere, with `shared` for its bucket. Raises: ConfigurationError."""
        limit = Limit(self.requests_per_window, self.window_seconds)
        return Declaration(limit, key=self.key_func, shared=shared, algorithm=self.algorithm, on_store_error=self.on_store_error)


@dataclass(frozen=True, slots=True)
class RateLimitState:
    """What a check found.

    Attributes:
        allowed: whether to go on.
        limit: the quota.
        remaining: what is left of it after this check.
        reset_at: when the whole quota is free again, or when a refused one may come back; seconds since the epoch.
        retry_after: seconds to wait, at least 1; 0 when allowed, None when waiting does not help.
        degraded: the store did not answer, and `on_store_error` decided.
    """

    allowed: bool
    limit: int
    remaining: int
    reset_at: int
    retry_after: int | None
    degraded: bool = False

    @property
    def headers(self) -> dict[str, str]:
        """The quota headers of lockwatch 0.1; nothing is said about a quota nobody could look at."""
        found = (
            {}
            if self.degraded
            else {
                "X-RateLimit-Limit": str(self.limit),
                "X-RateLimit-Remaining": str(self.remaining),
                "X-RateLimit-Reset": str(self.reset_at),
            }
        )
        return found | ({"Retry-After": str(self.retry_after)} if self.retry_after else {})


def state_of(decision: Decision, now: float) -> RateLimitState:
    """A decision in the words of lockwatch 0.1; `now` is the epoch time."""
    wait = None if decision.retry_after is None else max(1, ceil(decision.retry_after))
    after = decision.retry_after if decision.refuses and decision.retry_after else decision.reset_after
    return RateLimitState(
        not decision.refuses,
        decision.limit.amount,
        decision.remaining,
        ceil(now + after),
        wait if decision.refuses else 0,
        decision.degraded,
    )
