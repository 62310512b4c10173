"""The numbers of a script call as charges: what `read_charges` of `lua/admit.lua` is in Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from lockwatch.stores.buckets import CONCURRENT, GCRA
from lockwatch.stores.table import Share

SHADOW: Final = 1
LOOSE: Final = 2
HELD: Final = 4
PENALTY: Final = 8
LOOK: Final = 16
FLAGS: Final = 31


class Charge(NamedTuple):
    """One item of a call.

    Attributes:
        held: the key of its open reservations, if it has any.
        kind: the number of its algorithm.
        first: its first number after the limit: the cost, or a receipt.
        at: where that stands in the call.
    """

    key: str
    held: str | None
    kind: int
    flags: int
    quota: int
    span: int
    burst: int
    first: int
    at: int

    @property
    def share(self) -> Share:
        """What a bucket has in common with those it may share a place with: of gcra the rate too."""
        return (self.kind, self.span, self.quota) if self.kind == GCRA else (self.kind, self.span)


def read_charges(keys: Sequence[str], args: tuple[int, ...], size: int) -> list[Charge]:
    """The charges of a call; `size` numbers each, all of which begin with mode, quota, span and burst."""
    charges, taken = [], 0
    for at in range(5, len(args), size):
        mode, quota, span, burst, first = args[at - 4 : at + 1]
        key, held, taken = keys[taken], None, taken + 1
        if mode & HELD and mode >> 5 != CONCURRENT:
            held, taken = keys[taken], taken + 1
        charges.append(Charge(key, held, mode >> 5, mode & FLAGS, quota, span, burst, first, at))
    return charges
