"""The hash chain of a process: every row is bound to all rows before it. Pure.

It is made over the encoding of a row (`lockwatch.audit.encoding`), which consists of what any database gives back unchanged: whole
numbers and texts. So a row read from Postgres, from SQLite or from an export has the encoding it was written with:

- times are whole microseconds, ids UUIDs in lower case, booleans 0 or 1;
- addresses are the texts that were written (no ``inet``, which would spell them anew);
- JSON is the text that was written, compact, with non-ASCII characters as they are (no ``jsonb``, which would order keys anew);
- absent and empty are different.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Final

from lockwatch.audit.encoding import Unencodable, fields
from lockwatch.audit.row import Row

START: Final = bytes(32)
"""What the first row of a process follows."""
ENCODED_SCHEMAS: Final = frozenset({1})
"""Versions of `Row` whose encoding this release knows."""


def encoding(row: Row) -> bytes:
    """A row without its `chain`, as bytes that no other row has.

    One with a value that its column has no room for, as somebody may put it into SQLite, is a question mark and a JSON list.
    """
    try:
        return fields(row)
    except Unencodable:
        values = [int(value) if isinstance(value, bool) else value for value in row[:-1]]
        return b"?" + json.dumps(values, default=repr).encode()


def link(previous: bytes, row: Row) -> bytes:
    """The chain of a row: SHA-256 over the chain of the row before it in its process, and over the row.

    Args:
        previous: `chain` of the row before, 32 bytes; empty for the first row of a process.
        row: whose own `chain` does not count.
    """
    return linked(previous, encoding(row))


def linked(previous: bytes, encoded: bytes) -> bytes:
    """`link` of a row that is encoded already."""
    return sha256((previous or START) + encoded).digest()
