"""What a request costs a cluster: one round trip for each slot its subjects are in."""

from __future__ import annotations

from contextlib import ExitStack

from lockwatch.stores.cluster import slot_of
from tests.edges.test_round_trips import REQUESTS, ask, make, of_requests
from tests.topology.sites import Site
from tests.watch import Spoken, watching


async def test_three_limits_and_a_tier_are_one_round_trip_for_each_slot(cluster: Site) -> None:
    app, lockwatch = make(cluster.url)
    await ask(app)
    with ExitStack() as stack:
        nodes = [stack.enter_context(watching(f"redis://127.0.0.1:{node.port}")) for node in cluster.nodes]
        for _ in range(REQUESTS):
            await ask(app)
        heard: list[Spoken] = [said for node in nodes for said in of_requests(node.heard())]
    slots = [slot_of(said.keys) for said in heard]
    assert len(set(slots)) == 2, "a user and an address"
    assert [slots.count(slot) for slot in set(slots)] == [REQUESTS, REQUESTS]
    assert {(len(said.keys), *said.scripts) for said in heard} == {(2, "admit")}
    await lockwatch.aclose()
