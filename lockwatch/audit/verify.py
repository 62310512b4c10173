"""Checks the audit log against its chains and what was sealed of them. Pure: rows in, findings out, in one pass.

Rows come by time, and are put in the order of their numbers for each process. Memory holds one state for each process, the sealed
heads, and at most `AHEAD` rows that wait for one before them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Final, NamedTuple

from lockwatch.audit.chain import ENCODED_SCHEMAS, START, link
from lockwatch.audit.checkpoint import Anchor, Checkpoint, moment
from lockwatch.audit.findings import Finding, Gap, gap_of
from lockwatch.audit.row import Row

AHEAD: Final = 20_000
"""Rows that wait for an earlier one, over all processes. Then the earlier one is taken for missing."""
HOLES: Final = 1000
"""Holes of a process that a gap may still explain. Older ones are reported."""
_SUSPECTS: Final = 16


class _Hole(NamedTuple):
    first: int
    last: int
    after: Row | None


@dataclass(slots=True)
class _Chain:
    """How far the chain of a process was followed. `previous` is None when the row before is not there."""

    seq: int = 0
    previous: bytes | None = START
    timestamp: int | None = None
    waiting: list[tuple[int, str, Row]] = field(default_factory=list)
    holes: list[_Hole] = field(default_factory=list)
    suspects: list[tuple[bytes, Row]] = field(default_factory=list)


class Verification:
    """One pass over a log.

    Args:
        checkpoints: whose signatures and order hold.
        anchors: of pruned chains, whose signatures hold or are not asked for.
        aside: rows that the database refused and that were put aside.
        excerpt: the rows are a part of a log, by time: chains may begin and end anywhere.
    """

    def __init__(
        self,
        checkpoints: Iterable[Checkpoint] = (),
        anchors: Iterable[Anchor] = (),
        aside: Iterable[Row] = (),
        excerpt: bool = False,
    ) -> None:
        self.rows = 0
        self.unprovable = 0
        self.after_sealed = 0
        self.gaps: list[Gap] = []
        self.found: Counter[str] = Counter()
        self._chains: dict[str, _Chain] = {}
        self._waiting = 0
        self._excerpt = excerpt
        self._aside = {(row.process, row.seq): row for row in aside}
        self._anchors: dict[str, list[Anchor]] = {}
        for anchor in anchors:
            self._anchors.setdefault(anchor.process, []).append(anchor)
        self._sealed: dict[tuple[str, int], tuple[bytes, int]] = {}
        self._last_sealed: dict[str, int] = {}
        self._seals: dict[str, list[tuple[int, int]]] = {}
        for checkpoint in checkpoints:
            for head in checkpoint.heads:
                self._sealed[head.process, head.seq] = head.chain, checkpoint.time_us
                self._last_sealed[head.process] = head.seq
                self._seals.setdefault(head.process, []).append((head.seq, checkpoint.time_us))

    @property
    def chains(self) -> int:
        """Processes seen."""
        return len(self._chains)

    def feed(self, row: Row) -> Iterator[Finding]:
        """Take the next row by time. Run it to its end."""
        self.rows += 1
        chain = self._chains.setdefault(row.process, _Chain())
        if row.seq <= chain.seq:
            yield self._late(chain, row)
            return
        heappush(chain.waiting, (row.seq, row.id, row))
        self._waiting += 1
        yield from self._advance(chain)
        if self._waiting > AHEAD:
            yield from self._give_up(max(self._chains.values(), key=lambda c: len(c.waiting)))

    def finish(self) -> Iterator[Finding]:
        """The log has ended. Run it to its end."""
        for process in self._last_sealed:
            self._chains.setdefault(process, _Chain(seq=self._pruned_until(process)))
        for process, chain in self._chains.items():
            while chain.waiting:
                yield from self._give_up(chain)
            yield from self._take_aside(process, chain)
            for hole in chain.holes:
                yield from self._explain(process, hole)
            yield from self._compare_end(process, chain)

    def _advance(self, chain: _Chain) -> Iterator[Finding]:
        """Go on while the next number is there."""
        while chain.waiting and (chain.waiting[0][0] <= chain.seq + 1 or self._aside):
            if chain.waiting[0][0] > chain.seq + 1:
                process = chain.waiting[0][2].process
                if (process, chain.seq + 1) not in self._aside:
                    return
                yield from self._take_aside(process, chain)
                continue
            row = heappop(chain.waiting)[2]
            self._waiting -= 1
            if row.seq == chain.seq:
                yield self._late(chain, row)
            else:
                yield from self._check(chain, row)

    def _late(self, chain: _Chain, row: Row) -> Finding:
        """A row whose number was passed already."""
        for i, hole in enumerate(chain.holes):
            if hole.first <= row.seq <= hole.last:
                rest = _Hole(hole.first, row.seq - 1, row), _Hole(row.seq + 1, hole.last, hole.after)
                chain.holes[i : i + 1] = [part for part in rest if part.first <= part.last]
                return self._note("moved", row, f"it stands more than {AHEAD} rows after its place: its time was changed")
        if any(row.seq == other.seq and link(before, row) == row.chain for before, other in chain.suspects):
            chain.previous = row.chain if row.seq == chain.seq else chain.previous
            return self._note("inserted", row, "another row was inserted with its number; this one follows from the row before")
        return self._note("inserted", row, "its number is taken: it was inserted, or its number was changed")

    def _take_aside(self, process: str, chain: _Chain) -> Iterator[Finding]:
        while (row := self._aside.pop((process, chain.seq + 1), None)) is not None:
            yield from self._check(chain, row)

    def _give_up(self, chain: _Chain) -> Iterator[Finding]:
        """Take what is missing before the first row that waits for lost."""
        row = chain.waiting[0][2]
        first, last = chain.seq + 1, row.seq - 1
        chain.seq, chain.previous = last, self._anchored(row.process, last)
        unknown = None if chain.previous else row
        first = max(first, self._pruned_until(row.process) + 1)
        if first <= last and not (self._excerpt and first == 1):
            chain.holes.append(_Hole(first, last, unknown))
        self.unprovable += unknown is not None
        if len(chain.holes) > HOLES:
            yield from self._explain(row.process, chain.holes.pop(0))
        yield from self._advance(chain)

    def _check(self, chain: _Chain, row: Row) -> Iterator[Finding]:
        """Compare a row with the one before it and with what was sealed, and step over it."""
        previous, chain.previous, chain.seq, chain.timestamp = chain.previous, row.chain, row.seq, row.timestamp
        if not row.chain:
            yield self._note("unchained", row, "it has no chain")
        elif row.schema_v not in ENCODED_SCHEMAS:
            yield self._note("unknown", row, f"it has version {row.schema_v}: check it with a newer release of lockwatch")
        elif previous is not None and link(previous, row) != row.chain:
            yield from self._suspect(chain, previous, row)
        sealed = self._sealed.pop((row.process, row.seq), None)
        if sealed is not None and sealed[0] != row.chain:
            yield self._note("rewritten", row, f"the checkpoint of {moment(sealed[1])} sealed another chain up to here")
        self.after_sealed += row.seq > self._last_sealed.get(row.process, 0)
        if row.action == "gap" and row.kind == "system":
            self.gaps.append(gap_of(row))

    def _suspect(self, chain: _Chain, previous: bytes, row: Row) -> Iterator[Finding]:
        """A row that does not follow: was it changed, or does it stand in the place of another?"""
        for before, other in chain.suspects:
            if link(other.chain, row) == row.chain:
                return
            if link(before, row._replace(seq=other.seq)) in (row.chain, other.chain):
                text = f"it was written as row {other.seq}: the two changed places"
                yield self._note("moved", row, text)
                break
        else:
            yield self._note("edited", row, "it does not follow from the row before: it was changed, or that one with its chain")
        chain.suspects = [*chain.suspects[1 - _SUSPECTS :], (previous, row)]

    def _explain(self, process: str, hole: _Hole) -> Iterator[Finding]:
        """What is missing, less what gaps declare."""
        first = hole.first
        for gap in sorted(gap for gap in self.gaps if gap.process == process and gap.first):
            if gap.last < first or gap.first > hole.last:
                continue
            if gap.first > first:
                yield self._missing(process, first, gap.first - 1, hole.after)
            sealed = self._sealed_at(process, min(gap.last, hole.last))
            if sealed is not None and gap.timestamp > sealed:
                late = f", and the gap of {moment(gap.timestamp)} that declares it is younger than the checkpoint that sealed it"
                yield self._missing(process, max(first, gap.first), min(gap.last, hole.last), hole.after, late)
            first = gap.last + 1
            if gap.last == hole.last and gap.chain and hole.after is not None:
                self.unprovable -= 1
                if link(gap.chain, hole.after) != hole.after.chain:
                    yield self._note("edited", hole.after, "it does not follow from the chain that the gap before it tells")
        if first <= hole.last:
            yield self._missing(process, first, hole.last, hole.after)

    def _compare_end(self, process: str, chain: _Chain) -> Iterator[Finding]:
        """Sealed heads that were not met: the rows up to them are gone, unless pruning or a gap says so."""
        last = self._last_sealed.get(process, 0)
        if last <= max(chain.seq, self._pruned_until(process)) or self._excerpt:
            return
        when = moment(self._sealed[process, last][1])
        text = f"rows {chain.seq + 1} to {last} are missing at the end: the checkpoint of {when} sealed row {last}"
        self.found["truncated"] += 1
        yield Finding("truncated", process, chain.seq + 1, last, None, chain.timestamp, text)

    def _sealed_at(self, process: str, seq: int) -> int | None:
        """When a row was first sealed."""
        seals = self._seals.get(process, [])
        place = bisect_left(seals, (seq, 0))
        return seals[place][1] if place < len(seals) else None

    def _missing(self, process: str, first: int, last: int, after: Row | None, why: str = ", and no gap declares it") -> Finding:
        self.found["missing"] += 1
        rows = f"row {first} is" if first == last else f"rows {first} to {last} are"
        text = f"{rows} missing{why}"
        return Finding("missing", process, first, last, None, after.timestamp if after else None, text)

    def _note(self, kind: str, row: Row, text: str) -> Finding:
        self.found[kind] += 1
        return Finding(kind, row.process, row.seq, row.seq, row.id, row.timestamp, text)

    def _pruned_until(self, process: str) -> int:
        return max((anchor.seq for anchor in self._anchors.get(process, ())), default=0)

    def _anchored(self, process: str, seq: int) -> bytes | None:
        return next((anchor.chain for anchor in self._anchors.get(process, ()) if anchor.seq == seq), None)
