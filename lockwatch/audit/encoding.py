"""A row as bytes: the fields of a tuple in the binary format of PostgreSQL's COPY. Pure.

One encoding serves three purposes, so that it is made once: the chain is made over it, the spool keeps it, and Postgres takes it.

How many fields there are, in 16 bits. Then every field, in the order of `ORDER`: its length in bytes (32 bits, -1 for an absent
value) and its value. Numbers are big-endian; `timestamp` is in microseconds since 2000, `id` the 16 bytes of the UUID, booleans are
one byte, texts in UTF-8.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from operator import itemgetter
from struct import Struct
from typing import Any, Final

from lockwatch.audit.row import COLUMNS, Row

NUMBERS: Final = (
    *("timestamp", "id", "seq", "schema_v", "rate_limit_hit", "anomaly_detected"),
    *("count", "status_code", "latency_us", "bytes_sent"),
)
RARE: Final = ("actor", "session", "target", "tenant", "trace_id", "campaign_id", "endpoint_sha256", "reasons", "flags", "details")
"""Texts that most rows have none of."""
TEXTS: Final = (*[name for name in COLUMNS if name not in {*NUMBERS, *RARE, "chain"}], *RARE)
ORDER: Final = (*NUMBERS, *TEXTS, "chain")
"""The columns as the fields have them."""
SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
"""What tuples for COPY begin with; no flags, no extension."""
END: Final = b"\xff\xff"
"""What they end with."""
LINK: Final = b"\0\0\0\x20"
"""What comes before a chain of 32 bytes."""
SINCE_2000: Final = 946_684_800 * 10**6
"""Microseconds from 1970 to 2000."""
_FORM: Final = "> h iq i16s iq ii iB iB iq "
_HEAD, _WHOLE = Struct(_FORM), Struct(_FORM + "ii iq iq")
_SHORT, _LONG, _LENGTH = Struct(">ii"), Struct(">iq"), Struct(">i")
_NONE: Final = _LENGTH.pack(-1)
_ABSENT: Final = _NONE.decode("latin-1")
_COMMON: Final = len(TEXTS) - len(RARE)
_NO_TEXTS: Final = (None,) * len(RARE)
_NO_FIELDS: Final = _NONE * len(RARE)
_LENGTHS: Final = [_LENGTH.pack(n).decode("latin-1") for n in range(2049)]
"""Lengths of short texts, as characters."""
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_texts: Final = itemgetter(*map(COLUMNS.index, TEXTS))
_numbers: Final = itemgetter(*map(COLUMNS.index, NUMBERS))
in_columns: Final = itemgetter(*map(ORDER.index, COLUMNS))
"""Values in the order of `ORDER` as a `Row` has them."""


class Unencodable(ValueError):
    """A row has a value that its column cannot hold."""


def lengths(most: int) -> list[str]:
    """Lengths of texts up to `most` characters, for `short`."""
    return _LENGTHS[: most + 1]


def short(texts: Sequence[str | None], limits: Sequence[list[str]]) -> bytes | None:
    """Fields of texts that are ASCII without NUL and no longer than their limits (`lengths`); None when one is not."""
    rest = b""
    if texts[_COMMON:] == _NO_TEXTS:
        texts, rest = texts[:_COMMON], _NO_FIELDS
    whole = "".join(filter(None, texts))
    if not whole.isascii() or "\0" in whole:
        return None
    try:
        found = "".join([_ABSENT if t is None else known[len(t)] + t for t, known in zip(texts, limits, strict=False)])
    except IndexError:
        return None
    return found.encode("latin-1") + rest


def long(texts: Sequence[str | None]) -> bytes:
    """Fields of any texts. Half of a surrogate pair is kept: Postgres refuses it."""
    found = [None if text is None else text.encode("utf-8", "surrogatepass") for text in texts]
    return b"".join([_NONE if field is None else _LENGTH.pack(len(field)) + field for field in found])


def numbers(
    timestamp: int, raw_id: bytes, seq: int, schema: int, hit: int, anomaly: int, count: int, status: Any, latency: Any, sent: Any
) -> bytes:
    """The number of fields, and the first ones. Raises: struct.error, for a number its column has no room for."""
    head = 36, 8, timestamp - SINCE_2000, 16, raw_id, 8, seq, 4, schema, 1, hit, 1, anomaly, 8, count
    if status is not None and latency is not None and sent is not None:
        return _WHOLE.pack(*head, 4, status, 8, latency, 8, sent)
    maybe = [_NONE if status is None else _SHORT.pack(4, status)]
    maybe += [_NONE if number is None else _LONG.pack(8, number) for number in (latency, sent)]
    return _HEAD.pack(*head) + b"".join(maybe)


def fields(row: Row) -> bytes:
    """A row without its `chain`. Raises: Unencodable."""
    try:
        timestamp, row_id, *others = _numbers(row)
        if not _ID.fullmatch(row_id):
            raise Unencodable(f"id {row_id!r} is no UUID in lower case")
        texts = _texts(row)
        return numbers(timestamp, bytes.fromhex(row_id.replace("-", "")), *others) + (short(texts, _ANY) or long(texts))
    except (struct.error, TypeError, AttributeError) as error:
        raise Unencodable(str(error)) from None


def tuple_of(row: Row) -> bytes:
    """A row as COPY takes it. Raises: Unencodable."""
    return fields(row) + _LENGTH.pack(len(row.chain)) + row.chain


def rows_in(data: bytes) -> list[Row]:
    """The rows of tuples one after another. Raises: ValueError."""
    found: list[Row] = []
    at = 0
    try:
        while at < len(data):
            values, at = _values(data, at)
            found.append(Row._make(in_columns(values)))
    except (struct.error, IndexError) as error:
        raise ValueError(f"rows end in the middle: {error}") from None
    return found


def named(data: bytes, columns: Sequence[str]) -> list[Row]:
    """The same where another version wrote the tuples, with other columns; those that are unknown here are left out."""
    found: list[Row] = []
    at = 0
    try:
        while at < len(data):
            (amount,), at = struct.unpack_from(">h", data, at), at + 2
            raw: list[bytes | None] = []
            for _ in range(amount):
                field, at = _field(data, at)
                raw.append(field)
            given = dict(zip(columns, raw, strict=True))
            found.append(Row(**{name: _READ.get(name, _text)(given[name]) for name in COLUMNS if name in given}))
    except (struct.error, IndexError) as error:
        raise ValueError(f"rows end in the middle: {error}") from None
    return found


def _values(data: bytes, at: int) -> tuple[list[Any], int]:
    """The values of one tuple in the order of `ORDER`, and where the next one begins."""
    _, _, time, _, raw, _, seq, _, schema, _, hit, _, anomaly, _, count = _HEAD.unpack_from(data, at)
    values: list[Any] = [time + SINCE_2000, _spelled(raw), seq, schema, bool(hit), bool(anomaly), count]
    at += _HEAD.size
    for _ in range(3):
        field, at = _field(data, at)
        values.append(_number(field))
    length_at = _LENGTH.unpack_from
    for _ in TEXTS:
        (size,) = length_at(data, at)
        at += 4
        if size < 0:
            values.append(None)
        else:
            values.append(data[at : at + size].decode("utf-8", "surrogatepass"))
            at += size
    chain, at = _field(data, at)
    values.append(chain)
    return values, at


def _field(data: bytes, at: int) -> tuple[bytes | None, int]:
    (size,) = _LENGTH.unpack_from(data, at)
    at += 4
    if at + size > len(data):
        raise IndexError("a field is longer than what there is")
    return (None, at) if size < 0 else (data[at : at + size], at + size)


def _spelled(raw: bytes | None) -> str:
    text = (raw or b"").hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _number(raw: bytes | None) -> int | None:
    return None if raw is None else int.from_bytes(raw, "big", signed=True)


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode("utf-8", "surrogatepass")


def _moment(raw: bytes | None) -> int:
    return (_number(raw) or 0) + SINCE_2000


_ANY: Final = (_LENGTHS,) * len(TEXTS)
_READ: Final[dict[str, Any]] = {
    **dict.fromkeys(("seq", "count", "schema_v", "status_code", "latency_us", "bytes_sent"), _number),
    **dict.fromkeys(("rate_limit_hit", "anomaly_detected"), lambda raw: bool(_number(raw))),
    "timestamp": _moment,
    "id": _spelled,
    "chain": bytes,
}
