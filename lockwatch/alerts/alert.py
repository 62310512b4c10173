"""One alert, before anybody has said how it is sent. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

ATTACK_DETECTED: Final = "lockwatch.attack.detected"
ATTACK_UPDATED: Final = "lockwatch.attack.updated"
ATTACK_RESOLVED: Final = "lockwatch.attack.resolved"
BURST: Final = "lockwatch.burst"
BAN_CREATED: Final = "lockwatch.ban.created"
BAN_EXPIRED: Final = "lockwatch.ban.expired"
BAN_REMOVED: Final = "lockwatch.ban.removed"
TOKEN_REUSE: Final = "lockwatch.token.reuse"  # noqa: S105
AUDIT_DEGRADED: Final = "lockwatch.audit.degraded"
AUDIT_RECOVERED: Final = "lockwatch.audit.recovered"
DIGEST: Final = "lockwatch.digest"
TEST: Final = "lockwatch.test"
TYPES: Final = (
    ATTACK_DETECTED,
    ATTACK_UPDATED,
    ATTACK_RESOLVED,
    BURST,
    BAN_CREATED,
    BAN_EXPIRED,
    BAN_REMOVED,
    TOKEN_REUSE,
    AUDIT_DEGRADED,
    AUDIT_RECOVERED,
    DIGEST,
    TEST,
)
COMMON: Final = frozenset({BURST, BAN_CREATED, BAN_EXPIRED, BAN_REMOVED, TOKEN_REUSE})
"""Types of which an attacker with many addresses can cause many."""
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TYPE: Final = re.compile(r"[A-Za-z0-9_]{1,32}(\.[A-Za-z0-9_]{1,32}){0,7}")


@dataclass(frozen=True, slots=True)
class Alert:
    """What operators are told.

    Attributes:
        id: names it, for receivers too (``webhook-id``): letters, digits, ``_`` and ``-``, at most 64.
        type: one of `TYPES`; words of letters, digits and ``_``, joined by dots.
        timestamp: when it happened, microseconds since 1970.
        data: JSON values. Texts may be as a client sent them: they are cleaned and shortened when the alert is written out.

    Raises: ValueError, for an id or a type that the Standard Webhooks specification does not allow.
    """

    id: str
    type: str
    timestamp: int
    data: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise ValueError("the id of an alert is 1 to 64 letters, digits, '_' and '-', like msg_2mVf0Q")
        if not _TYPE.fullmatch(self.type):
            raise ValueError("the type of an alert is words joined by dots, like lockwatch.burst")
