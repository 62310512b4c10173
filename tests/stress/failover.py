"""What a failover costs: a master is lost under load, and every admission above the limit is counted.

Tasks ask for a few buckets as fast as they are answered. When half of all quotas is used up, the master is lost; they go on until
the new one refuses. What was admitted beyond the quotas is what the new master did not know.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, TypeAlias

from lockwatch.errors import StoreError
from lockwatch.stores.cluster import slot_of
from lockwatch.stores.connect import address_of
from lockwatch.stores.redis_async import AsyncRedisStore
from tests import servers
from tests.contract.bench import SECOND, Ask, admit
from tests.topology import sites
from tests.topology.sites import Site

_HOUR = 3600 * SECOND
Lose: TypeAlias = Callable[[Site, tuple[str, ...]], Callable[[], None]]
"""Makes what takes the master of some keys away and returns when there is a new one."""


class Load(NamedTuple):
    """How much is asked: `tasks` for each of `keys`, every one of which has `quota`."""

    keys: tuple[str, ...]
    quota: int
    tasks: int = 8
    after: float = 0.5
    """Of all quotas, what is used up when the master is lost."""
    pace: float = 0.02
    """Seconds each of them waits after an answer."""
    deadline: float = 0.25


@dataclass
class Loss:
    """What was counted."""

    scenario: str
    quota: int
    rate: float = 0.0
    admitted: dict[str, int] = field(default_factory=dict)
    failed: int = 0
    gap: float = 0.0

    @property
    def over(self) -> int:
        """Requests admitted above the limit."""
        return sum(max(0, count - self.quota) for count in self.admitted.values())

    @property
    def unused(self) -> int:
        """Admissions that were counted, but whose answer was lost."""
        return sum(max(0, self.quota - count) for count in self.admitted.values())

    def line(self) -> str:
        """One line of a table."""
        cells = f"{sum(self.admitted.values()):>9}{self.rate:>11.0f}{self.over:>7}{self.unused:>8}{self.failed:>8}{self.gap:>9.2f}"
        return f"{self.scenario:<52}{cells}"


HEAD = f"{'':<52}{'admitted':>9}{'a second':>11}{'above':>7}{'unused':>8}{'failed':>8}{'gap, s':>9}"


async def measure(scenario: str, site: Site, load: Load, lose: Callable[[], None]) -> Loss:
    """Ask, lose the master half way, and go on until everything is refused. `lose` returns when there is a new master."""
    loss = Loss(scenario, load.quota, admitted=dict.fromkeys(load.keys, 0))
    store = AsyncRedisStore(address_of(site.url), load.deadline)
    began, lost = time.monotonic(), asyncio.Event()
    over = False
    last = began

    async def ask(key: str) -> None:
        nonlocal last
        while True:
            try:
                reply = await store.call(admit(0, Ask(key, load.quota, _HOUR)))
            except StoreError:
                loss.failed += 1
                await asyncio.sleep(0.01)
                continue
            now = time.monotonic()
            loss.gap, last = max(loss.gap, now - last), now
            if reply[0]:
                loss.admitted[key] += 1
                if not lost.is_set() and sum(loss.admitted.values()) >= load.quota * len(load.keys) * load.after:
                    loss.rate = sum(loss.admitted.values()) / (now - began)
                    lost.set()
            elif over:
                return
            await asyncio.sleep(load.pace)

    tasks = [asyncio.ensure_future(ask(key)) for key in load.keys for _ in range(load.tasks)]
    await lost.wait()
    await asyncio.to_thread(lose)
    over = True
    await asyncio.gather(*tasks)
    await store.aclose()
    return loss


# --------------------------------------------------------------------- scenarios
def kill_of_cluster(site: Site, keys: tuple[str, ...]) -> Callable[[], None]:
    """Kill the master that serves the keys."""
    return _loss_in_cluster(site, keys, sites.kill)


def switch_of_cluster(site: Site, keys: tuple[str, ...]) -> Callable[[], None]:
    """Have a replica take over in agreement with its master, as one does before maintenance."""

    def switch(master: servers.Proc) -> None:
        replica = site.replicas[site.nodes.index(master)]
        sites.ask(replica.port, "CLUSTER", "FAILOVER")

    return _loss_in_cluster(site, keys, switch)


def _loss_in_cluster(site: Site, keys: tuple[str, ...], end: Callable[[servers.Proc], None]) -> Callable[[], None]:
    slot = slot_of(keys[:1]) or 0
    master = sites.node_of(site, slot)
    other = next(node for node in site.nodes if node is not master)

    def served_by_another() -> bool:
        slots = sites.ask(other.port, "CLUSTER", "SLOTS")
        return any(first <= slot <= last and int(port) != master.port for first, last, (_, port, *_), *_ in slots)

    def lose() -> None:
        end(master)
        sites.until(served_by_another, "a failover")

    return lose


def kill_of_master(site: Site, _: tuple[str, ...]) -> Callable[[], None]:
    """Kill the master the sentinels know."""
    master = site.nodes[0]

    def lose() -> None:
        master.popen.kill()
        site.cut()
        master.popen.wait(5)
        sites.until(lambda: sites.master_port(site) != master.port, "a failover")

    return lose


def switch_of_master(site: Site, _: tuple[str, ...]) -> Callable[[], None]:
    """Have the sentinels promote the replica, as one does before maintenance."""
    master = site.nodes[0]

    def lose() -> None:
        sites.ask(site.sentinels[0].port, "SENTINEL", "FAILOVER", sites.SERVICE)
        sites.until(lambda: sites.master_port(site) != master.port, "a failover")

    return lose


def scenarios(lags: list[float]) -> Iterator[tuple[str, Callable[[], Site], Lose]]:
    """What happens, where, and how."""
    yield "cluster: a master killed", partial(sites.start_cluster, replicas=True), kill_of_cluster
    yield "cluster: a master switched (CLUSTER FAILOVER)", partial(sites.start_cluster, replicas=True), switch_of_cluster
    yield "sentinel: the master killed", sites.start_sentinels, kill_of_master
    for lag in lags:
        name = f"sentinel: the same, its replica {lag * 1000:.0f} ms behind"
        yield name, partial(sites.start_sentinels, lag=lag), kill_of_master
    yield "sentinel: the master switched (SENTINEL FAILOVER)", sites.start_sentinels, switch_of_master
    yield "sentinel: the same, with min-replicas-to-write 1", partial(sites.start_sentinels, careful=True), switch_of_master


def describe(parser: argparse.ArgumentParser) -> None:
    """The options of this program."""
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keys", type=int, default=8, help="buckets asked for, all on one master")
    parser.add_argument("--quota", type=int, default=5000, help="of each bucket")
    parser.add_argument("--lag", type=float, action="append", help="seconds a replica is behind; may be repeated")


def run(options: argparse.Namespace) -> int:
    """Print a table of every round."""
    load = Load(tuple(f"{{failover}}:{i}" for i in range(options.keys)), options.quota)
    print(HEAD)
    for _ in range(options.rounds):
        for name, start, lose in scenarios(options.lag or [0.02, 0.1]):
            with sites.running(start()) as site:
                print(asyncio.run(measure(name, site, load, lose(site, load.keys))).line(), flush=True)
    return 0
