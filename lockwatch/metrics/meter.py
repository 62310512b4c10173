"""What happened, counted: decisions by policy and outcome, calls to the store by duration, failures by kind.

Counting takes a lookup and an addition, and no lock: an interpreter with a global lock does not switch threads within
``row[i] += 1``. Tables are bounded. What exporters make of it is theirs (`prometheus`, `opentelemetry`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Final

from lockwatch import native
from lockwatch.errors import StoreError
from lockwatch.limits.decision import Decision

BOUNDS: Final = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
"""Upper bounds of the duration histogram, in seconds; one more bucket holds what took longer."""
MAX_POLICIES: Final = 1000
OTHER: Final = "other"
"""The name under which policies count that come after the first 1,000."""
_ALLOWED, _REFUSED, _SHADOW, _DEGRADED, _DEGRADED_REFUSED = range(5)


class Meter:
    """The counters of one application in this process.

    Args:
        policies: how many policies are counted apart.
    """

    __slots__ = ("_durations", "_errors", "_listeners", "_lock", "_policies", "_rows", "_seconds")

    def __init__(self, policies: int = MAX_POLICIES) -> None:
        self._policies = policies
        self._listeners: tuple[Callable[[float], None], ...] = ()
        self.forked()

    def forked(self) -> None:
        """Begin at nothing in a child process: what the parent counted is the parent's."""
        self._rows: dict[str, list[int]] = {}
        self._durations = [0] * (len(BOUNDS) + 1)
        self._seconds = 0.0
        self._errors: dict[str, int] = {}
        self._lock = native.lock()

    def decided(self, decisions: Sequence[Decision]) -> None:
        """Count what was decided about one request."""
        rows = self._rows
        for decision in decisions:
            row = rows.get(decision.policy) or self._row(decision.policy)
            if decision.allowed and not decision.degraded:
                row[_ALLOWED] += 1
            else:
                row[_column(decision)] += 1

    def called(self, seconds: float) -> None:
        """Count one exchange with the store, which may have carried many calls."""
        self._durations[bisect_left(BOUNDS, seconds)] += 1
        self._seconds += seconds
        for listener in self._listeners:
            listener(seconds)

    def failed(self, error: StoreError) -> None:
        """Count a failure of the store."""
        with self._lock:
            self._errors[error.code] = self._errors.get(error.code, 0) + 1

    def listen(self, listener: Callable[[float], None]) -> None:
        """Tell `listener` the duration of every exchange with the store from now on."""
        self._listeners = (*self._listeners, listener)

    def decisions(self) -> Iterator[tuple[str, str, int]]:
        """Policy, outcome and how often; ``degraded`` are those the failure policy made, whatever they were."""
        for policy, row in list(self._rows.items()):
            degraded = row[_DEGRADED] + row[_DEGRADED_REFUSED]
            for outcome, number in zip(("allowed", "refused", "shadow_refused"), row, strict=False):
                yield policy, outcome, number
            yield policy, "degraded", degraded

    def refusals(self) -> Iterator[tuple[str, int]]:
        """Policy, and how many requests it refused, the failure policy's refusals included."""
        for policy, row in list(self._rows.items()):
            yield policy, row[_REFUSED] + row[_DEGRADED_REFUSED]

    def errors(self) -> Iterator[tuple[str, int]]:
        """Code of a `StoreError`, and how often."""
        with self._lock:
            return iter(list(self._errors.items()))

    def durations(self) -> tuple[Sequence[tuple[float, int]], float]:
        """Exchanges that took at most each bound (the last is infinite), cumulated, and the seconds of all of them."""
        counts = accumulate(list(self._durations))
        return list(zip((*BOUNDS, float("inf")), counts, strict=True)), self._seconds

    def _row(self, policy: str) -> list[int]:
        """The row of a policy not seen before."""
        with self._lock:
            full = len(self._rows) >= self._policies
            return self._rows.setdefault(OTHER if full else policy, [0] * 5)


def _column(decision: Decision) -> int:
    if decision.degraded:
        return _DEGRADED_REFUSED if decision.refuses else _DEGRADED
    if decision.allowed:
        return _ALLOWED
    return _REFUSED if decision.refuses else _SHADOW
