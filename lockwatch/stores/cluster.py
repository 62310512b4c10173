"""Redis Cluster: which node serves which slot, and what nodes say when they do not."""

from __future__ import annotations

import random
import time
from binascii import crc_hqx
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from redis.exceptions import NoScriptError, ResponseError

from lockwatch.errors import CallFailed, StoreError
from lockwatch.flow import Call, Reply
from lockwatch.stores import wire
from lockwatch.stores.address import ClusterAddress, Node
from lockwatch.stores.breaker import Breaker
from lockwatch.stores.discovery import Topology, answers

SLOTS: Final = 16384
ASKING: Final = b"*1\r\n$6\r\nASKING\r\n"
HOPS: Final = 3
"""How often a call is sent on: once because its slot has moved, once because it is just moving, once because that has ended."""
_ASKED: Final = 5
_ERRORS: Final = {"MOVED": "MovedError", "ASK": "AskError", "TRYAGAIN": "TryAgainError"}
Slots: TypeAlias = list[Node | None]
"""The node that serves each slot."""


class Redirect(StoreError):
    """Another node serves this slot: for good (`asking` is false), or for this call. Followed by the store, never raised by it."""

    def __init__(self, slot: int, node: Node, asking: bool) -> None:
        super().__init__(slot, node, asking)
        self.slot, self.node, self.asking = slot, node, asking

    def __str__(self) -> str:
        return f"slot {self.slot} is served by {self.node[0]}:{self.node[1]}, which was not reached in time"


class Asking(Call):
    """A call for a node that takes a slot over: it is sent after ASKING."""

    __slots__ = ()


class Group(NamedTuple):
    """Calls of a batch that one script may run, because their keys share a slot, and where they stood in the batch."""

    calls: list[Call]
    places: list[int]
    asking: bool


def slot_of(keys: Sequence[str]) -> int | None:
    """The slot that all `keys` share, None without keys.

    Raises: ValueError, when they do not share one: no script can touch them together.
    """
    slots = {_slot(key.encode("utf-8", "surrogatepass")) for key in keys}
    if len(slots) > 1:
        raise ValueError(f"the {len(keys)} keys of one call are in {len(slots)} slots; a cluster runs a script on keys of one slot")
    return slots.pop() if slots else None


def _slot(key: bytes) -> int:
    """CRC-16 of the hash tag, if there is one that is not empty, else of the key (Redis Cluster specification)."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return crc_hqx(key, 0) % SLOTS


def groups_of(calls: Sequence[Call]) -> list[Group]:
    """Calls by slot."""
    groups: dict[tuple[int | None, bool], Group] = {}
    for place, call in enumerate(calls):
        asking = isinstance(call, Asking)
        group = groups.setdefault((slot_of(call.keys[:1]), asking), Group([], [], asking))
        group.calls.append(call)
        group.places.append(place)
    return list(groups.values())


def packed(groups: Sequence[Group], whole: bool = False) -> bytes:
    """The RESP bytes of all groups; `whole` sends the source of the script with the first, and so teaches it to the node."""
    return b"".join(
        [(ASKING if group.asking else b"") + wire.command(group.calls, whole=whole and not i) for i, group in enumerate(groups)]
    )


def again(group: Group, answer: object) -> list[Group]:
    """What to send again of a group, at once and to the same node; none of it has run.

    While a slot moves, its keys are at two nodes. Calls then have to travel alone, as nobody can run a script on them all.
    """
    if isinstance(answer, NoScriptError):
        return [group]
    if _says(answer, "TRYAGAIN") and len(group.calls) > 1:
        return [Group([call], [place], group.asking) for call, place in zip(group.calls, group.places, strict=True)]
    return []


def replies(answered: Sequence[tuple[Group, object]], node: Node) -> list[Reply | StoreError]:
    """What a node's answers to the groups of a batch mean for each of its calls. Raises: StoreError, when they are no answers."""
    found: dict[int, Reply | StoreError] = {}
    for group, answer in answered:
        lines = (
            [_refusal(answer, node) for _ in group.calls]
            if isinstance(answer, ResponseError)
            else wire.replies(answer, len(group.calls))
        )
        found.update(zip(group.places, lines, strict=True))
    return [found[place] for place in sorted(found)]


def _refusal(error: ResponseError, node: Node) -> StoreError:
    return _redirect(error, node) or wire.failure(error, f"{node[0]}:{node[1]}")


