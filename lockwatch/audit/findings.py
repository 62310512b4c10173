"""What a check of the audit log finds. Pure."""

from __future__ import annotations

import json
from typing import NamedTuple

from lockwatch.audit.row import Row


class Finding(NamedTuple):
    """Something that is not as it was written.

    Attributes:
        kind: ``edited``, ``moved``, ``inserted``, ``missing``, ``truncated``, ``rewritten``, ``unchained``, ``unsigned``,
            ``unknown`` or ``checkpoint``.
        process: whose chain.
        seq: number of the row, or of the first of several.
        until: number of the last.
        id: of the row; None for one that is not there.
        timestamp: of the row, or of the one after those that are missing; microseconds since 1970.
        text: for people.
    """

    kind: str
    process: str
    seq: int
    until: int
    id: str | None
    timestamp: int | None
    text: str


class Gap(NamedTuple):
    """A loss that the log declares itself, in a row with the action ``gap``.

    Attributes:
        process: whose rows are lost.
        first, last: their numbers; 0 when they had none yet.
        lost: how many.
        chain: of the last one, when the row tells it.
    """

    process: str
    first: int
    last: int
    lost: int
    reason: str
    timestamp: int
    chain: bytes = b""


def gap_of(row: Row) -> Gap:
    """The loss that a row declares."""
    try:
        told = json.loads(row.details or "{}")
        process, chain = str(told.get("process") or row.process), bytes.fromhex(told.get("chain") or "")
        first, last, lost = (int(told.get(name) or 0) for name in ("from_seq", "to_seq", "count"))
        return Gap(process, first, last, lost, str(told.get("reason", "")), row.timestamp, chain)
    except (ValueError, TypeError, AttributeError):
        return Gap(row.process, 0, 0, 0, "", row.timestamp)
