"""What an application can be told of the state of its protections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lockwatch.audit.health import AuditHealth


@dataclass(frozen=True, slots=True)
class Health:
    """The state of lockwatch in this process, as last seen.

    Attributes:
        status: ``ok`` or ``degraded``.
        mode: ``enforce``, ``observe`` or ``off``.
        store: ``memory``, or where the store is.
        store_ok: whether the store has answered everything for a second.
        store_error: what the last failure was, empty when there is none.
        buckets: buckets held in this process's memory.
        overflowed: how often a full memory store had to share a bucket.
        warnings: what is wrong with the set-up, and calls the store failed one by one.
        breaker: ``closed``, ``open`` (the store is not asked) or ``probing``.
        workers: how many processes share a quota when the store is down.
        worker: what the thread in the background does: ``idle``, ``running``, or why it cannot run.
        audit: the audit log of this process; None where there is none.
        alerts: ``off``, ``ok``, or what keeps alerts from arriving.
    """

    status: str
    mode: str
    store: str
    store_ok: bool
    store_error: str
    buckets: int
    overflowed: int
    warnings: tuple[str, ...]
    breaker: str = "closed"
    workers: int = 1
    worker: str = "idle"
    alerts: str = "off"
    audit: AuditHealth | None = None
