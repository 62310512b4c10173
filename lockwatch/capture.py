"""What an edge notes about a request when it ends, from plain values: cheap to make there, an event when the worker reads it.

Both frameworks use it. Nothing here does I/O.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from lockwatch.client import Client, Headers, read_address
from lockwatch.errors import Banned, StepUpRequired
from lockwatch.event import HTTP, Event
from lockwatch.limits.decision import Decision

SUCCESS: Final = "success"
FAILURE: Final = "failure"
REFUSED: Final = "refused"
ERROR: Final = "error"
DISCONNECTED: Final = "disconnected"
CLOSED_REQUEST: Final = 499
"""The status of a request whose client has gone before there was an answer, as nginx counts it."""
NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
READ: Final = frozenset({b"user-agent", b"x-request-id", b"traceparent", b"host", b"origin", b"sec-fetch-site"})
"""Headers of a request that its event is made of."""
DECIDED: Final = {Banned.code: "banned", StepUpRequired.code: "challenged"}
"""What refusals by no limit are called, by their code."""
_REFUSING: Final = frozenset({"limited", "banned", "challenged"})
_SANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=@#-]{0,127}")
_TRACE = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")


class Exchange(NamedTuple):
    """One request and how it ended, or the opening or the close of a WebSocket.

    Attributes:
        kind: ``http`` or ``websocket``.
        action: ``request``, ``open`` or ``close``.
        ended_us: when it ended, microseconds since 1970.
        latency_us: how long it took.
        client: who sent it.
        method: as sent; ``WEBSOCKET`` for a handshake.
        route: template of the route, ``<unmatched>`` for none.
        path: of the URL, decoded.
        query: of the URL, as sent.
        headers: of the request, names in lower case.
        status: of the answer, None when there was none; the code of a WebSocket's close.
        bytes_sent: of the body.
        decisions: of the limits.
        request_id: what it is called unless its client has called it something.
        user: who it is.
        session: family of the session.
        tenant: whose it is.
        error: name of the exception that ended it.
        gone: the client went away before it had the whole answer.
        decision: overrules what `decisions` say: ``banned``, ``challenged``.
        refusal: code of the error that lockwatch has refused it with, empty for none.
        details: whatever else.
    """

    kind: str
    action: str
    ended_us: int
    latency_us: int
    client: Client
    method: str
    route: str
    path: str
    query: bytes = b""
    headers: Headers = ()
    status: int | None = None
    bytes_sent: int | None = None
    decisions: Sequence[Decision] = ()
    request_id: str | None = None
    user: str | None = None
    session: str | None = None
    tenant: str | None = None
    error: str | None = None
    gone: bool = False
    decision: str | None = None
    refusal: str = ""
    details: Mapping[str, Any] = NOTHING

    def event(self) -> Event:
        """The event. Its attributes are given by their places: by name they would cost three times as much, one by one twice."""
        (kind, action, ended, latency, client, method, route, path, query, headers, status, sent, decisions, request_id) = self[:14]
        (user, session, tenant, error, gone, told, refusal, details) = self[14:]
        heads = {name: value for name, value in reversed(headers) if name in READ}  # of several with one name the first
        address, source = _spelled(client)
        decision, policies = _verdict(decisions, told)
        if error is not None or b"origin" in heads or b"sec-fetch-site" in heads:
            details = _details(details, error, heads)
        if b"x-request-id" in heads:
            request_id = request_id_of(_text(heads, b"x-request-id")) or request_id
        return Event(
            ended,
            kind,
            action,
            outcome_of(self, decision),
            address,
            source,
            client.peer,
            client.subject,
            method,
            route,
            path,
            query.decode("latin-1") if query else None,
            CLOSED_REQUEST if gone and status is None and kind == HTTP else status,
            latency,
            sent,
            heads[b"user-agent"].decode("latin-1") if b"user-agent" in heads else None,
            request_id,
            trace_id_of(_text(heads, b"traceparent")) if b"traceparent" in heads else None,
            user,
            None,
            session,
            None,
            tenant,
            decision,
            policies,
            False,
            None,
            (refusal,) if refusal else (),
            details,
            1,
            headers,
        )


def outcome_of(seen: Exchange, decision: str | None) -> str:
    """What became of it, one of the outcomes of `Event`."""
    if seen.refusal or decision in _REFUSING:
        return REFUSED
    if seen.gone:
        return DISCONNECTED
    if seen.error is not None:
        return ERROR
    if seen.action == "close":
        return SUCCESS
    status = seen.status or 500
    return SUCCESS if status < 400 else REFUSED if status in (401, 403, 429) else FAILURE


def is_cross_site(site: str | None, origin: str | None, host: str | None) -> bool:
    """Whether another site made the browser send this: by `Sec-Fetch-Site`, else because `Origin` is not `Host`."""
    if site is not None:
        return site == "cross-site"
    return origin is not None and origin.partition("://")[2] != host


def request_id_of(value: str | None) -> str | None:
    """The id a client gave its request, when it is sane: at most 128 letters, digits and ``. _ : / + = @ # -``."""
    return value if value is not None and _SANE.fullmatch(value) else None


def trace_id_of(value: str | None) -> str | None:
    """The trace id of a ``traceparent`` header (W3C Trace Context, section 3.2), None when the header is malformed."""
    found = _TRACE.fullmatch(value.strip()) if value is not None and len(value) < 256 else None
    return None if found is None else found[1]


def _text(heads: Mapping[bytes, bytes], name: bytes) -> str | None:
    """The value of a header, None when there is none."""
    value = heads.get(name)
    return None if value is None else value.decode("latin-1")


def _spelled(client: Client) -> tuple[str | None, str]:
    """The client's address as text, and who told it."""
    address, peer = client.address, client.peer
    if address is None:
        return None, "peer"
    if peer == client.subject and type(address) is IPv4Address:
        return peer, "peer"  # as nearly always where there is no proxy; spelling an address costs a microsecond
    text = str(address)
    return text, "peer" if peer is None or _same(peer, text) else "proxy"


def _verdict(decisions: Sequence[Decision], told: str | None) -> tuple[str | None, tuple[str, ...]]:
    """What was decided, and which policies refused."""
    refusing = degraded = False
    for decision in decisions:
        refusing |= not decision.allowed and not decision.shadow
        degraded |= decision.degraded
    policies = tuple([d.policy for d in decisions if d.refuses]) if refusing else ()
    if told is not None or not decisions:
        return told, policies
    return "limited" if refusing else "degraded" if degraded else "allowed", policies


def _same(peer: str, address: str) -> bool:
    """Whether the peer itself is the client."""
    return peer == address or str(read_address(peer)) == address


def _details(details: Mapping[str, Any], error: str | None, heads: Mapping[bytes, bytes]) -> Mapping[str, Any]:
    if error is not None:
        details = {**details, "exception": error}
    if is_cross_site(*[_text(heads, name) for name in (b"sec-fetch-site", b"origin", b"host")]):
        details = {**details, "cross_site": True}
    return details
