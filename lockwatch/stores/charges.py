"""The numbers of a script call as charges: what `read_charges` of `lua/admit.lua` is in Redis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from lockwatch.stores.buckets import CONCURRENT, GCRA, KINDS, Bucket
from lockwatch.stores.table import Share

SHADOW: Final = 1
LOOSE: Final = 2
HELD: Final = 4
PENALTY: Final = 8
LOOK: Final = 16
FLAGS: Final = 31


class Limit(NamedTuple):
    """What every bucket is asked under."""

    quota: int
    span: int
    burst: int


class Charge(NamedTuple):
    """One item of a call. `held` is the key of its open reservations, if it has any."""

    key: str
    held: str | None
    kind: type[Bucket]
    share: Share
    flags: int
    limit: Limit
    rest: tuple[int, ...]
    """Cost, or receipt, charged and actual."""


def read_charges(keys: Sequence[str], args: tuple[int, ...], size: int) -> Iterator[Charge]:
    """The charges of a call; `size` numbers each, all of which begin with mode, quota, span and burst."""
    remaining = iter(keys)
    for i in range(1, len(args), size):
        mode, quota, span, burst = args[i : i + 4]
        number, flags = mode >> 5, mode & FLAGS
        key = next(remaining)
        held = next(remaining) if flags & HELD and number != CONCURRENT else None
        share = (number, span, quota) if number == GCRA else (number, span)
        yield Charge(key, held, KINDS[number], share, flags, Limit(quota, span, burst), args[i + 4 : i + size])
