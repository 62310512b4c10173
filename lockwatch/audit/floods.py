"""Floods of refusals: past a hundred a second of one bucket, what comes together becomes one event with a count. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

from lockwatch.event import Event

THRESHOLD: Final = 100
"""Refusals of one bucket in one second that are kept each for itself."""
_BUCKETS: Final = 10_000
Bucket: TypeAlias = tuple[str | None, str | None, str | None, tuple[str, ...]]


class Floods:
    """Counts refusals of the second that runs, for at most 10,000 buckets; what does not fit in shares one."""

    def __init__(self) -> None:
        self._second = 0
        self._counts: dict[Bucket, int] = {}

    def merge(self, events: Iterable[Event]) -> list[Event]:
        """The events, those of a flood as one for each bucket: the first of them, with `count`."""
        kept: list[Event] = []
        merged: dict[Bucket, Event] = {}
        for event in events:
            if event.decision != "limited" or not self._is_flood(bucket := _bucket(event), event):
                kept.append(event)
            elif bucket in merged:
                merged[bucket].count += event.count
            else:
                merged[bucket] = event
                kept.append(event)
        return kept

    def _is_flood(self, bucket: Bucket, event: Event) -> bool:
        second = event.time_us // 1_000_000
        if second != self._second:
            self._second = second
            self._counts.clear()
        if len(self._counts) >= _BUCKETS and bucket not in self._counts:
            bucket = (None, None, None, ())
        self._counts[bucket] = count = self._counts.get(bucket, 0) + 1
        return count > THRESHOLD


def _bucket(event: Event) -> Bucket:
    return event.subject, event.method, event.route, event.policies
