"""Checkpoints: how far the chain of each process had come, sealed so that nobody can say otherwise later. Pure.

A checkpoint has the form of C2SP tlog-checkpoint: origin, size and root of a tree, then lines of ours. The tree (RFC 6962) has an
entry for each head that was ever sealed, in order; a head is the number and the chain of the last row of a process. So a checkpoint
vouches for every row up to its heads, and for every checkpoint before it.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from lockwatch.audit.merkle import Tree
from lockwatch.errors import EvidenceError

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BODY: Final = re.compile(
    r"(\S+)\n(0|[1-9][0-9]{0,17})\n([A-Za-z0-9+/=]{44})\ntime (\S+)\n((?:head \S+ [0-9]{1,19} [A-Za-z0-9+/=]{44}\n)*)"
)


class Head(NamedTuple):
    """The last row of a process."""

    process: str
    seq: int
    chain: bytes

    @property
    def line(self) -> str:
        """As it stands in a checkpoint, and in the tree."""
        return f"head {self.process} {self.seq} {b64encode(self.chain).decode()}\n"


class Checkpoint(NamedTuple):
    """One checkpoint.

    Attributes:
        origin: name of the log.
        size: entries of the tree.
        root: of the tree.
        time_us: when it was made, microseconds since 1970.
        heads: those that are new since the checkpoint before.
    """

    origin: str
    size: int
    root: bytes
    time_us: int
    heads: tuple[Head, ...]

    @property
    def text(self) -> str:
        """What is signed."""
        top = f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\ntime {moment(self.time_us)}\n"
        return top + "".join(head.line for head in self.heads)


class Anchor(NamedTuple):
    """Where the chain of a process begins after pruning: its last pruned row.

    Attributes:
        signature: a signed note over `text`; None when it was not signed.
    """

    process: str
    seq: int
    chain: bytes
    signature: str | None = None

    @property
    def text(self) -> str:
        """What is signed."""
        return f"lockwatch audit anchor\n{self.process} {self.seq} {b64encode(self.chain).decode()}\n"


class Register:
    """All checkpoints so far, as a list that only grows."""

    def __init__(self) -> None:
        self.origin: str | None = None
        self.time_us = 0
        self.count = 0
        self.heads: dict[str, Head] = {}
        self._tree = Tree()

    def follow(self, checkpoint: Checkpoint) -> None:
        """Take the next checkpoint. Raises: EvidenceError, when it does not go on where the last one ended."""
        when = moment(checkpoint.time_us)
        if self.origin not in (None, checkpoint.origin):
            raise EvidenceError(f"the checkpoint of {when} is of {checkpoint.origin!r}, those before of {self.origin!r}")
        for head in checkpoint.heads:
            known = self.heads.get(head.process)
            if known is not None and head.seq <= known.seq:
                raise EvidenceError(
                    f"the checkpoint of {when} seals row {head.seq} of process {head.process} after row {known.seq}"
                )
            self._add(head)
        if (self._tree.size, self._tree.root) != (checkpoint.size, checkpoint.root):
            raise EvidenceError(
                f"the checkpoint of {when} does not follow the one before: one between them is missing, or was changed"
            )
        self.origin, self.time_us = checkpoint.origin, checkpoint.time_us
        self.count += 1

    def next(self, origin: str, heads: Iterable[Head], time_us: int) -> Checkpoint | None:
        """The checkpoint that comes now; None when no head is new. It is taken when it is stored: give it to `follow` then.

        Raises: EvidenceError, when a head is behind one that is sealed: rows are missing.
        """
        new = sorted(head for head in heads if self._is_new(head))
        if not new:
            return None
        tree = self._tree.copy()
        tree.extend(head.line.encode() for head in new)
        return Checkpoint(origin, tree.size, tree.root, time_us, tuple(new))

    def _is_new(self, head: Head) -> bool:
        known = self.heads.get(head.process)
        if known is None or head.seq > known.seq:
            return True
        if head != known:
            raise EvidenceError(
                f"process {head.process} has row {known.seq} sealed, but the log ends with row {head.seq}"
                if head.seq < known.seq
                else f"row {head.seq} of process {head.process} is not the one that was sealed"
            )
        return False

    def _add(self, head: Head) -> None:
        self._tree.append(head.line.encode())
        self.heads[head.process] = head


def checkpoint_of(text: str) -> Checkpoint:
    """A checkpoint from its text. Raises: EvidenceError."""
    found = _BODY.fullmatch(text)
    if found is None:
        raise EvidenceError(f"not a checkpoint of an audit log: it begins with {text[:60]!r}")
    origin, size, root, time, lines = found.groups()
    try:
        time_us = (datetime.fromisoformat(time) - _EPOCH) // timedelta(microseconds=1)
        heads = tuple(_head(line) for line in lines.splitlines())
        return Checkpoint(origin, int(size), b64decode(root, validate=True), time_us, heads)
    except (ValueError, TypeError, OverflowError):
        raise EvidenceError(f"a checkpoint of {origin!r} has a time or a hash that is none") from None


def moment(time_us: int) -> str:
    """Microseconds since 1970 as RFC 3339."""
    return (_EPOCH + timedelta(microseconds=time_us)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _head(line: str) -> Head:
    _, process, seq, chain = line.split(" ")
    return Head(process, int(seq), b64decode(chain, validate=True))
