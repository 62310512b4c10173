"""The ways of one event loop to servers that change: a master that sentinels know, and the nodes of a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

from redis.exceptions import ResponseError

from lockwatch.errors import StoreError, StoreTimeout
from lockwatch.flow import Call, Reply
from lockwatch.stores.address import Node
from lockwatch.stores.cluster import HOPS, Asking, Cluster, Group, Redirect, again, groups_of, packed, replies, slot_of
from lockwatch.stores.connect import async_pool
from lockwatch.stores.discovery import aside
from lockwatch.stores.lane import Lane
from lockwatch.stores.lanes import Batcher, Settings
from lockwatch.stores.sentinel import Master, check_role, is_no_master, turn


class MasterLane(Lane):
    """A connection to whoever is the master."""

    brief = False  # somebody else may be the master by now

    def __init__(self, connection: Any, master: Master, deadline: float) -> None:
        super().__init__(connection)
        self._master = master
        self._deadline = deadline

    async def exchange(self, calls: list[Call], sent: bool = False) -> list[Reply | StoreError]:
        """Send calls to the master and read their replies. Raises: StoreError."""
        try:
            found = await super().exchange(calls, sent)
        except BaseException:  # cancelled, that is silent past the deadline, is as good as lost
            self._master.doubt()
            raise
        if any(map(is_no_master, found)):
            self._master.doubt()
        return found

    async def _ask(self, calls: list[Call]) -> list[Reply | StoreError]:
        master = self._master
        master.glance()
        if master.uncertain:
            await aside(partial(master.ask, self._deadline))
        node = master.known()
        if turn(self._connection, node):
            await self.close()
        if not self._connection.is_connected:
            await self._connection.connect()
            await self._connection.send_command("ROLE", check_health=False)
            check_role(await self._connection.read_response(disable_decoding=True), node)
        return await super()._ask(calls)


class NodeLane(Lane):
    """A connection to a node of a cluster: one script for each slot of a batch, sent together and answered in order."""

    brief = False

    def __init__(self, connection: Any, node: Node) -> None:
        super().__init__(connection)
        self._node = node

    async def _ask(self, calls: list[Call]) -> list[Reply | StoreError]:
        if not self._connection.is_connected:
            await self._connection.connect()
        answered: list[tuple[Group, object]] = []
        groups = groups_of(calls)
        for whole in (False, True, True):
            answers = await self._answers(groups, whole)
            answered += zip(groups, answers, strict=True)
            groups = [part for group, answer in zip(groups, answers, strict=True) for part in again(group, answer)]
            if not groups:
                break
        return replies(answered, self._node)

    async def _answers(self, groups: list[Group], whole: bool) -> list[object]:
        await self._connection.send_packed_command([packed(groups, whole)], check_health=False)
        answers: list[object] = []
        for group in groups:
            if group.asking:
                await self._answer()
            answers.append(await self._answer())
        return answers

    async def _answer(self) -> object:
        try:
            return await self._connection.read_response(disable_decoding=True)
        except ResponseError as error:
            return error


class Router:
    """The nodes of a cluster, each with lanes and batches of its own.

    A call goes to the node that serves its slot. Where a node says that another does, it is sent on, within its deadline.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, cluster: Cluster, settings: Settings) -> None:
        self._loop = loop
        self._cluster = cluster
        self._settings = settings
        self._batchers: dict[Node, Batcher] = {}
        self._round: asyncio.Future[None] | None = None
        self.keeper = self._keep()

    async def submit(self, call: Call) -> Reply:
        """Run a call where its keys are. Raises: StoreError, StoreTimeout."""
        slot = slot_of(call.keys)
        due = self._loop.time() + self._settings.deadline
        node = self._cluster.node_of(slot)
        if node is None or node in self._cluster.failing:
            node = await self._look_again(slot, due)
        batcher = self._batchers.get(node) or await self._batcher(node)
        try:
            return await batcher.submit(call)
        except Redirect as redirect:
            return await self._follow(redirect, call, due)

    async def _look_again(self, slot: int | None, due: float) -> Node:
        """Who serves a slot whose node is lost or unknown. Raises: StoreError, when it is still not to be asked."""
        await self._learn(due)
        node = self._cluster.node_of(slot)
        try:
            if node is None:
                raise self._cluster.nobody(slot)
            self._cluster.enter(node)
        except StoreError as error:
            self._report(error)
            raise
        return node

    async def _follow(self, redirect: Redirect, call: Call, due: float) -> Reply:
        for _ in range(HOPS):
            if not redirect.asking:
                await self._learn(due)
            batcher = await self._batcher(self._cluster.follow(redirect))
            answer = batcher.submit(Asking(*call) if redirect.asking else call)
            try:
                await asyncio.wait([answer], timeout=due - self._loop.time())
                if not answer.done():
                    raise StoreTimeout(str(redirect))
                return answer.result()
            except Redirect as further:
                redirect = further
            finally:
                answer.cancel()
        raise StoreError(f"sent on {HOPS} times, and still {redirect}")

    async def _learn(self, due: float) -> None:
        """Ask the nodes who serves what; calls that need it at once wait for one round together, until `due`."""
        if self._round is None:
            if not self._cluster.due:
                return
            within = self._settings.deadline
            self._round = asyncio.ensure_future(aside(partial(self._cluster.ask, within)))
            self._round.add_done_callback(self._learned)
        await asyncio.wait([self._round], timeout=due - self._loop.time())

    def _learned(self, _: object) -> None:
        self._round = None

    async def _batcher(self, node: Node) -> Batcher:
        batcher = self._batchers.get(node)
        if batcher is None:
            pool = async_pool(self._cluster.address.at(node), self._settings.deadline)
            lanes = [NodeLane(pool.make_connection(), node) for _ in range(self._settings.lanes)]
            settings = self._settings._replace(report=partial(self._note, node))
            batcher = self._batchers[node] = Batcher(self._loop, lanes, settings)
            for gone in [n for n, old in self._batchers.items() if old.idle and n not in {node, *self._cluster.nodes}]:
                await self._batchers.pop(gone).close()
        return batcher

    def _note(self, node: Node, failure: StoreError | None) -> None:
        """What became of a batch."""
        self._cluster.heard(node, failure)
        self._report(None if isinstance(failure, Redirect) else failure)

    def _report(self, error: StoreError | None) -> None:
        if self._settings.report is not None:
            self._settings.report(error)

    async def _keep(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            for batcher in self._batchers.values():
                await batcher.close()
            if self._round is not None:
                await asyncio.wait([self._round])
