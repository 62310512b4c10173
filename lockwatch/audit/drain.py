"""Delivers what dead processes left in their spools, as fast as the database takes it: in a process of its own, no worker."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from typing import Final, NamedTuple

from lockwatch.audit.block import Block
from lockwatch.audit.orphans import NAME
from lockwatch.audit.pack import unpacked
from lockwatch.audit.sinks import Sink
from lockwatch.spool.database import Database
from lockwatch.spool.directory import Directory
from lockwatch.spool.journal import Journal

PAGE: Final = 10_000
"""Rows that are delivered at once, about."""
BYTES: Final = 8 * 2**20
"""Bytes, about, where rows are long."""
RECORDS: Final = 32
"""Records that are read at once."""


class Shipped(NamedTuple):
    """What came of one spool, so far.

    Attributes:
        file: its name.
        rows: delivered.
        damaged: records that could not be read. Then the spool is left to an application, which declares the gap.
        others: sinks that have not had everything; the spool is kept for them.
        done: nothing is left to deliver.
    """

    file: str
    rows: int
    damaged: int = 0
    others: tuple[str, ...] = ()
    done: bool = False


async def drain(directory: Directory, sink: Sink) -> AsyncIterator[Shipped]:
    """Deliver every orphaned spool to a sink; tells how each comes along. Raises: SinkError, SpoolError."""
    opened: list[Journal] = []  # until the end, so that what is left in one does not have it adopted again
    try:
        while (claim := directory.adopt(NAME)) is not None:
            opened.append(Journal(Database(claim)))
            async for shipped in _ship(opened[-1], sink):
                yield shipped
    finally:
        for journal in opened:
            journal.close()


def waiting(directory: Directory) -> Iterator[tuple[str, int]]:
    """The spools there are, also those of processes that live, and how many bytes each has."""
    for claim in directory.look(NAME):
        yield claim.path.name, claim.path.stat().st_size


async def _ship(journal: Journal, sink: Sink) -> AsyncIterator[Shipped]:
    names = journal.readers()
    mine = [name for name in names if _place(name) == _place(sink.name)] or [sink.name]
    done = Shipped(journal.database.claim.path.name, 0)
    at = min(journal.at(name) for name in mine)
    page = await asyncio.to_thread(_read, journal, at)
    delivery = asyncio.ensure_future(_deliver(sink, page.rows))
    try:
        while page.last > at:  # reading and deleting are done while the sink has something to do
            following = await asyncio.to_thread(_read, journal, page.last)
            await delivery
            sent, page = page, following
            delivery = asyncio.ensure_future(_deliver(sink, page.rows))
            at = sent.last
            done = done._replace(rows=done.rows + len(sent.rows), damaged=done.damaged + sent.damaged)
            if not done.damaged:
                await asyncio.to_thread(journal.acknowledge, dict.fromkeys(mine, at), names or mine)
            yield done
    finally:
        delivery.cancel()
        await asyncio.gather(delivery, return_exceptions=True)
    others = tuple(name for name in names if name not in mine and journal.at(name) < at)
    yield done._replace(others=others, done=True)


async def _deliver(sink: Sink, rows: Block) -> None:
    if rows:
        await sink.write(rows)


class _Page(NamedTuple):
    rows: Block
    last: int
    damaged: int


def _read(journal: Journal, after: int) -> _Page:
    """Some records, about `PAGE` rows of them; they are sent as they were kept."""
    blocks: list[Block] = []
    damaged, last = 0, after
    while sum(map(len, blocks)) < PAGE and sum(map(_size, blocks)) < BYTES:
        records = journal.after(last, RECORDS)
        for record in records:
            try:
                blocks.append(unpacked(record.body or b""))
            except (ValueError, KeyError, TypeError):
                damaged += 1
            last = record.n
        if len(records) < RECORDS:
            break
    return _Page(Block.joined(blocks), last, damaged)


def _size(block: Block) -> int:
    return len(block.body)


def _place(name: str) -> str:
    """A sink without the user who logs in: the owner may deliver what the writer could not."""
    return re.sub(r"^([a-z+]+://)[^/@]*@", r"\1", name)
