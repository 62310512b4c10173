"""Events become rows: cleaned, redacted, numbered, each bound to the one before. Pure, but for the randomness it is given."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from operator import attrgetter
from typing import Any, Final, TypeAlias

from lockwatch.audit.block import Block, Span
from lockwatch.audit.brief import Brief
from lockwatch.audit.chain import START
from lockwatch.audit.clean import LIMITS, clean, digest, encoded, listed, whole
from lockwatch.audit.encoding import LINK, TEXTS, in_columns, lengths, long, numbers, short
from lockwatch.audit.ids import Ids, spelled
from lockwatch.audit.redact import Redactor
from lockwatch.audit.row import SCHEMA, Row
from lockwatch.event import Event

_LIMITS: Final = tuple([lengths(LIMITS.get(name, 2048)) for name in TEXTS])
_FLAGS, _DIGEST = map(TEXTS.index, ("flags", "endpoint_sha256"))
_time: Final = attrgetter("time_us")
_counts: Final = attrgetter("count", "status", "latency_us", "bytes_sent")
Texts: TypeAlias = tuple[str | None, ...]
Counts: TypeAlias = tuple[int, int | None, int | None, int | None]


class Writer:
    """The rows of one process.

    Args:
        process: 16 hex digits, new for every process.
        redactor: the rules of the application.
        bits: returns that many random bits.
        headers: names of the request headers that are kept.
        keeps: somebody wants the rows as values, too.
    """

    def __init__(
        self,
        process: str,
        redactor: Redactor,
        bits: Callable[[int], int],
        headers: frozenset[bytes] = frozenset(),
        keeps: bool = False,
    ) -> None:
        self.process = process
        self.seq = 0
        self._redactor = redactor
        self._headers = headers
        self._hashes = redactor.hashes
        self._ids = Ids(bits)
        self._keeps = keeps
        self._brief = Brief(process, redactor)
        self._chain = START

    def rows(self, events: Iterable[Event]) -> Block:
        """A row for each event, in the order they happened."""
        first, parts, rows = self.seq + 1, list[bytes](), list[Row]()
        for event in sorted(events, key=_time):
            self.seq = seq = self.seq + 1
            moment = self._ids.next(event.time_us)
            plain = not (self._keeps or self._headers or event.details)
            part = self._brief.part(self._chain, event, seq, *moment) if plain else None
            if part is None:
                fields, values = self._encoded(event, seq, *moment)
                part = self._chain + fields
            self._chain = chain = sha256(part).digest()  # as `chain.link` makes it
            parts.append(part)
            if self._keeps:
                rows.append(Row._make(in_columns((*values, chain))))
        body = LINK.join([*parts, self._chain])[32:] if parts else b""
        return Block(len(parts), rows if self._keeps else None, body, Span(self.process, first, self.seq, self._chain))

    def _encoded(self, event: Event, seq: int, timestamp: int, high: int, low: int) -> tuple[bytes, tuple[Any, ...]]:
        """The fields of any event but its chain, and the values they encode."""
        flags: list[str] = []
        texts = self._texts(event, flags)
        counts = _counts(event)
        raw = (high << 64 | low).to_bytes(16, "big")
        hit, anomaly = event.decision == "limited", bool(event.anomaly)
        found = None if flags else short(texts, _LIMITS)
        try:
            fields = numbers(timestamp, raw, seq, SCHEMA, hit, anomaly, *counts)
        except (struct.error, TypeError):
            counts, found = _whole(counts, flags), None
            fields = numbers(timestamp, raw, seq, SCHEMA, hit, anomaly, *counts)
        if found is None:
            texts = _cleaned(event, texts, flags)
            found = long(texts)
        return fields + found, (timestamp, spelled(high, low), seq, SCHEMA, hit, anomaly, *counts, *texts)

    def _texts(self, event: Event, flags: list[str]) -> Texts:
        """The texts as `TEXTS` names them, redacted, not cleaned."""
        redactor, path, query, ip = self._redactor, event.path, event.query, event.ip
        user, actor, session, target, peer = event.user, event.actor, event.session, event.target, event.peer
        if self._hashes:
            user, actor, session, target, ip, peer = map(redactor.person, (user, actor, session, target, ip, peer))
        details = self._details(event) if event.details or self._headers else None
        return (
            self.process,
            event.kind or "",
            event.action or "",
            event.outcome or "",
            user,
            ip,
            None if ip is None else event.ip_source,
            peer,
            event.method,
            event.route,
            None if path is None else redactor.value(path),
            None if query is None else redactor.query(query),
            event.user_agent,
            event.request_id,
            event.decision,
            actor,
            session,
            target,
            event.tenant,
            event.trace_id,
            event.campaign,
            None,
            listed((*event.reasons, *event.policies)) if event.reasons or event.policies else None,
            None,
            encoded(details, flags) if details else None,
        )

    def _details(self, event: Event) -> Mapping[str, Any]:
        details = self._redactor.details(event.details) if event.details else event.details
        if self._headers and event.headers and (kept := self._redactor.headers(event.headers, self._headers)):
            return {**details, "headers": kept}
        return details


def _cleaned(event: Event, texts: Texts, flags: list[str]) -> Texts:
    """Texts that every database takes; what was done to them is told in one of them."""
    found = [clean(name, text, flags) if name in LIMITS else text for name, text in zip(TEXTS, texts, strict=True)]
    if flags:
        found[_FLAGS] = listed(flags)
    if event.path is not None and any(flag.endswith(":endpoint") for flag in flags):
        found[_DIGEST] = digest(event.path)
    return tuple(found)


def _whole(counts: Counts, flags: list[str]) -> Counts:
    """Numbers that every database takes."""
    count, status, latency, sent = counts
    times = whole("count", count, flags)
    return (
        1 if times is None else times,
        whole("status_code", status, flags),
        whole("latency_us", latency, flags),
        whole("bytes_sent", sent, flags),
    )
