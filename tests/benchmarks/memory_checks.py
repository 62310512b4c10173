"""One check in this process's memory: lockwatch beside `limits` and throttled-py."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from lockwatch.flow import run
from lockwatch.limits import parse
from lockwatch.limits.buckets import Buckets
from lockwatch.limits.flows import Terms, admit
from lockwatch.limits.policy import Charge, Policy
from lockwatch.stores.memory import MemoryStore
from tests.benchmarks.rounds import Check, compared, in_a_row, interleaved, spread_out
from tests.benchmarks.table import Table

OURS: Final = "lockwatch, sliding window (exact)"
REFERENCE: Final = "limits, moving window (exact)"
PLENTY: Final = 100_000


def tables(rounds: int, checks: int) -> list[Table]:
    """Admitted with many subjects, admitted with one after the other, refused."""
    found = []
    for scenario in (spread_out(checks), in_a_row(checks)):
        costs = interleaved(contenders(PLENTY), scenario, rounds)
        found.append(_table(f"In memory, admitted, {scenario.name}", costs))
    costs = interleaved(contenders(1), spread_out(checks), rounds)
    return [*found, _table("In memory, refused, 2,000 subjects in turn", costs)]


def contenders(amount: int) -> dict[str, Check]:
    """Everything that is installed, with `amount` an hour."""
    found = {OURS: ours(amount)}
    if find_spec("limits"):
        found |= _limits(amount)
    if find_spec("throttled"):
        found |= _throttled(amount)
    return found


def ours(amount: int) -> Check:
    """Hash the subject, run the flow, build the decision: what a request pays."""
    store, buckets = MemoryStore(), Buckets("bench", b"x" * 32)
    policy = Policy(parse(f"{amount}/hour")[0], f"{amount}-per-hour", "hour:GET:/items/{id}")

    def check(subject: str) -> object:
        return run(admit((Charge(policy, buckets.key(policy, subject), 1),), Terms("id")), store, store)

    return check


def _limits(amount: int) -> dict[str, Check]:
    from limits import parse as parse_theirs
    from limits.storage import MemoryStorage
    from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter

    limit = parse_theirs(f"{amount}/hour")
    moving, fixed = MovingWindowRateLimiter(MemoryStorage()), FixedWindowRateLimiter(MemoryStorage())
    return {
        REFERENCE: lambda subject: moving.hit(limit, "GET:/items/{id}", subject),
        "limits, fixed window": lambda subject: fixed.hit(limit, "GET:/items/{id}", subject),
    }


def _throttled(amount: int) -> dict[str, Check]:
    from throttled import MemoryStore as TheirStore
    from throttled import Throttled, per_hour

    def limiter(kind: str) -> Check:
        # Its store forgets all but 1,024 keys unless told otherwise.
        check: Check = Throttled(using=kind, quota=per_hour(amount), store=TheirStore(options={"MAX_SIZE": 100_000})).limit
        return check

    return {
        "throttled-py, sliding window (approximate)": limiter("sliding_window"),
        "throttled-py, fixed window": limiter("fixed_window"),
    }


def _table(title: str, costs: dict[str, list[float]]) -> Table:
    return compared(title, costs, REFERENCE if REFERENCE in costs else OURS)
