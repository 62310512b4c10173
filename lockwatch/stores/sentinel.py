"""Redis Sentinel: who is the master now."""

from __future__ import annotations

import random
import time
from contextlib import suppress
from typing import Any, Final

from lockwatch import native
from lockwatch.errors import StoreError
from lockwatch.flow import Reply
from lockwatch.stores.address import Node, SentinelAddress
from lockwatch.stores.discovery import Topology, answers

_GLANCE: Final = 1.0
_NO_MASTER: Final = ("READONLY", "NOREPLICAS", "MASTERDOWN", "LOADING")


class Master(Topology[Node]):
    """Where the master of a service is.

    The newest of the answers of a majority of the sentinels holds, so that one that was cut off from the others does not name a
    master which they have replaced. Where no majority answers, what the others say has to do.
    """

    def __init__(self, address: SentinelAddress) -> None:
        super().__init__()
        self.doubted = False
        self._address = address
        self._question = ("SENTINEL", "MASTER", address.service)
        self._glanced = time.monotonic()

    @property
    def uncertain(self) -> bool:
        """Whether to ask before the next call."""
        return self.view is None or self.doubted

    def doubt(self) -> None:
        """The master failed, or it is none: ask before it is used next."""
        self.doubted = True

    def glance(self) -> None:
        """Look, once a second and without waiting, whether one sentinel names another by now.

        A master that was replaced while it was well goes on answering until the sentinels find the time to demote it.
        """
        now = time.monotonic()
        if now - self._glanced >= _GLANCE:
            self._glanced = now
            with suppress(RuntimeError):  # no thread starts while Python ends
                native.start(self._look, "lockwatch-sentinel")

    def _look(self) -> None:
        sentinel = random.choice(self._address.sentinels)  # noqa: S311  # whom to ask is no secret
        for _, answer in answers([sentinel], self._question, _GLANCE):
            if not isinstance(answer, Exception) and _read(answer)[1] != self.view:
                self.doubt()

    def _learn(self, within: float) -> tuple[Node | None, str]:
        sentinels = self._address.sentinels
        newest: tuple[int, Node] | None = None
        told, error = 0, "no answer in time"
        for sentinel, answer in answers(sentinels, self._question, within):
            if isinstance(answer, Exception):
                error = f"{sentinel}: {answer}"
                continue
            told += 1
            newest = max(newest or (-1, ("", 0)), _read(answer))
            if told * 2 > len(sentinels):
                break
        if newest is None:
            return None, f"no sentinel names the master of {self._address}: {error[:200]}"
        self.doubted = False
        return newest[1], ""


def _read(answer: list[bytes]) -> tuple[int, Node]:
    """The epoch of a sentinel's configuration, and the master in it."""
    fields = dict(zip(answer[::2], answer[1::2], strict=False))
    return int(fields[b"config-epoch"]), (fields[b"ip"].decode(), int(fields[b"port"]))


def turn(connection: Any, node: Node) -> bool:
    """Whether a connection of either colour goes to `node`. If not it is turned there, and has to be closed first."""
    if (connection.host, connection.port) == node:
        return False
    connection.host, connection.port = node
    return True


def check_role(reply: list[Any], node: Node) -> None:
    """Read a reply to ROLE. Raises: StoreError, when it is no master: it would refuse from what it was told, and count nothing."""
    if reply[0] not in (b"master", "master"):
        raise StoreError(f"{node[0]}:{node[1]} is a {_text(reply[0])}, not the master the sentinels name")


def is_no_master(reply: Reply | StoreError) -> bool:
    """Whether a reply says that the server cannot count, so that another may be the master by now."""
    return isinstance(reply, StoreError) and any(word in str(reply) for word in _NO_MASTER)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
