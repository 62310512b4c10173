"""The ways of blocking code to servers that change: a master that sentinels know, and the nodes of a cluster."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from redis.exceptions import NoScriptError, ResponseError

from lockwatch.errors import StoreError, StoreTimeout
from lockwatch.flow import Call, Following, Reply
from lockwatch.stores.address import Address, Node, SentinelAddress
from lockwatch.stores.cluster import HOPS, Asking, Cluster, Redirect, groups_of, packed, replies, slot_of
from lockwatch.stores.pool import Pool
from lockwatch.stores.sentinel import Master, check_role, is_no_master, turn


class MasterPool(Pool):
    """Connections to whoever is the master."""

    def __init__(self, address: SentinelAddress, deadline: float, connections: int) -> None:
        super().__init__(address, deadline, connections)
        self._master = Master(address)

    def _exchange(self, connection: Any, call: Call) -> Reply | StoreError:
        try:
            self._master.glance()
            if self._master.uncertain:
                self._master.ask(self._deadline)
            node = self._master.known()
            if turn(connection, node):
                connection.disconnect()
            if getattr(connection, "_sock", None) is None:
                connection.send_command("ROLE")
                check_role(connection.read_response(disable_decoding=True), node)
            reply = super()._exchange(connection, call)
        except BaseException:
            self._master.doubt()
            raise
        if is_no_master(reply):
            self._master.doubt()
        return reply


class NodePool(Pool):
    """Connections to a node of a cluster."""

    def __init__(self, address: Address, node: Node, deadline: float, connections: int) -> None:
        super().__init__(address, deadline, connections)
        self._node = node

    def _exchange(self, connection: Any, call: Call) -> Reply | StoreError:
        groups = groups_of([call])
        answer = self._answer(connection, packed(groups), groups[0].asking)
        if isinstance(answer, NoScriptError):
            answer = self._answer(connection, packed(groups, whole=True), groups[0].asking)
        return replies([(groups[0], answer)], self._node)[0]

    def _answer(self, connection: Any, command: bytes, asking: bool) -> object:
        connection.send_packed_command([command])
        try:
            if asking:
                connection.read_response(disable_decoding=True)
            return connection.read_response(disable_decoding=True)
        except ResponseError as error:
            return error


class NodePools:
    """The nodes of a cluster, each with a pool of its own. A call goes to the node that serves its slot, or is sent on to it."""

    def __init__(self, cluster: Cluster, deadline: float, connections: int) -> None:
        self._cluster = cluster
        self._deadline = deadline
        self._connections = connections
        self._pools: dict[Node, NodePool] = {}

    def call(self, call: Call) -> Reply:
        """Run one script where its keys are. Raises: StoreError, StoreTimeout."""
        if isinstance(call, Following):  # each where its own keys are
            for earlier in call.ahead:
                with suppress(StoreError):
                    self.call(earlier)
        slot = slot_of(call.keys)
        due = time.monotonic() + self._deadline
        node = self._cluster.node_of(slot)
        if node is None or node in self._cluster.failing:
            node = self._look_again(slot)
        for _ in range(1 + HOPS):
            try:
                return self._run(node, call)
            except Redirect as redirect:
                node, call = self._follow(redirect, due), Asking(*call) if redirect.asking else Call(*call)
        raise StoreError(f"sent on {HOPS} times without an answer; the last to be asked was {node[0]}:{node[1]}")

    def close(self) -> None:
        """Close the idle connections."""
        for pool in list(self._pools.values()):
            pool.close()

    def _look_again(self, slot: int | None) -> Node:
        """Who serves a slot whose node is lost or unknown. Raises: StoreError, when it is still not to be asked."""
        self._cluster.ask(self._deadline)
        node = self._cluster.node_of(slot)
        if node is None:
            raise self._cluster.nobody(slot)
        self._cluster.enter(node)
        return node

    def _run(self, node: Node, call: Call) -> Reply:
        pool = self._pools.get(node) or self._open(node)
        try:
            reply = pool.call(call)
        except StoreError as failure:
            self._cluster.heard(node, failure)
            raise
        self._cluster.heard(node, None)
        return reply

    def _follow(self, redirect: Redirect, due: float) -> Node:
        left = due - time.monotonic()
        if left <= 0:
            raise StoreTimeout(str(redirect))
        if not redirect.asking:
            self._cluster.ask(left)
        return self._cluster.follow(redirect)

    def _open(self, node: Node) -> NodePool:
        for gone in set(self._pools) - self._cluster.nodes:
            if pool := self._pools.pop(gone, None):
                pool.close()
        made = NodePool(self._cluster.address.at(node), node, self._deadline, self._connections)
        return self._pools.setdefault(node, made)
