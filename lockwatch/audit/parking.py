"""Rows a database refuses: found in their batch, and put aside with the error. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final, NamedTuple

from lockwatch.audit.row import Row

LONGEST: Final = 2000
"""Characters of an error."""


class Parked(NamedTuple):
    """A row of ``lockwatch_audit_parked``: ASCII alone, so that no database refuses it too."""

    id: str
    process: str
    seq: int
    chain: bytes
    error: str
    row: str


def parked(row: Row, error: BaseException) -> Parked:
    """How a refused row is kept. What cannot be stored even so is spelled as text."""
    values = row._asdict() | {"chain": bytes(row.chain).hex()}
    seq = row.seq if abs(row.seq) < 2**63 else -1
    what = f"{type(error).__name__}: {error}"[:LONGEST]
    return Parked(_ascii(row.id), _ascii(row.process), seq, bytes(row.chain), _ascii(what), json.dumps(values, default=repr))


def halves(rows: Sequence[Row]) -> tuple[Sequence[Row], Sequence[Row]]:
    """Two parts of a batch of several rows, one of which holds a row that is refused."""
    middle = len(rows) // 2
    return rows[:middle], rows[middle:]


def _ascii(text: str) -> str:
    return str(text).encode("ascii", "backslashreplace").decode().replace("\0", "\\x00")
