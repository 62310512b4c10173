"""What the outbox says of an alert and a receiver. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

WAITING: Final = "waiting"
DELIVERED: Final = "delivered"
DEAD: Final = "dead"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One alert for one receiver.

    Attributes:
        alert: its id.
        type: of the alert.
        raised_at: seconds since 1970.
        endpoint: hash of the receiver's URL.
        name: of the receiver, for people.
        state: ``waiting``, ``delivered`` or ``dead``.
        attempts: made so far.
        due_at: when the next one is, or when the last one was, seconds since 1970.
        since: from when its age counts.
        note: what came of the last attempt.
        body: as rendered; None when its checksum says that it is damaged.
    """

    alert: str
    type: str
    raised_at: float
    endpoint: str
    name: str
    state: str
    attempts: int
    due_at: float
    since: float
    note: str
    body: bytes | None
