"""The keys of a third party over time: when to fetch them, how long they are good, what failures change.

A pure state machine: each step takes the time and gives the next state. A token never causes a fetch. One with an unknown kid can
at most bring the next fetch forward, and not closer than `COOL_DOWN` to the last, however many such tokens come.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from lockwatch.tokens.keys import Key

COOL_DOWN: Final = 30
"""Seconds between two fetches at least."""
SHORTEST: Final = 300
LONGEST: Final = 86_400
"""How long a set is taken for fresh, whatever its Cache-Control says."""
STALE: Final = 86_400
"""Seconds that keys are used after they were due, while fetching fails."""
FIRST_RETRY: Final = 5
LAST_RETRY: Final = 300


@dataclass(frozen=True, slots=True)
class RemoteKeys:
    """What is known of a third party's keys.

    Attributes:
        keys: by kid.
        due: the epoch time of the next fetch.
        until: the epoch time from which the keys are too old to be used.
        attempted: when the last fetch ended, well or not.
        failures: how many failed in a row.
    """

    keys: Mapping[str, Key] = field(default_factory=dict)
    due: float = 0
    until: float = 0
    attempted: float = float("-inf")
    failures: int = 0

    def is_due(self, now: float) -> bool:
        """Whether to fetch now."""
        return now >= self.due

    def usable(self, now: float) -> bool:
        """Whether there are keys to verify with."""
        return bool(self.keys) and now < self.until

    def fetched(self, keys: Mapping[str, Key], now: float, max_age: float | None = None) -> RemoteKeys:
        """After a fetch that brought keys: what is no longer among them is gone at once."""
        fresh = min(max(max_age if max_age is not None else SHORTEST, SHORTEST), LONGEST)
        return RemoteKeys(keys, now + fresh, now + fresh + STALE, now)

    def failed(self, now: float) -> RemoteKeys:
        """After a fetch that brought none: the keys before stay, and it is tried again, ever later."""
        wait = min(FIRST_RETRY * 2 ** min(self.failures, 10), LAST_RETRY)
        return replace(self, due=now + wait, attempted=now, failures=self.failures + 1)

    def missed(self, now: float) -> RemoteKeys:
        """After a token with a kid that is not among the keys: the party may have a new key."""
        if self.failures:
            return self
        return replace(self, due=min(self.due, max(now, self.attempted + COOL_DOWN)))
