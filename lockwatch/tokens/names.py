"""What sessions are called in the store. Pure.

All keys of a subject carry its tag in braces: they share a slot of a Redis Cluster, so that one script may touch them together.
"""

from __future__ import annotations

import re
from binascii import crc_hqx
from functools import cache
from hashlib import blake2s
from itertools import count
from typing import Final

from lockwatch.limits.buckets import SCHEMA
from lockwatch.tokens.sealing import encoded

TAG: Final = 16
NAME: Final = 32
SLOTS: Final = 16384
"""Slots of a Redis Cluster."""
GROUP: Final = 256
"""Slots that are taken for those of one node. Nodes mostly serve long runs of slots: only where two meet, a group has two nodes."""
_NAME: Final = re.compile("[A-Za-z0-9_-]{32}").fullmatch


def tag_of(name: str) -> str | None:
    """The tag of the subject in a `sid` or `jti` of ours; None for anything else."""
    return name[:TAG] if _NAME(name) else None


def jti_of(tag: str, random: bytes) -> str:
    """An id for an access token: 16 characters that lead to its subject, and as many that are random."""
    return tag + encoded(random[:12])


class Names:
    """Names store keys.

    Args:
        namespace: separates applications that share a store.
        split: whether the store is a cluster: its nodes come and go one by one.
    """

    __slots__ = ("_namespace", "_split")

    def __init__(self, namespace: str, split: bool = False) -> None:
        self._namespace = f"{namespace}:{SCHEMA}"
        self._split = split

    def origin(self, tag: str) -> str:
        """Where the server that keeps the sessions of a subject notes which one it is."""
        return f"{self._namespace}:origin:{{{_mark(_slot(tag) // GROUP)}}}" if self._split else f"{self._namespace}:origin"

    def sessions(self, tag: str) -> str:
        """The sessions of a subject."""
        return f"{self._namespace}:sessions:{{{tag}}}"

    def seal(self, tag: str, family: str) -> str:
        """The sealed successor of a session."""
        return f"{self._namespace}:seal:{{{tag}}}:{family}"

    def denied(self, jti: str) -> str:
        """The denial of one access token. An id that is not of ours lies beside those of no subject."""
        hashed = encoded(blake2s(jti.encode("utf-8", "surrogatepass"), digest_size=16, person=b"lwjti").digest())
        return f"{self._namespace}:denied:{{{tag_of(jti) or hashed[:TAG]}}}:{hashed}"


def tag_in(key: str) -> str:
    """The tag in a key that one of `Names` made."""
    return key.partition("{")[2].partition("}")[0]


def _slot(tag: str) -> int:
    return crc_hqx(tag.encode(), 0) % SLOTS


@cache
def _mark(group: int) -> str:
    """A hash tag whose slot is in a group of slots."""
    return next(mark for mark in map(str, count()) if _slot(mark) // GROUP == group)
