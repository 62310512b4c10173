"""What was decided about one policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lockwatch.limits.grammar import Limit


class Decision(NamedTuple):
    """The outcome of one policy for one request. Times are seconds.

    A named tuple, not a frozen dataclass: one is made per policy and request, and it costs a quarter of the time.

    Attributes:
        allowed: what the policy says (also in shadow and observe mode, where nothing is refused).
        policy: its name, unique on a response.
        limit: the quota and window it was decided under.
        remaining: what is left of the quota after this request.
        retry_after: seconds until this request would be admitted; 0 when it was, None when it never will be.
        reset_after: seconds until the whole quota is free again.
        cost: what the request asked for.
        shadow: the policy reports and never refuses.
        degraded: the store was not asked; the failure policy decided.
        id: the same for all decisions of a request; also in the 429 body.
        next_after: seconds until more than `remaining` is available (the `t` of a RateLimit header).
        firm: refused, and nothing but a reset can admit this cost before `retry_after`.
    """

    allowed: bool
    policy: str
    limit: Limit
    remaining: int
    retry_after: float | None
    reset_after: float
    cost: int
    shadow: bool
    degraded: bool
    id: str
    next_after: float
    firm: bool = False

    @property
    def refuses(self) -> bool:
        """Whether this decision refuses the request."""
        return not self.allowed and not self.shadow

    @property
    def unavailable(self) -> bool:
        """Whether it refuses because the store is down and the policy says deny, not because of a quota."""
        return self.refuses and self.degraded and self.retry_after is not None and self.reset_after == 0


def tightest(decisions: Sequence[Decision]) -> Decision:
    """The first decision that refuses, else the one with the least left relative to its quota.

    Raises: ValueError when there is none.
    """
    if not decisions:
        raise ValueError("these limits limit nothing: 'unlimited' needs no decision")
    refusing = [d for d in decisions if d.refuses]
    return refusing[0] if refusing else min(decisions, key=lambda d: d.remaining / (d.limit.amount or 1))
