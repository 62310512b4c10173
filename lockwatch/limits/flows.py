"""The flows of rate limiting: admit, peek, reset. Pure: they yield calls and return decisions.

Scripts take ``(now, then mode, quota, window, burst, cost per key)`` and answer six numbers per key:
``(verdict, remaining, retry_after, reset_after, next_after, receipt)`` in microseconds. A `now` of 0 means the store's own clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lockwatch.errors import StoreError
from lockwatch.flow import Call, Flow, Reply
from lockwatch.limits.decision import Decision
from lockwatch.limits.policy import Charge, share_of

NEVER: Final = -1
RETRY_WHEN_DENIED: Final = 1.0
"""Seconds a client is told to wait when the store is down and the policy says deny."""
_SECOND: Final = 1e-6


def admit(charges: Sequence[Charge], decision_id: str, workers: int = 1, observe: bool = False) -> Flow[tuple[Decision, ...]]:
    """Charge every bucket, or none when one of them refuses. One store call.

    Args:
        charges: what to charge; their keys are distinct.
        decision_id: recorded in every decision.
        workers: how many processes share the quota when the store is down (policy `local`).
        observe: report refusals, enforce none.
    """
    try:
        reply = yield Call("admit", tuple([c.key for c in charges]), _arguments(charges, observe))
    except StoreError:
        return (yield from _without_store(charges, decision_id, workers, observe))
    return _decisions(charges, reply, decision_id, observe)


def peek(charges: Sequence[Charge], decision_id: str) -> Flow[tuple[Decision, ...]]:
    """Say what `admit` would decide now, and change nothing. Raises: StoreError."""
    reply = yield Call("peek", tuple([c.key for c in charges]), _arguments(charges, False))
    return _decisions(charges, reply, decision_id, False)


def reset(charges: Sequence[Charge]) -> Flow[int]:
    """Forget what was charged; returns how many buckets there were. Raises: StoreError."""
    reply = yield Call("reset", tuple([c.key for c in charges]), ())
    return reply[0]


def untouched(charge: Charge) -> Decision:
    """The decision of a policy that is switched off."""
    policy, _, cost = charge
    return Decision(True, policy.name, policy.limit, policy.limit.amount, 0.0, 0.0, cost, policy.shadow, False, "", 0.0)


def _arguments(charges: Sequence[Charge], observe: bool) -> tuple[int, ...]:
    arguments = [0]
    for policy, _, cost in charges:
        limit = policy.limit
        arguments += (policy.shadow or observe, limit.amount, limit.window_us, 0, cost)
    return tuple(arguments)


def _decisions(
    charges: Sequence[Charge], reply: Reply, decision_id: str, observe: bool, degraded: bool = False
) -> tuple[Decision, ...]:
    numbers = iter(reply)  # six for each charge
    return tuple(
        [
            Decision(
                verdict == 1,
                policy.name,
                policy.limit,
                remaining,
                retry and (None if retry == NEVER else retry * _SECOND),
                reset_after * _SECOND,
                cost,
                policy.shadow or observe,
                degraded,
                decision_id,
                next_after * _SECOND,
            )
            for (policy, _, cost), verdict, remaining, retry, reset_after, next_after, _receipt in zip(
                charges, numbers, numbers, numbers, numbers, numbers, numbers, strict=False
            )
        ]
    )


def _without_store(charges: Sequence[Charge], decision_id: str, workers: int, observe: bool) -> Flow[tuple[Decision, ...]]:
    """The store is down: each policy says itself what that means."""
    kept = [c for c in charges if c.policy.on_store_error == "local"]
    denied = any(c.policy.on_store_error == "deny" and not c.policy.shadow for c in charges) and not observe
    replies: dict[str, Decision] = {}
    if kept and not denied:
        arguments = [0]
        for policy, _, cost in kept:
            arguments += (policy.shadow or observe, share_of(policy.limit, workers), policy.limit.window_us, 0, cost)
        reply = yield Call("admit", tuple([c.key for c in kept]), tuple(arguments), local=True)
        replies = {c.key: d for c, d in zip(kept, _decisions(kept, reply, decision_id, observe, degraded=True), strict=True)}
    return tuple(replies.get(c.key) or _undecided(c, decision_id, observe) for c in charges)


def _undecided(charge: Charge, decision_id: str, observe: bool) -> Decision:
    policy, _, cost = charge
    allowed = policy.on_store_error != "deny"
    retry = 0.0 if allowed else RETRY_WHEN_DENIED
    return Decision(allowed, policy.name, policy.limit, 0, retry, 0.0, cost, policy.shadow or observe, True, decision_id, 0.0)
