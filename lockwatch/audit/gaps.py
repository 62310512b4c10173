"""Losses, and the rows that tell of them. Pure."""

from __future__ import annotations

from typing import Any, Final

from lockwatch.audit.pack import Told
from lockwatch.event import SYSTEM, Event

GAP: Final = "gap"


class Losses:
    """What was lost since the last gap was told, by reason and kind.

    Attributes:
        total: events lost since the process began.
    """

    def __init__(self) -> None:
        self.total = 0
        self._counts: dict[tuple[str, str], int] = {}
        self._seen: dict[tuple[str, str], int] = {}

    def __bool__(self) -> bool:
        return bool(self._counts)

    def add(self, kind: str, reason: str, count: int = 1) -> None:
        """Count events that were lost."""
        self.total += count
        self._counts[reason, kind] = self._counts.get((reason, kind), 0) + count

    def follow(self, dropped: dict[tuple[str, str], int]) -> None:
        """Count what another counter, which only grows, has counted since this was last asked: by kind and reason."""
        for key, count in dropped.items():
            if (more := count - self._seen.get(key, 0)) > 0:
                self._seen[key] = count
                self.add(*key, more)

    def tell(self, now_us: int) -> list[Event]:
        """One gap for each reason; nothing is left untold then."""
        reasons: dict[str, dict[str, int]] = {}
        for (reason, kind), count in self._counts.items():
            reasons.setdefault(reason, {})[kind] = count
        self._counts = {}
        return [gap(now_us, reason, kinds) for reason, kinds in reasons.items()]


def gap(now_us: int, reason: str, kinds: dict[str, int], rows: Told | None = None) -> Event:
    """A gap: events of these kinds and counts are lost. `rows` says which, where they had numbers, and the chain that goes on after
    them: so that the row after them can be checked.
    """
    details: dict[str, Any] = {"from_seq": None, "to_seq": None, "count": sum(kinds.values()), "reason": reason, "kinds": kinds}
    if rows is not None and rows.process:
        details |= {"from_seq": rows.first, "to_seq": rows.last, "process": rows.process, "chain": rows.chain}
    return Event(time_us=now_us, kind=SYSTEM, action=GAP, outcome="failure", details=details)
