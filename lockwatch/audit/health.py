"""How the audit log does, as anybody can see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AuditHealth:
    """The audit log of this process.

    Attributes:
        problems: what is wrong, in words; empty when nothing is.
        written: rows made since the process began.
        pending: events and rows that have not arrived everywhere.
        pending_seconds: how long the oldest of the rows has waited.
        in_memory: how many of them would be lost with the process.
        lost: events that left no row; gaps tell of them.
        spool: path of the spool directory, empty for none.
        spool_bytes: bytes of the spool in use.
        sinks: what is wrong with each sink, empty for nothing.
        adopted: spools of dead processes found so far.
        foreign: spools that lie beside ours and are not ours to adopt.
    """

    problems: tuple[str, ...]
    written: int
    pending: int
    pending_seconds: float
    in_memory: int
    lost: int
    spool: str
    spool_bytes: int
    sinks: Mapping[str, str]
    adopted: int
    foreign: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems
