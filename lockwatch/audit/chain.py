"""The hash chain of a process: every row is bound to all rows before it. Pure.

The encoding of a row is made of what any database gives back unchanged: whole numbers and texts. So a row read from Postgres, from
SQLite or from an export has the encoding it was written with:

- times are whole microseconds since 1970, ids UUIDs in lower case, booleans 0 or 1;
- addresses are the texts that were written (no ``inet``, which would spell them anew);
- JSON is the text that was written, compact, with non-ASCII characters as they are (no ``jsonb``, which would order keys anew);
- absent and empty are different.
"""

from __future__ import annotations

from hashlib import sha256
from operator import itemgetter
from struct import Struct
from typing import Final

from lockwatch.audit.row import COLUMNS, Row

START: Final = bytes(32)
"""What the first row of a process follows."""
_NUMBERS: Final = ("timestamp", "seq", "rate_limit_hit", "anomaly_detected", "count", "schema_v")
_MAYBE: Final = ("status_code", "latency_us", "bytes_sent")
_TEXTS: Final = tuple(name for name in COLUMNS if name not in {*_NUMBERS, *_MAYBE, "chain"})
_numbers: Final = itemgetter(*map(COLUMNS.index, (*_NUMBERS, *_MAYBE)))
_texts: Final = itemgetter(*map(COLUMNS.index, _TEXTS))
_HEAD: Final = "lockwatch-row-1" + " %d" * len(_NUMBERS) + " %s" * len(_MAYBE) + "\n"
_LENGTHS: Final = Struct(f">{len(_TEXTS)}i")
ENCODED_SCHEMAS: Final = frozenset({1})
"""Versions of `Row` whose encoding this release knows."""


def encoding(row: Row) -> bytes:
    """A row without its `chain`, as bytes that no other row has.

    A line of numbers in ASCII (``None`` where there is none), the length of each text in characters (32 bits, big-endian, -1 where
    there is none), then the texts without anything between them, in UTF-8.
    """
    texts = _texts(row)
    head = (_HEAD % _numbers(row)).encode()
    lengths = _LENGTHS.pack(*[-1 if text is None else len(text) for text in texts])
    return b"%b%b%b" % (head, lengths, "".join(filter(None, texts)).encode("utf-8", "surrogatepass"))


def link(previous: bytes, row: Row) -> bytes:
    """The chain of a row: SHA-256 over the chain of the row before it in its process, and over the row.

    Args:
        previous: `chain` of the row before, 32 bytes; empty for the first row of a process.
        row: whose own `chain` does not count.
    """
    return sha256((previous or START) + encoding(row)).digest()
