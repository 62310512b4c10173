"""Where attackers, operators and full servers meet: bans that are lifted stay lifted, and tables stay small."""

from __future__ import annotations

import itertools
import logging
import secrets

import pytest
import redis

from lockwatch import AnomalyConfig
from lockwatch.anomaly.ban import Ban
from lockwatch.anomaly.ban_flows import RULE, SET, Ledger
from lockwatch.anomaly.challenge import Challenges
from lockwatch.config import LockWatchConfig
from lockwatch.flow import Call, run
from lockwatch.limits.buckets import Buckets
from lockwatch.link import Link
from lockwatch.stores.bans import Banned
from lockwatch.stores.bursts import Bursts
from tests.anomaly.test_watcher import ATTACKER, SECRET, Process, rounds, scan


async def test_a_lifted_ban_does_not_come_back_when_a_process_starts(redis_server: str) -> None:
    config = LockWatchConfig(secret_key=SECRET, namespace="test", redis_url=redis_server, store_timeout=2.0)
    settings = AnomalyConfig(respond="ban", burst_threshold=0)
    one = Process(config, settings)
    await one.watcher.flush()
    await one.watcher.consume(scan())
    await rounds([one])
    assert one.banned()
    assert await one.bans.lift(ATTACKER)
    fresh = Process(config, settings)
    await fresh.watcher.consume(scan(paths=1))  # it has seen the address before it hears of the campaign
    await rounds([fresh, one])
    assert not one.banned()
    assert not fresh.banned()
    for process in (one, fresh):
        await process.link.aclose()


async def test_no_address_is_logged_when_a_rule_would_ban_a_spared_one(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    process = Process(LockWatchConfig(secret_key=SECRET, namespace="test"), AnomalyConfig(never_ban=["198.51.100.0/24"]))
    assert await process.bans.propose("198.51.100.4", reason="x", by="scan.address") is None
    assert "never banned" in caplog.text
    assert "198.51.100.4" not in caplog.text
    await process.link.aclose()


def test_challenges_that_are_over_do_not_make_everyone_prove_more() -> None:
    challenges = Challenges(b"everyone")
    for number in range(10_000):
        challenges.put(number.to_bytes(8, "big"), 1.0, "old", 0.0)
    challenges.put(b"victim..", 200.0, "new", 100.0)
    assert challenges.find(b"bystande", "bob", 100.0) is None
    assert challenges.find(b"victim..", "alice", 100.0) is not None


def test_what_was_told_is_bounded_in_memory() -> None:
    bursts = Bursts(lambda: 1, most=10)
    for number in range(1000):
        bursts.scripts["told"](Call("told", (f"k{number}",), (0, 60_000_000)))
    assert len(bursts._told) <= 10


def test_the_memory_store_bans_somebody_for_the_200th_time() -> None:
    banned = Banned(clock=itertools.count(1, 2_000_000).__next__)
    for _ in range(200):
        call = Call("ban", ("a", "b", "c"), (0, RULE, 1_000_000, 10_000, 1_000_000, 10**12, 10, 1), words=("id", "sealed"))
        left, _, changed = banned.scripts["ban"](call)
        assert (left, changed) == (1_000_000, 1)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_bans_are_made_and_heard_after_the_server_evicted_a_part_of_them(redis_server: str, part: int) -> None:
    config = LockWatchConfig(redis_url=redis_server, secret_key=SECRET, store_timeout=2.0)
    link = Link(config, lambda text: None, works=False)
    ledger = Ledger(Buckets("lockwatch", b"0" * 32), "lockwatch", AnomalyConfig(max_bans=2))
    store = link.sync_store()

    def ban(subject: str) -> None:
        run(ledger.change(Ban(subject, 60), SET, secrets.token_bytes(12), 7), store, link.memory)

    ban("ip:203.0.113.1")
    with redis.Redis.from_url(redis_server) as client:
        client.delete(ledger.keys[part])  # as the policy allkeys-lru does
    for number in (2, 3, 4):
        ban(f"ip:203.0.113.{number}")
    *_, found = run(ledger.changes(0, 0), store, link.memory)
    assert found[-1].subject == "ip:203.0.113.4"
    link.close()
