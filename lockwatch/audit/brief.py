"""The short way from an event to its encoding: what repeats from request to request is encoded once and remembered. Pure.

It knows only what most events are: clean texts of the usual lengths, numbers that fit, no details. For anything else the answer is
None, and the writer does it the long way, to the same bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from struct import Struct
from typing import Any, Final

from lockwatch.audit.clean import LIMITS, listed
from lockwatch.audit.encoding import SINCE_2000, lengths, short
from lockwatch.audit.redact import Redactor
from lockwatch.audit.row import SCHEMA
from lockwatch.event import Event

MOST: Final = 1024
"""Groups of fields of one kind that are remembered; then it begins anew."""
LONGEST: Final = 1024
"""Characters of a group that is remembered."""
_HEAD: Final = Struct(">hi").pack(36, 8)
_OF_16, _OF_8, _ABSENT = (number.to_bytes(4, "big", signed=True) for number in (16, 8, -1))
_FLAGS: Final = Struct("> ii iB iB iq")
_ORDINARY: Final = _FLAGS.pack(4, SCHEMA, 1, 0, 1, 0, 8, 1)
"""No limit was hit, no rule points at it, and it stands for itself."""
_NUMBERS: Final = Struct(f"> 6s q 4s QQ 4s q {_FLAGS.size}s ii iq iq")
_PEER: Final = b"\0\0\0\4peer"
_LENGTHS: Final = [n.to_bytes(4, "big") for n in range(2049)]
_TOLD: Final = ("campaign_id", "endpoint_sha256", "reasons", "flags", "details")
_NOTHING_TOLD: Final = _ABSENT * len(_TOLD)
_TOLD_LIMITS: Final = [lengths(LIMITS.get(name, 2048)) for name in _TOLD]


class Remembered(dict[tuple[str | None, ...], bytes | None]):
    """Fields by the values they are made of.

    Args:
        names: of the columns.
        texts: the texts of these columns, from the values; None when the values are the texts.
    """

    def __init__(self, names: tuple[str, ...], texts: Callable[..., tuple[str | None, ...]] | None = None) -> None:
        super().__init__()
        self._limits = [lengths(LIMITS.get(name, 2048)) for name in names]
        self._texts = texts

    def __missing__(self, key: tuple[str | None, ...]) -> bytes | None:
        """Encode, and remember unless it is too much."""
        texts = key if self._texts is None else self._texts(*key)
        found = short(texts, self._limits)
        if found is not None and (texts is key or sum(map(len, filter(None, key))) <= LONGEST):
            if len(self) >= MOST:
                self.clear()
            self[key] = found
        return found


class Brief:
    """Encodes the events of one process.

    Args:
        process: 16 hex digits.
        redactor: the rules of the application.
    """

    def __init__(self, process: str, redactor: Redactor) -> None:
        person, self._value, self._query = redactor.person, redactor.value, redactor.query
        self._what = Remembered(
            ("process", "kind", "action", "outcome"),
            lambda kind, action, outcome: (process, kind or "", action or "", outcome or ""),
        )
        self._hashes = hashes = redactor.hashes
        self._user = Remembered(("user_id",), (lambda user: (person(user),)) if hashes else None)
        self._peer = Remembered(
            ("ip", "ip_source", "peer_ip"), (lambda ip, source, peer: (person(ip), source, person(peer))) if hashes else None
        )
        self._where = Remembered(("method", "route"))
        self._there = Remembered(
            ("method", "route", "endpoint"),
            lambda method, route: (method, route, None if route is None else self._value(route)),
        )
        self._agent = Remembered(("user_agent",))
        self._by = Remembered(
            ("decision", "actor", "session", "target", "tenant"),
            (lambda decision, *whom: (decision, *map(person, whom[:3]), whom[3])) if hashes else None,
        )

    def part(self, chain: bytes, event: Event, seq: int, timestamp: int, high: int, low: int) -> bytes | None:
        """`chain` and the fields of an event without `details`; None when that takes the long way."""
        path, route, query, ip, peer = event.path, event.route, event.query, event.ip, event.peer
        same = path == route
        try:
            found = (
                chain,
                self._numbers(event, seq, timestamp, high, low),
                self._what[event.kind, event.action, event.outcome],
                self._user[(event.user,)],
                self._address(ip, event.ip_source, peer),
                (self._there if same else self._where)[event.method, route],
                b"" if same else _ABSENT if path is None else _field(self._value(path), 2048),
                _ABSENT if query is None else _field(self._query(query), 2048),
                self._agent[(event.user_agent,)],
                _ABSENT if event.request_id is None else _field(event.request_id, 128),
                self._by[event.decision, event.actor, event.session, event.target, event.tenant],
                _ABSENT if event.trace_id is None else _field(event.trace_id, 64),
                _told(event) if event.reasons or event.policies or event.campaign else _NOTHING_TOLD,
            )
            return b"".join(found)  # type: ignore[arg-type]
        except (struct.error, TypeError, AttributeError):  # a value that is not there, or none of ours
            return None

    def _address(self, ip: str | None, source: str, peer: str | None) -> bytes | None:
        """Fields of the address. Where there is no proxy it is that of the peer, and new too often to be looked up."""
        if ip is None or ip != peer or source != "peer" or self._hashes:
            return self._peer[ip, None if ip is None else source, peer]
        field = _field(ip, 64)
        return None if field is None else field + _PEER + field

    @staticmethod
    def _numbers(event: Event, seq: int, timestamp: int, high: int, low: int) -> bytes:
        """Raises: struct.error."""
        hit, count = event.decision == "limited", event.count
        flags = (
            _FLAGS.pack(4, SCHEMA, 1, hit, 1, bool(event.anomaly), 8, count) if hit or event.anomaly or count != 1 else _ORDINARY
        )
        return _NUMBERS.pack(
            _HEAD,
            timestamp - SINCE_2000,
            _OF_16,
            high,
            low,
            _OF_8,
            seq,
            flags,
            4,
            event.status,
            8,
            event.latency_us,
            8,
            event.bytes_sent,
        )


def _field(text: str, most: int) -> bytes | None:
    """A text that no other event will have. None when it has to be cleaned."""
    if text.isascii() and len(text) <= most and "\0" not in text:
        return _LENGTHS[len(text)] + text.encode()
    return None


def _told(event: Event) -> bytes | None:
    """What a rule or a limit says about it."""
    reasons: Any = listed((*event.reasons, *event.policies)) if event.reasons or event.policies else None
    return short((event.campaign, None, reasons, None, None), _TOLD_LIMITS)
