"""Alerts from raising to arrival, with receivers that fail in every way, on a clock that the test moves."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lockwatch import verify_webhook
from lockwatch.alerts.alert import ATTACK_DETECTED, AUDIT_DEGRADED, AUDIT_RECOVERED, BURST, DIGEST, TOKEN_REUSE
from lockwatch.alerts.circuit import Budget, Circuit
from lockwatch.alerts.outbox import MOST_WAITING, Outbox
from lockwatch.alerts.schedule import MAX_AGE, Answer
from lockwatch.alerts.shelf import SpoolShelf
from lockwatch.event import AUTH, HTTP, Event
from lockwatch.spool.directory import Directory
from tests.alerts import receivers
from tests.alerts.bench import START, Bench
from tests.alerts.receivers import Receiver, answers, receiver
from tests.alerts.test_signing import OLD

HOUR = 3600.0


@asynccontextmanager
async def bench(place: Path, *hooks: Receiver, **options: Any) -> AsyncIterator[Bench]:
    made = Bench(place, *(hook.url() for hook in hooks), **options)
    try:
        yield made
    finally:
        await made.alerts.aclose()


async def until(true: Callable[[], bool], job: Callable[[], Awaitable[None]]) -> None:
    """Do a job, as the worker would, until something is true."""
    ends = time.monotonic() + 20
    while not true():
        await job()
        assert time.monotonic() < ends
        await asyncio.sleep(0.005)


async def test_an_alert_arrives_signed_and_is_remembered(tmp_path: Path) -> None:
    async with receiver() as hook, bench(tmp_path, hook) as desk:
        assert desk.alerts.raise_(desk.alert(campaign="c1"))
        await desk.alerts.finish(30.0)
        (request,) = hook.received
        content = verify_webhook(OLD, request.headers, request.body, now=START)
        assert content["type"] == ATTACK_DETECTED
        assert content["data"] == {"campaign": "c1"}
        (delivery,) = desk.deliveries()
        assert (delivery.state, delivery.attempts, delivery.note) == ("delivered", 1, "answered 204")
        assert desk.alerts.complaints == ()


async def test_it_is_in_the_outbox_before_anything_is_sent(tmp_path: Path) -> None:
    async with receiver() as hook, bench(tmp_path, hook) as desk:
        desk.raised(3)
        assert [delivery.state for delivery in desk.deliveries()] == ["waiting"] * 3
        assert hook.connections == 0


async def test_neither_url_nor_secret_is_in_the_file(tmp_path: Path) -> None:
    async with receiver() as hook, bench(tmp_path, hook) as desk:
        desk.raised()
        await desk.alerts.finish(30.0)
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"lockwatch.attack.detected" in kept
    assert b"/hook" not in kept
    assert OLD.removeprefix("whsec_").encode() not in kept


@pytest.mark.parametrize("status", [500, 503, 404, 302])
async def test_a_receiver_that_fails_for_an_hour_gets_everything_once_afterwards(tmp_path: Path, status: int) -> None:
    works = False

    async def behave(hook: Receiver, writer: asyncio.StreamWriter) -> None:
        await answers(204 if works else status)(hook, writer)

    async with receiver(behave) as hook, bench(tmp_path, hook) as desk:
        raised = []
        for _ in range(12):
            raised += desk.raised(4)
            await desk.passes(HOUR / 12, tick=10)
        assert len(hook.received) < 40  # one alert at a time, at growing distances
        failed, works = len(hook.received), True
        raised += desk.raised()
        await desk.passes(700, tick=10)
        assert sorted(hook.ids[failed:]) == sorted(raised)
        assert {delivery.state for delivery in desk.deliveries()} == {"delivered"}
        assert desk.alerts.complaints == ()


async def test_a_receiver_that_is_down_is_complained_about_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with receiver() as hook:
        pass
    async with bench(tmp_path, hook) as desk:
        desk.raised(3)
        await desk.passes(300, tick=10)
        (complaint,) = desk.alerts.complaints
        assert complaint.startswith("alerts do not arrive at 127.0.0.1#")
        assert complaint.endswith(": it refuses connections")
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == [f"lockwatch: {complaint}"]


async def test_a_receiver_that_hangs_delays_no_other_and_nothing_is_lost(tmp_path: Path) -> None:
    async with receiver(receivers.hangs) as hanging, receiver() as hook, bench(tmp_path, hanging, hook, timeout=60.0) as desk:
        begun = time.monotonic()
        for _ in range(5):
            raised = set(desk.raised(2))
            await until(partial(hook.has, raised), desk.alerts.deliver)
        assert time.monotonic() - begun < 50
        assert len(hook.received) == 10
        assert hanging.connections == 1
        assert len(desk.deliveries("waiting")) == 10


async def test_retry_after_pauses_the_receiver(tmp_path: Path) -> None:
    async with receiver(answers(429, "retry-after: 1000")) as hook, bench(tmp_path, hook) as desk:
        desk.raised(5)
        await desk.passes(990, tick=10)
        assert len(hook.received) == 1
        await desk.passes(20)
        assert len(hook.received) == 2


async def test_an_alert_dies_after_eight_attempts_and_can_be_replayed(tmp_path: Path) -> None:
    works = False

    async def behave(hook: Receiver, writer: asyncio.StreamWriter) -> None:
        await answers(204 if works else 500)(hook, writer)

    async with receiver(behave) as hook, bench(tmp_path, hook) as desk:
        desk.raised()
        await desk.passes(40 * HOUR, tick=60)
        assert hook.ids == ["msg_1"] * 8
        (delivery,) = desk.deliveries()
        assert (delivery.state, delivery.attempts, delivery.note) == ("dead", 8, "answered 500")
        assert "alerts do not arrive" in desk.alerts.complaints[0]
        works = True
        assert desk.alerts.replay() == 1
        await desk.passes(700, tick=10)
        assert hook.ids == ["msg_1"] * 9
        assert desk.deliveries()[0].state == "delivered"


async def test_attempts_keep_their_distances(tmp_path: Path) -> None:
    times: list[float] = []

    async def behave(hook: Receiver, writer: asyncio.StreamWriter) -> None:
        times.append(desk.now - START)
        await answers(500)(hook, writer)

    async with receiver(behave) as hook, bench(tmp_path, hook) as desk:
        desk.raised()
        await desk.alerts.finish(30.0)
        await desk.passes(2 * HOUR, tick=1)
    expected = [0.0]
    for delay in (5, 30, 120, 600, 3600):
        expected.append(expected[-1] + delay)
    assert len(times) == 6
    assert all(least <= found <= least * 1.2 + 6 for least, found in zip(expected, times, strict=True)), times


async def test_an_alert_that_is_too_old_dies_without_another_attempt(tmp_path: Path) -> None:
    async with receiver() as hook, bench(tmp_path, hook) as desk:
        desk.raised()
        desk.now += MAX_AGE + 1
        await desk.alerts.finish(30.0)
        assert hook.connections == 0
        assert desk.deliveries()[0].note == "too old; last: not tried"
        assert "never arrived" in desk.alerts.complaints[0]


async def test_410_ends_it_until_somebody_replays(tmp_path: Path) -> None:
    status = 410

    async def behave(hook: Receiver, writer: asyncio.StreamWriter) -> None:
        await answers(status)(hook, writer)

    async with receiver(behave) as hook, bench(tmp_path, hook) as desk:
        desk.raised(3)
        await desk.passes(100, tick=10)
        desk.raised(2)
        await desk.passes(100, tick=10)
        assert hook.connections == 1
        assert [delivery.state for delivery in desk.deliveries()] == ["dead"] * 5
        assert "410" in desk.alerts.complaints[0]
        status = 200
        assert desk.alerts.replay(["msg_2"]) == 1
        await desk.passes(10)
        assert hook.ids == ["msg_1", "msg_2"]
        desk.raised()
        await desk.alerts.finish(30.0)
        assert hook.ids == ["msg_1", "msg_2", "msg_6"]


async def test_the_same_alert_is_sent_once(tmp_path: Path) -> None:
    async with receiver() as hook, bench(tmp_path, hook) as desk:
        alert = desk.alert()
        assert [desk.alerts.raise_(alert) for _ in range(3)] == [True, False, False]
        await desk.alerts.finish(30.0)
        assert hook.ids == ["msg_1"]


async def test_too_many_alerts_become_a_digest_and_leave_room_for_attacks(tmp_path: Path) -> None:
    async with receiver() as hook, bench(tmp_path, hook, per_hour=10) as desk:
        for number in range(1000):
            desk.alerts.raise_(desk.alert(BURST, ip=f"203.0.113.{number % 250}"))
        assert desk.raised() == ["msg_1001"]
        await desk.passes(10)
        kinds = [verify_webhook(OLD, r.headers, r.body, now=desk.now)["type"] for r in hook.received]
        assert kinds.count(BURST) == 5
        assert kinds.count(ATTACK_DETECTED) == 1
        assert kinds.count(DIGEST) == 1
        digest = next(r for r, kind in zip(hook.received, kinds, strict=True) if kind == DIGEST)
        content = verify_webhook(OLD, digest.headers, digest.body, now=desk.now)["data"]
        assert content["count"] == 995
        assert content["types"][0]["type"] == BURST
        assert content["types"][0]["example"] == {"ip": "203.0.113.5"}
        for _ in range(100):
            desk.alerts.raise_(desk.alert(BURST))
        await desk.passes(10)
        assert len(hook.received) == 7
        await desk.passes(1000, tick=10)
        assert len(hook.received) == 8


async def test_a_digest_survives_the_process_that_held_back(tmp_path: Path) -> None:
    async with receiver() as hook:
        async with bench(tmp_path, hook, per_hour=1) as desk:
            desk.raised(1, AUDIT_DEGRADED)
            desk.alerts.raise_(desk.alert(AUDIT_DEGRADED))
            desk.alerts._digested_at = desk.now
            await desk.alerts.finish(30.0)
        async with bench(tmp_path, hook) as desk:
            await desk.passes(60, tick=60)
        assert len(hook.received) == 2
        assert verify_webhook(OLD, hook.received[1].headers, hook.received[1].body, now=desk.now)["data"]["count"] == 1


async def test_a_used_token_is_an_alert(tmp_path: Path) -> None:
    async with receiver() as hook, bench(tmp_path, hook) as desk:
        reused = Event(
            time_us=1, kind=AUTH, action="token.reused", user="ann", ip="203.0.113.7", session="s1", user_agent="\x1b[2J"
        )
        await desk.alerts.watch([Event(time_us=1, kind=HTTP, action="request"), reused])
        await desk.alerts.finish(30.0)
        content = verify_webhook(OLD, hook.received[0].headers, hook.received[0].body, now=START)
        assert content["type"] == TOKEN_REUSE
        assert content["data"]["user"] == "ann"
        assert content["data"]["user_agent"] == "\ufffd[2J"


async def test_without_a_place_on_disk_alerts_are_sent_from_memory_and_it_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    async with receiver() as hook, bench(tmp_path / "file", hook) as desk:
        desk.raised()
        await desk.alerts.finish(30.0)
        assert hook.ids == ["msg_1"]
        assert "memory only" in desk.alerts.complaints[0]
    assert "memory only" in caplog.text


async def test_a_full_disk_loses_no_alert(tmp_path: Path) -> None:
    async with receiver() as hook, bench(tmp_path, hook) as desk:
        desk.box._connection.execute("PRAGMA max_page_count = 12")
        raised = [alert.id for alert in (desk.alert(text="x" * 500) for _ in range(50)) if desk.alerts.raise_(alert)]
        assert len(raised) == 50
        assert "full" in desk.alerts.complaints[0]
        await desk.alerts.finish(30.0)
        assert sorted(hook.ids) == sorted(raised)
        assert len({delivery.alert for delivery in desk.deliveries("delivered")}) == 50
        desk.box._connection.execute("PRAGMA max_page_count = 10000")
        desk.raised()
        assert desk.alerts.complaints == ()


async def test_what_arrived_is_not_sent_again_when_that_cannot_be_written_down(tmp_path: Path) -> None:
    async with receiver() as hook, bench(tmp_path, hook) as desk:
        desk.raised(2)
        (path,) = tmp_path.rglob("*.db")
        other = sqlite3.connect(path, isolation_level=None)
        desk.box._connection.execute("PRAGMA busy_timeout = 0")
        other.execute("BEGIN IMMEDIATE")
        for _ in range(5):
            await desk.passes(5)
        assert hook.ids == ["msg_1", "msg_2"]
        assert "locked" in desk.alerts.complaints[0]
        other.execute("ROLLBACK")
        other.close()
        await desk.passes(5)
        assert [delivery.state for delivery in desk.deliveries()] == ["delivered"] * 2
        assert hook.ids == ["msg_1", "msg_2"]


async def test_the_outbox_is_bounded(tmp_path: Path) -> None:
    box = Outbox()
    for number in range(MOST_WAITING + 10):
        box.add(f"m{number}", BURST, b"{}", {"e": "e"}, START)
    assert box.counts() == {"waiting": MOST_WAITING}
    for delivery in box.deliveries(["waiting"], MOST_WAITING):
        box.record(delivery, "dead" if int(delivery.alert[1:]) % 2 else "delivered", START + int(delivery.alert[1:]), "")
    box.prune()
    assert box.counts() == {"dead": 1000, "delivered": 500}
    assert box.deliveries(["delivered"], 1)[0].due_at >= START + 4000
    box.close()


def orphan(desk: Bench, alerts: int) -> Path:
    """What a process left that was killed: its lock is free."""
    (endpoint,) = desk.alerts.endpoints
    box = desk.shelf.open()
    for number in range(alerts):
        box.add(f"theirs_{number}", BURST, b'{"type":"x"}', {endpoint.key: endpoint.name}, START)
    database = box._database
    assert database is not None
    box.disconnect()
    database.claim.release()
    return database.claim.path


async def test_an_orphan_is_adopted(tmp_path: Path) -> None:
    async with receiver() as hook, bench(tmp_path, hook) as desk:
        path = orphan(desk, 120)
        desk.raised()
        assert len(desk.deliveries()) == 121
        await desk.passes(1)
        assert sorted(hook.ids) == sorted(["msg_1", *(f"theirs_{number}" for number in range(120))])
        assert not path.exists()


async def test_a_living_process_keeps_its_outbox(tmp_path: Path) -> None:
    async with receiver() as hook, bench(tmp_path, hook) as one, bench(tmp_path, hook) as two:
        (alert,) = one.raised()
        await two.passes(200, tick=50)
        assert hook.connections == 0
        assert [delivery.alert for delivery in two.deliveries()] == [alert]
        await one.passes(1)
        assert hook.ids == [alert]


async def test_a_damaged_orphan_is_put_aside_and_the_others_are_adopted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with receiver() as hook, bench(tmp_path, hook) as desk:
        broken = min(orphan(desk, 1), orphan(desk, 1))
        broken.with_suffix(".db-wal").unlink(missing_ok=True)
        broken.write_bytes(b"no database" * 1000)
        await desk.passes(1)
        assert hook.ids == ["theirs_0"]
        assert broken.with_suffix(".damaged").exists()
    assert "is damaged" in caplog.text


async def test_an_alert_that_was_changed_on_disk_is_not_sent(tmp_path: Path) -> None:
    async with receiver() as hook, bench(tmp_path, hook) as desk:
        desk.raised(2)
        desk.box._connection.execute("UPDATE alerts SET body = replace(body, 'attack', 'attach') WHERE id = 'msg_1'")
        await desk.passes(1)
        assert hook.ids == ["msg_2"]
        assert {delivery.alert: delivery.note for delivery in desk.deliveries()}["msg_1"] == "what it says is damaged"


async def test_outboxes_of_another_namespace_are_left_alone(tmp_path: Path) -> None:
    async with receiver() as hook, bench(tmp_path, hook) as desk:
        theirs = SpoolShelf(Directory(tmp_path, "another")).open()
        theirs.add("theirs", BURST, b"{}", {"e": "e"}, START)
        theirs.close()
        await desk.passes(70, tick=70)
        assert desk.deliveries() == []
        assert hook.connections == 0


async def test_an_outbox_with_nothing_in_it_leaves_no_file(tmp_path: Path) -> None:
    async with receiver() as hook, bench(tmp_path, hook) as desk:
        await desk.passes(1)
        assert list(tmp_path.rglob("alerts.*"))
    assert not list(tmp_path.rglob("alerts.*"))


async def test_what_waits_for_a_receiver_that_is_gone_from_the_settings_goes_to_the_others(tmp_path: Path) -> None:
    async with receiver(answers(500)) as old, receiver() as new:
        async with bench(tmp_path, old) as desk:
            desk.raised(2)
        async with bench(tmp_path, new) as desk:
            await desk.passes(1)
            assert sorted(new.ids) == ["msg_1", "msg_2"]
            assert sorted(delivery.state for delivery in desk.deliveries()) == ["dead", "dead", "delivered", "delivered"]


async def test_alerts_nobody_wants_are_not_kept(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        assert not desk.alerts.raise_(desk.alert())
        assert desk.deliveries() == []


async def test_many_threads_may_raise_at_once(tmp_path: Path) -> None:
    async with receiver() as hook, bench(tmp_path, hook, per_hour=1000) as desk:
        made = [desk.alert() for _ in range(100)]
        kept = await asyncio.gather(*(asyncio.to_thread(desk.alerts.raise_, alert) for alert in made))
        assert all(kept)
        await desk.alerts.finish(30.0)
        assert sorted(hook.ids) == sorted(alert.id for alert in made)


def test_a_clock_that_was_set_back_pauses_nobody_for_good() -> None:
    circuit = Circuit()
    for _ in range(9):
        circuit.heard(Answer(500), START, 0.0)
    assert not circuit.ready(START)
    assert circuit.ready(START - 86_400)


def test_the_budget_fills_evenly_and_common_types_may_use_half() -> None:
    budget = Budget(60)
    assert sum(budget.take(BURST, START) for _ in range(100)) == 30
    assert sum(budget.take(ATTACK_DETECTED, START) for _ in range(100)) == 30
    assert sum(budget.take(ATTACK_DETECTED, START + 600) for _ in range(100)) == 10
    assert Budget(1).take(BURST, START)


def test_alerts_are_made_without_touching_the_disk(tmp_path: Path) -> None:
    Bench(tmp_path / "nothing", "https://hooks.example.com/")
    assert not list(tmp_path.iterdir())


async def test_an_audit_log_that_stays_broken_is_told_once_and_so_is_its_recovery(tmp_path: Path) -> None:
    problems: list[str] = []
    async with receiver() as hook, bench(tmp_path, hook) as desk:
        desk.alerts.audit = lambda: problems

        async def told(seconds: float) -> list[str]:
            await desk.passes(seconds)
            return [json.loads(request.body)["type"] for request in hook.received]

        assert await told(60) == []
        problems.append("the sink does not answer")
        assert await told(6) == []
        problems.clear()
        assert await told(60) == []
        problems.append("the sink does not answer")
        assert await told(600) == [AUDIT_DEGRADED]
        assert json.loads(hook.received[0].body)["data"]["problems"] == ["the sink does not answer"]
        problems.clear()
        assert await told(20) == [AUDIT_DEGRADED]
        problems.append("again")
        assert await told(20) == [AUDIT_DEGRADED]
        problems.clear()
        assert await told(100) == [AUDIT_DEGRADED, AUDIT_RECOVERED]
        assert 630 <= json.loads(hook.received[1].body)["data"]["seconds"] <= 660
