"""What happened: one event, whoever noticed it, as every consumer in the background gets it. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

HTTP: Final = "http"
WEBSOCKET: Final = "websocket"
AUTH: Final = "auth"
APP: Final = "app"
ADMIN: Final = "admin"
SYSTEM: Final = "system"
KINDS: Final = (HTTP, WEBSOCKET, AUTH, APP, ADMIN, SYSTEM)


@dataclass(slots=True)
class Event:
    """Something that happened. Texts are as they came in: whoever stores or shows them cleans them first.

    Attributes:
        time_us: when it ended, microseconds since 1970.
        kind: one of `KINDS`.
        action: what was done: ``request``, ``open`` and ``close`` (of a WebSocket), ``login``, ``token.issued``,
            ``token.refreshed``, ``token.reused``, ``token.revoked``, ``limit.reset``, ``ban.added``, ``campaign.opened``, ``gap``,
            or the application's own.
        outcome: ``success``, ``failure`` (the server answered with an error), ``refused`` (by a limit, a ban, a missing right),
            ``error`` (an exception), ``disconnected``.
        ip: the client's address; None when it is not known.
        ip_source: ``peer``, or ``proxy`` when a trusted one told it.
        peer: what connected, as the server says it.
        subject: what the client is counted under (`Client.subject`).
        method: ``GET`` and so on, ``WEBSOCKET`` for a handshake.
        route: template of the route, ``<unmatched>`` for none.
        path: path of the URL.
        query: query string, not redacted.
        status: of the answer; None when there was none.
        latency_us: microseconds from the first byte in to the last byte out.
        bytes_sent: of the body.
        user_agent: as sent.
        request_id: of the ``X-Request-ID`` header, or the decision's.
        trace_id: of the ``traceparent`` header (W3C Trace Context), 32 hex digits.
        user: who it is, as `by_user` finds it.
        actor: who did it, where that is not the user: an operator, the system.
        session: family of the session.
        target: what it was done to.
        tenant: whose it is.
        decision: ``allowed``, ``limited``, ``banned``, ``challenged`` or ``degraded``; None where nothing was decided.
        policies: names of the policies that refused.
        anomaly: a rule pointed at it.
        campaign: id of the campaign it belongs to.
        reasons: why, in words for people.
        details: whatever else; JSON values.
        count: how many such events it stands for.
        headers: of the request, as they came in.
    """

    time_us: int
    kind: str
    action: str
    outcome: str = "success"
    ip: str | None = None
    ip_source: str = "peer"
    peer: str | None = None
    subject: str | None = None
    method: str | None = None
    route: str | None = None
    path: str | None = None
    query: str | None = None
    status: int | None = None
    latency_us: int | None = None
    bytes_sent: int | None = None
    user_agent: str | None = None
    request_id: str | None = None
    trace_id: str | None = None
    user: str | None = None
    actor: str | None = None
    session: str | None = None
    target: str | None = None
    tenant: str | None = None
    decision: str | None = None
    policies: tuple[str, ...] = ()
    anomaly: bool = False
    campaign: str | None = None
    reasons: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    count: int = 1
    headers: Sequence[tuple[bytes, bytes]] = field(default=(), repr=False)