def _redirect(error: ResponseError, node: Node) -> Redirect | None:
    """MOVED or ASK."""
    kind = next((word for word in ("MOVED", "ASK") if _says(error, word)), "")
    slot, _, place = str(error).removeprefix(f"{kind} ").partition(" ")
    host, _, port = place.rpartition(":")
    if not kind or not port.isdigit():
        return None
    return Redirect(int(slot), (host or node[0], int(port)), kind == "ASK")


def _says(answer: object, word: str) -> bool:
    """Whether an answer is the error that begins with `word`. Older releases of redis-py leave it in the text."""
    return isinstance(answer, ResponseError) and (type(answer).__name__ == _ERRORS[word] or str(answer).startswith(f"{word} "))


class Cluster(Topology[Slots]):
    """Which node serves which slot, as far as nodes have said, and how each of them does.

    Every node has a breaker of its own: one that is lost costs its slots no waiting, and the others nothing.
    """

    def __init__(self, address: ClusterAddress, deadline: float) -> None:
        self.address = address
        self.failing: set[Node] = set()
        self._deadline = deadline
        self._breakers: dict[Node, Breaker] = {}
        super().__init__()

    def forked(self) -> None:
        """Begin anew in a child process."""
        super().forked()
        self._breakers = {}

    def enter(self, node: Node) -> None:
        """Let a call go to a node. Raises: StoreError, while it does not answer."""
        breaker = self._breakers.get(node)
        if breaker is not None and breaker.opened_at is not None:
            breaker.enter(time.monotonic())

    def heard(self, node: Node, failure: StoreError | None) -> None:
        """Note what became of a call or a batch. Being sent on is an answer, and so is a call that fails alone."""
        if failure is None or isinstance(failure, Redirect | CallFailed):
            failure = None
            self.failing.discard(node)
        else:
            self.failing.add(node)
        breaker = self._breakers.get(node) or self._breakers.setdefault(node, Breaker(self._deadline))
        breaker.heard(failure, time.monotonic())

    def node_of(self, slot: int | None) -> Node | None:
        """Who serves a slot, anybody for None; None when nobody is known to."""
        if self.view is None:
            return None
        return self.view[random.randrange(SLOTS) if slot is None else slot]  # noqa: S311  # which node is no secret

    def nobody(self, slot: int | None) -> StoreError:
        """What to say when `node_of` knows nobody."""
        return StoreError(self.error or f"no node of {self.address} serves slot {slot}")

    @property
    def nodes(self) -> set[Node]:
        """All that serve slots."""
        return {node for node in self.view or () if node is not None}

    def follow(self, redirect: Redirect) -> Node:
        """Where a redirected call goes; a slot that moved for good is remembered."""
        node = self._reach(redirect.node)
        if not redirect.asking and self.view is not None:
            self.view[redirect.slot] = node
        return node

    def _learn(self, within: float) -> tuple[Slots | None, str]:
        nodes = list(dict.fromkeys([*random.sample(sorted(self.nodes), min(_ASKED, len(self.nodes))), *self.address.nodes]))
        best: Slots | None = None
        error = "no answer in time"
        for node, answer in answers([self.address.at(node) for node in nodes[:_ASKED]], ("CLUSTER", "SLOTS"), within):
            if isinstance(answer, Exception):
                error = f"{node}: {answer}"
                continue
            slots = self._read(answer, str(node.arguments["host"]))
            if None not in slots:
                self._forget(slots)
                return slots, ""
            if best is None or slots.count(None) < best.count(None):
                best = slots
        return best, "" if best else f"no node of {self.address} says who serves which slot: {error[:200]}"

    def _forget(self, slots: Slots) -> None:
        """Let go of nodes that serve nothing any more."""
        for gone in (self._breakers.keys() | self.failing) - set(slots):
            self._breakers.pop(gone, None)
            self.failing.discard(gone)

    def _read(self, answer: list[Any], asked: str) -> Slots:
        slots: Slots = [None] * SLOTS
        for first, last, (host, port, *_), *_ in answer:
            name = host.decode() if isinstance(host, bytes) else host
            if name != "?":  # a node that does not know its own name
                slots[first : last + 1] = [self._reach((name or asked, int(port)))] * (last - first + 1)
        return slots

    def _reach(self, node: Node) -> Node:
        remap = self.address.remap
        return remap(node) if remap else node
