"""Rows as a record of a spool: JSON with the names of the columns, so that the versions before and after can read it. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from lockwatch.audit.row import COLUMNS, Row

_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=bytes.hex)
_HEAD: Final = _ENCODER.encode({"columns": COLUMNS})[:-1]


def packed(rows: Sequence[Row]) -> bytes:
    """The body of a record."""
    return f'{_HEAD},"rows":{_ENCODER.encode(rows)}}}'.encode("utf-8", "surrogatepass")


def unpacked(body: bytes) -> list[Row]:
    """The rows of a record; columns this version does not know are left out. Raises: ValueError."""
    found: dict[str, Any] = json.loads(body.decode("utf-8", "surrogatepass"))
    if tuple(found["columns"]) == COLUMNS:  # nearly always, and several times faster
        return [Row._make([*values, bytes.fromhex(chain)]) for *values, chain in found["rows"]]
    return [_row(dict(zip(found["columns"], values, strict=True))) for values in found["rows"]]


def note_of(rows: Sequence[Row]) -> str:
    """What a record holds, readable also when its body is damaged: process, first and last number, how many."""
    numbers = [row.seq for row in rows]
    return f"{rows[0].process} {min(numbers)} {max(numbers)} {len(rows)}"


def told_by(note: str) -> tuple[str, int, int, int]:
    """Process, first and last number and count, as far as a note tells."""
    process, first, last, count = (*note.split(), "", "0", "0", "0")[:4]
    try:
        return process, int(first), int(last), int(count)
    except ValueError:
        return "", 0, 0, 0


def _row(values: dict[str, Any]) -> Row:
    values["chain"] = bytes.fromhex(values["chain"])
    return Row(**{name: values[name] for name in COLUMNS if name in values})
