"""Rows as a record of a spool: the names of the columns, so that the versions before and after can read it, and the rows as they go
into Postgres. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final, NamedTuple
from zlib import crc32

from lockwatch.audit.block import Block
from lockwatch.audit.encoding import ORDER, named
from lockwatch.audit.row import Row

_HEAD: Final = json.dumps({"columns": ORDER}, separators=(",", ":")).encode() + b"\n"


class Told(NamedTuple):
    """What the note of a record tells about its rows.

    Attributes:
        process: who wrote them; empty when nothing is known.
        first, last: their numbers.
        count: how many.
        chain: of the last one, in hexadecimal.
    """

    process: str = ""
    first: int = 0
    last: int = 0
    count: int = 0  # type: ignore[assignment]
    chain: str = ""


def packed(rows: Sequence[Row]) -> bytes:
    """The body of a record. Raises: Unencodable."""
    block = Block.of(rows)
    return _HEAD + len(block).to_bytes(4, "big") + block.body


def unpacked(body: bytes) -> Block:
    """The rows of a record; columns this version does not know are left out. Raises: ValueError."""
    if body.startswith(_HEAD):  # nearly always, and nothing is looked at
        at = len(_HEAD) + 4
        return Block(int.from_bytes(body[at - 4 : at], "big"), None, body[at:])
    head, line_feed, rest = body.partition(b"\n")
    if not line_feed:
        raise ValueError("a record without the names of its columns")
    return Block.of(named(rest[4:], json.loads(head)["columns"]))


def note_of(rows: Sequence[Row]) -> str:
    """What a record holds, readable also when its body is damaged: `Told`, and a checksum of that."""
    span = Block.of(rows).span
    told = f"{span.process} {span.first} {span.last} {len(rows)} {span.chain.hex()}"
    return f"{told} {crc32(told.encode()):08x}"


def told_by(note: str) -> Told:
    """What a note tells, as far as it is whole."""
    told, _, kept = note.rpartition(" ")
    if f"{crc32(told.encode('utf-8', 'surrogatepass')):08x}" != kept:
        return Told()
    process, first, last, count, chain = told.split(" ")
    return Told(process, int(first), int(last), int(count), chain)
