"""The watcher: what several processes see is judged once, told once, and known to all; whoever judged may be gone."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from ipaddress import ip_address
from typing import Any

import pytest

from lockwatch import AnomalyConfig, StoreError
from lockwatch.anomaly.ban_flows import keys_of_bans
from lockwatch.anomaly.bans import Bans
from lockwatch.anomaly.burst import keys_of_burst
from lockwatch.anomaly.challenge import acquainted, known_key
from lockwatch.anomaly.exchange import keys_of
from lockwatch.anomaly.logins import Logins
from lockwatch.anomaly.packing import word_of
from lockwatch.anomaly.tally_words import encode
from lockwatch.anomaly.watcher import Watcher
from lockwatch.client import Client, trust
from lockwatch.config import LockWatchConfig
from lockwatch.event import AUTH, HTTP, Event
from lockwatch.limits.buckets import Buckets
from lockwatch.link import Link
from lockwatch.stores.cluster import slot_of

SECRET = "0123456789abcdef0123456789abcdef"
ATTACKER = "203.0.113.7"
KINDS = ("memory", "fake", "redis")


@dataclass
class Process:
    """A process of an application, as far as attacks go; a test says when it reports."""

    config: LockWatchConfig
    settings: AnomalyConfig
    told: list[tuple[str, str, Mapping[str, Any]]] = field(default_factory=list)
    posted: list[Event] = field(default_factory=list)
    killed_at: str = ""

    def __post_init__(self) -> None:
        self.link = Link(self.config, lambda message: None, works=False)
        self.bans = Bans(self.config, self.settings, self.link, trust("none"))
        self.logins = Logins(self.settings, 64)
        self.watcher = Watcher(self.settings, "test", self.link, self.logins, self.bans, self._tell, self.posted.append)

    def _tell(self, kind: str, name: str, at_us: int, data: Mapping[str, Any]) -> None:
        if self.killed_at == "tell":
            raise Killed
        self.told.append((kind, name, data))

    def banned(self, ip: str = ATTACKER) -> bool:
        return self.bans.banned(Client(ip_address(ip), f"ip:{ip}", ip)) is not None


class Killed(BaseException):
    """The end of a process."""


def scan(ip: str = ATTACKER, paths: int = 40, **more: Any) -> list[Event]:
    """Somebody looks for what is not there."""
    now = time.time_ns() // 1000
    return [
        Event(
            time_us=now + i,
            kind=HTTP,
            action="request",
            outcome="failure",
            ip=ip,
            subject=f"ip:{ip}",
            method="GET",
            route="<unmatched>",
            path=f"/wp-{i}.php",
            status=404,
            **more,
        )
        for i in range(paths)
    ]


@pytest.fixture(params=KINDS)
async def processes(request: pytest.FixtureRequest, redis_server: str) -> AsyncIterator[list[Process]]:
    """Two of one application; where they share nothing, the same one twice."""
    where: dict[str, Any] = {}
    if request.param == "fake":
        fakeredis = import_module("fakeredis")
        where = {"redis": fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer())}
    elif request.param == "redis":
        where = {"redis_url": redis_server}
    config = LockWatchConfig(secret_key=SECRET, namespace="test", store_timeout=5.0, **where)
    settings = AnomalyConfig(respond="ban", burst_threshold=0)
    made = [Process(config, settings) for _ in range(1 if request.param == "memory" else 2)]
    yield made * (2 // len(made))
    for process in made:
        await process.link.aclose()


async def rounds(processes: list[Process], times: int = 3) -> None:
    for _ in range(times):
        for process in processes:
            await process.watcher.flush()
            await process.bans.hear()


async def test_a_campaign_is_told_once_known_to_all_and_its_source_banned_everywhere(processes: list[Process]) -> None:
    one, other = processes
    await one.watcher.flush()
    await other.watcher.consume(scan())
    await rounds(processes)
    unique = {id(p): p for p in processes}.values()
    told = [entry for p in unique for entry in p.told]
    assert [kind for kind, _, _ in told] == ["lockwatch.attack.detected"]
    data = told[0][2]
    assert (data["rule"], data["source_count"]) == ("scan.address", 1)
    posted = [event for p in unique for event in p.posted if event.action.startswith("campaign.")]
    assert [(event.action, event.campaign) for event in posted] == [("campaign.opened", data["campaign"])]
    assert all(process.banned() for process in processes)
    assert not one.banned("198.51.100.4")
    later = scan(paths=1) + scan("198.51.100.4", paths=1)
    for process in processes:
        await process.watcher.consume(later)
    assert [(event.anomaly, event.campaign) for event in later] == [(True, data["campaign"]), (False, None)]


async def test_who_joins_a_campaign_is_banned_too_and_who_was_let_in_again_is_not(processes: list[Process]) -> None:
    one, other = processes
    await one.watcher.consume(scan())
    await rounds(processes)
    assert one.banned()
    await one.bans.lift(ATTACKER)
    await other.watcher.consume(scan("203.0.113.8"))
    await rounds(processes)
    assert all(process.banned("203.0.113.8") for process in processes)
    assert not any(process.banned() for process in processes)
    unique = {id(p): p for p in processes}.values()
    assert len([entry for p in unique for entry in p.told]) == 1


async def test_what_another_site_makes_browsers_send_bans_nobody(processes: list[Process]) -> None:
    one, _ = processes
    await one.watcher.consume(scan(details={"cross_site": True}))
    await rounds(processes)
    assert not one.banned()


async def test_a_header_hides_nobody_from_the_rules() -> None:
    """`Sec-Fetch-Site` is written by whoever sends the request."""
    process = Process(LockWatchConfig(secret_key=SECRET, namespace="test"), AnomalyConfig(burst_threshold=0))
    await process.watcher.consume(scan(paths=60, details={"cross_site": True}))
    await rounds([process])
    assert [kind for kind, _, _ in process.told] == ["lockwatch.attack.detected"]
    assert process.told[0][2]["sources"] == [f"{ATTACKER} (pages of other sites)"]
    await process.link.aclose()


@pytest.mark.parametrize("respond", ["log", "alert", "challenge", "ban"])
async def test_nothing_is_done_beyond_what_was_asked_for(respond: str) -> None:
    settings = AnomalyConfig(respond=respond, burst_threshold=0)
    process = Process(LockWatchConfig(secret_key=SECRET, namespace="test"), settings)
    await process.watcher.consume(scan())
    await rounds([process])
    assert bool(process.told) == (respond != "log")
    assert process.banned() == (respond == "ban")
    assert [event.action for event in process.posted if event.action.startswith("campaign")] == ["campaign.opened"]
    await process.link.aclose()


@pytest.mark.parametrize("moment", ["before", "tell"])
async def test_the_alert_of_a_killed_judge_is_told_by_the_next_one(redis_server: str, moment: str) -> None:
    config = LockWatchConfig(secret_key=SECRET, namespace="test", redis_url=redis_server, store_timeout=5.0)
    settings = AnomalyConfig(burst_threshold=0)
    one, other = Process(config, settings), Process(config, settings)
    await one.watcher.flush()
    if moment == "before":  # it has the lease, and is gone before it has judged
        await other.watcher.consume(scan())
        await other.watcher.flush()
    else:  # it has published, and is gone before anybody was told
        await one.watcher.consume(scan())
        one.killed_at = "tell"
        with pytest.raises(Killed):
            await one.watcher.flush()
    deadline = time.monotonic() + 20
    while not other.told:
        assert time.monotonic() < deadline
        await other.watcher.flush()
    assert [kind for kind, _, _ in other.told] == ["lockwatch.attack.detected"]
    assert one.told == []
    third = Process(config, settings)
    await third.watcher.flush()
    assert third.told == []
    for process in (one, other, third):
        await process.link.aclose()


async def test_that_it_became_worse_is_told_by_the_next_judge_when_one_is_killed(redis_server: str) -> None:
    config = LockWatchConfig(secret_key=SECRET, namespace="test", redis_url=redis_server, store_timeout=5.0)
    settings = AnomalyConfig(burst_threshold=0, rules={"scan.address": {"cooldown": 0}})
    one, other = Process(config, settings), Process(config, settings)
    await one.watcher.consume(scan())
    await rounds([one])
    assert [kind for kind, _, _ in one.told] == ["lockwatch.attack.detected"]
    for n in range(12):
        await one.watcher.consume(scan(f"198.51.100.{n}"))
    one.killed_at = "tell"
    with pytest.raises(Killed):
        await one.watcher.flush()
    deadline = time.monotonic() + 20
    while not other.told:
        assert time.monotonic() < deadline
        await other.watcher.flush()
    ((kind, _, data),) = other.told
    assert (kind, data["news"], data["source_count"]) == ("lockwatch.attack.updated", ["13 sources, 1 before"], 13)
    assert data["campaign"] == one.told[0][2]["campaign"]
    for process in (one, other):
        await process.link.aclose()


async def test_a_login_makes_its_network_known_and_a_failed_one_does_not() -> None:
    process = Process(LockWatchConfig(secret_key=SECRET, namespace="test"), AnomalyConfig(burst_threshold=0))
    buckets = await process.link.buckets()
    now = time.time_ns() // 1000
    login = {"time_us": now, "kind": AUTH, "action": "login", "user": "alice"}
    await process.watcher.consume(
        [Event(outcome="success", ip="203.0.113.7", **login), Event(outcome="failure", ip="198.51.100.7", **login)]
    )
    names = process.logins.names(buckets)
    found = [
        await process.link.drive(acquainted(known_key(buckets, "alice"), word_of(names.network(ip))))
        for ip in ("203.0.113.99", "198.51.100.7")
    ]
    assert found == [True, False]
    await process.link.aclose()


@pytest.mark.parametrize("portions", [(60,), (10, 10, 10, 10, 20), (1,) * 60])
async def test_sixty_requests_across_the_threshold_are_one_alert_and_marked_from_there_on(portions: tuple[int, ...]) -> None:
    settings = AnomalyConfig(burst_threshold=30, burst_window_seconds=60)
    process = Process(LockWatchConfig(secret_key=SECRET, namespace="test"), settings)
    events = scan(paths=60)
    left = list(events)
    for portion in portions:
        await process.watcher.consume(left[:portion])
        left = left[portion:]
    assert [event.anomaly for event in events] == [False] * 29 + [True] * 31
    bursts = [data for kind, _, data in process.told if kind == "lockwatch.burst"]
    assert len(bursts) == 1
    assert (bursts[0]["ip"], bursts[0]["method"], bursts[0]["window_seconds"]) == (ATTACKER, "GET", 60)
    assert process.banned() is False
    await process.link.aclose()


async def test_bursts_ban_only_where_that_is_asked_for_and_never_for_another_sites_requests() -> None:
    settings = AnomalyConfig(burst_threshold=30, respond="ban", ban_rules=["burst.address"])
    process = Process(LockWatchConfig(secret_key=SECRET, namespace="test"), settings)
    await process.watcher.consume(scan("198.51.100.4", details={"cross_site": True}))
    await process.watcher.consume(scan())
    assert (process.banned(), process.banned("198.51.100.4")) == (True, False)
    await process.link.aclose()


async def test_an_outage_loses_nothing_that_fits(redis_server: str) -> None:
    config = LockWatchConfig(secret_key=SECRET, namespace="test", redis_url=redis_server, store_timeout=5.0)
    process = Process(config, AnomalyConfig(burst_threshold=0))
    await process.watcher.flush()
    real, process.link.store = process.link.store, Away()
    for event in scan():
        await process.watcher.consume([event])
        await process.watcher.flush()
    assert process.told == []
    process.link.store = real
    await rounds([process])
    assert len(process.told) == 1
    await process.link.aclose()


class Away:
    """A store that does not answer."""

    async def call(self, call: Any) -> Any:
        raise StoreError("away")


async def test_a_flood_of_addresses_stays_within_bounds() -> None:
    settings = AnomalyConfig(burst_threshold=50)
    process = Process(LockWatchConfig(secret_key=SECRET, namespace="test"), settings)
    now = time.time_ns() // 1000
    for portion in range(400):  # 25,600 addresses between two reports
        await process.watcher.consume(
            [
                Event(
                    time_us=now,
                    kind=HTTP,
                    action="request",
                    ip=f"2001:db8:{portion:x}:{i:x}::1",
                    subject=f"ip:2001:db8:{portion:x}:{i:x}::/64",
                    route="/",
                    path="/",
                    method="GET",
                    status=200,
                )
                for i in range(64)
            ]
        )
    _, words = encode(process.watcher._tally)
    assert sum(map(len, words)) < 500_000
    await process.watcher.flush()
    assert process.watcher.lost >= 20_000
    await process.link.aclose()


def test_the_keys_of_one_call_share_a_slot_of_a_cluster() -> None:
    buckets = Buckets("test", SECRET.encode())
    for keys in (keys_of("test"), keys_of_bans("test"), keys_of_burst(buckets, f"ip:{ATTACKER}", AnomalyConfig())):
        assert slot_of(keys) is not None


def guesses(ip: str, users: range, agent: str = "tool/1") -> list[Event]:
    """Somebody tries the passwords of many users."""
    now = time.time_ns() // 1000
    more: dict[str, Any] = {"kind": AUTH, "action": "login", "outcome": "failure", "user_agent": agent, "subject": f"ip:{ip}"}
    return [Event(time_us=now + n, user=f"user{n}", ip=ip, request_id=f"r{n}", **more) for n in users]


async def test_what_several_rules_see_in_several_processes_is_one_story(processes: list[Process]) -> None:
    """A rented range: `stuffing.network` sees all of it, `failures.address` the addresses that do most. One of them bans."""
    one, other = processes
    for n in range(20):
        await (one, other)[n % 2].watcher.consume(guesses(f"203.0.113.{n + 1}", range(n * 3, n * 3 + 3)))
    await rounds(processes)
    for n in range(3):
        await (one, other)[n % 2].watcher.consume(guesses(f"203.0.113.{n + 1}", range(100 + 20 * n, 120 + 20 * n)))
        await rounds(processes)
    unique = {id(p): p for p in processes}.values()
    (entry,) = [entry for p in unique for entry in p.told]
    assert entry[0] == "lockwatch.attack.detected"
    data = entry[2]
    assert (data["rule"], data["severity"]) == ("stuffing.network", "high")
    assert data["news"] == []
    assert data["targets"]
    assert set(data["targets"]) <= {f"user{n}" for n in range(60)}
    banned = {n + 1 for n in range(20) if one.banned(f"203.0.113.{n + 1}")}
    assert banned == {1, 2, 3}
    later = guesses("203.0.113.2", range(1))
    await other.watcher.consume(later)
    assert later[0].campaign == data["campaign"]


async def test_two_attacks_that_turn_out_to_be_one_are_known_under_one_id(processes: list[Process]) -> None:
    one, other = processes
    await one.watcher.consume(scan())
    await rounds(processes)
    (entry,) = [entry for p in {id(p): p for p in processes}.values() for entry in p.told]
    known = scan(paths=1)
    campaigns = other.watcher._campaigns
    campaigns.learn({"campaign": entry[2]["campaign"], "kind": "resolved", "merged_into": "older"})
    await other.watcher.consume(known)
    assert [(event.anomaly, event.campaign) for event in known] == [(True, "older")]
