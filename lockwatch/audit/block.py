"""Some rows, as values and as the bytes Postgres takes: each is made from the other when it is asked for. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, overload

from lockwatch.audit.encoding import rows_in, tuple_of
from lockwatch.audit.row import Row


class Span(NamedTuple):
    """Who wrote some rows, the numbers of the first and the last, and the chain of the last."""

    process: str
    first: int
    last: int
    chain: bytes


class Block(Sequence[Row]):
    """Rows in the order they were written.

    Args:
        count: how many.
        rows: None, when only `body` is there.
        body: their encodings, one after another; None, when only `rows` is there.
        span: of the rows, where that is known without a look at them.
    """

    __slots__ = ("_body", "_count", "_rows", "_span")

    def __init__(self, count: int, rows: list[Row] | None, body: bytes | None, span: Span | None = None) -> None:
        self._count, self._rows, self._body, self._span = count, rows, body, span

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Block:
        """Rows, which may be a block already."""
        return rows if isinstance(rows, Block) else cls(len(rows), list(rows), None)

    @classmethod
    def joined(cls, blocks: Sequence[Block]) -> Block:
        """Several as one."""
        if len(blocks) == 1:
            return blocks[0]
        lists, bodies = [block._rows for block in blocks], [block._body for block in blocks]
        rows = None if None in lists else [row for part in lists if part is not None for row in part]
        encoded = rows is None or None not in bodies
        return cls(sum(map(len, blocks)), rows, b"".join([block.body for block in blocks]) if encoded else None)

    @property
    def body(self) -> bytes:
        """The tuples of COPY, without what begins and ends them. Raises: Unencodable."""
        if self._body is None:
            self._body = b"".join(map(tuple_of, self._listed()))
        return self._body

    @property
    def span(self) -> Span:
        """Of the rows; there is one at least."""
        if self._span is None:
            first, last = self[0], self[-1]
            self._span = Span(first.process, first.seq, last.seq, last.chain)
        return self._span

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Row]:
        return iter(self._listed())

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> list[Row]: ...
    def __getitem__(self, place: int | slice) -> Row | list[Row]:
        return self._listed()[place]

    def _listed(self) -> list[Row]:
        """Raises: ValueError, when `body` holds no rows."""
        if self._rows is None:
            self._rows = rows_in(self._body or b"")
        return self._rows
