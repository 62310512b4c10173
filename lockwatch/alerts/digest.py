"""Alerts that are too many to be sent one by one: counted by type, and told together. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from lockwatch.alerts.alert import DIGEST, Alert
from lockwatch.alerts.body import instant, render

EVERY: Final = 900.0
"""Seconds from one digest to the next at least."""


@dataclass(frozen=True, slots=True)
class Held:
    """Alerts of one type that were too many: how many, the first and the last (microseconds since 1970), and one of them."""

    type: str
    count: int
    first_at: int
    last_at: int
    example: bytes


class Tally:
    """What was held back since it was last written down."""

    def __init__(self) -> None:
        self._held: dict[str, Held] = {}

    def add(self, alert: Alert) -> None:
        """Count an alert."""
        before = self._held.get(alert.type)
        if before is None:
            self._held[alert.type] = Held(alert.type, 1, alert.timestamp, alert.timestamp, render(alert))
        else:
            first, last = min(before.first_at, alert.timestamp), max(before.last_at, alert.timestamp)
            self._held[alert.type] = Held(alert.type, before.count + 1, first, last, before.example)

    def take(self) -> list[Held]:
        """Everything counted, once."""
        held, self._held = self._held, {}
        return list(held.values())


def digest(name: str, held: Sequence[Held], timestamp: int) -> Alert:
    """An alert that speaks of all that were held back.

    Args:
        name: its id.
        timestamp: microseconds since 1970.
    """
    types: list[dict[str, Any]] = [
        {
            "type": h.type,
            "count": h.count,
            "first": instant(h.first_at),
            "last": instant(h.last_at),
            "example": json.loads(h.example).get("data"),
        }
        for h in held
    ]
    return Alert(name, DIGEST, timestamp, {"count": sum(h.count for h in held), "types": types})
