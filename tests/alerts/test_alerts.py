"""Alerts from raising to arrival, with receivers that fail in every way, on a clock that the test moves."""

from __future__ import annotations

import asyncio
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
from lockwatch.alerts.alert import ATTACK_DETECTED, AUDIT_DEGRADED, BURST, DIGEST, TOKEN_REUSE
from lockwatch.alerts.circuit import Budget, Circuit
from lockwatch.alerts.dispatch import Alerts
from lockwatch.alerts.outbox import MOST_WAITING, Outbox
from lockwatch.alerts.schedule import MAX_AGE, Answer
from lockwatch.event import AUTH, HTTP, Event
from tests.alerts import receivers
from tests.alerts.bench import START, Bench
from tests.alerts.receivers import Receiver, answers, receiver
from tests.alerts.test_signing import OLD

HOUR = 3600.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "outbox.sqlite"


@asynccontextmanager
async def bench(file: Path, *hooks: Receiver, **options: Any) -> AsyncIterator[Bench]:
    made = Bench(file, *(hook.url() for hook in hooks), **options)
    try:
        yield made
    finally:
        await made.alerts.finish(0.0)
        made.alerts.close()


async def until(true: Callable[[], bool], job: Callable[[], Awaitable[None]]) -> None:
    """Do a job, as the worker would, until something is true."""
    ends = time.monotonic() + 20
    while not true():
        await job()
        assert time.monotonic() < ends
        await asyncio.sleep(0.005)


async def test_an_alert_arrives_signed_and_is_remembered(file: Path) -> None:
    async with receiver() as hook, bench(file, hook) as desk:
        assert desk.alerts.raise_(desk.alert(campaign="c1"))
        await desk.alerts.finish()
        (request,) = hook.received
        content = verify_webhook(OLD, request.headers, request.body, now=START)
        assert content["type"] == ATTACK_DETECTED
        assert content["data"] == {"campaign": "c1"}
        (delivery,) = desk.deliveries()
        assert (delivery.state, delivery.attempts, delivery.note) == ("delivered", 1, "answered 204")
        assert desk.alerts.complaints == ()


async def test_it_is_in_the_outbox_before_anything_is_sent(file: Path) -> None:
    async with receiver() as hook, bench(file, hook) as desk:
        desk.raised(3)
        assert [delivery.state for delivery in desk.deliveries()] == ["waiting"] * 3
        assert hook.connections == 0


async def test_neither_url_nor_secret_is_in_the_file(file: Path) -> None:
    async with receiver() as hook, bench(file, hook) as desk:
        desk.raised()
        await desk.alerts.finish()
    kept = b"".join(path.read_bytes() for path in file.parent.iterdir())
    assert b"lockwatch.attack.detected" in kept
    assert b"/hook" not in kept
    assert OLD.removeprefix("whsec_").encode() not in kept


@pytest.mark.parametrize("status", [500, 503, 404, 302])
async def test_a_receiver_that_fails_for_an_hour_gets_everything_once_afterwards(file: Path, status: int) -> None:
    works = False

    async def behave(hook: Receiver, writer: asyncio.StreamWriter) -> None:
        await answers(204 if works else status)(hook, writer)

    async with receiver(behave) as hook, bench(file, hook) as desk:
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


async def test_a_receiver_that_is_down_is_complained_about_once(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with receiver() as hook:
        pass
    async with bench(file, hook) as desk:
        desk.raised(3)
        await desk.passes(300, tick=10)
        (complaint,) = desk.alerts.complaints
        assert complaint.startswith("alerts do not arrive at 127.0.0.1#")
        assert complaint.endswith(": it refuses connections")
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == [f"lockwatch: {complaint}"]


async def test_a_receiver_that_hangs_delays_no_other_and_nothing_is_lost(file: Path) -> None:
    async with receiver(receivers.hangs) as hanging, receiver() as hook, bench(file, hanging, hook, timeout=60.0) as desk:
        begun = time.monotonic()
        for _ in range(5):
            raised = set(desk.raised(2))
            await until(partial(hook.has, raised), desk.alerts.deliver)
        assert time.monotonic() - begun < 50
        assert len(hook.received) == 10
        assert hanging.connections == 1
        assert len(desk.deliveries("waiting")) == 10


async def test_retry_after_pauses_the_receiver(file: Path) -> None:
    async with receiver(answers(429, "retry-after: 1000")) as hook, bench(file, hook) as desk:
        desk.raised(5)
        await desk.passes(990, tick=10)
        assert len(hook.received) == 1
        await desk.passes(20)
        assert len(hook.received) == 2


async def test_an_alert_dies_after_eight_attempts_and_can_be_replayed(file: Path) -> None:
    works = False

    async def behave(hook: Receiver, writer: asyncio.StreamWriter) -> None:
        await answers(204 if works else 500)(hook, writer)

    async with receiver(behave) as hook, bench(file, hook) as desk:
        desk.raised()
        await desk.passes(40 * HOUR, tick=60)
        assert hook.ids == ["msg_1"] * 8
        (delivery,) = desk.deliveries()
        assert (delivery.state, delivery.attempts, delivery.note) == ("dead", 8, "answered 500")
        assert "alerts do not arrive" in desk.alerts.complaints[0]
        works = True
        box = desk.open()
        assert box.replay((), desk.now) == 1
        box.close()
        await desk.passes(700, tick=10)
        assert hook.ids == ["msg_1"] * 9
        assert desk.deliveries()[0].state == "delivered"


async def test_attempts_keep_their_distances(file: Path) -> None:
    times: list[float] = []

    async def behave(hook: Receiver, writer: asyncio.StreamWriter) -> None:
        times.append(desk.now - START)
        await answers(500)(hook, writer)

    async with receiver(behave) as hook, bench(file, hook) as desk:
        desk.raised()
        await desk.alerts.finish()
        await desk.passes(2 * HOUR, tick=1)
    expected = [0.0]
    for delay in (5, 30, 120, 600, 3600):
        expected.append(expected[-1] + delay)
    assert len(times) == 6
    assert all(least <= found <= least * 1.2 + 6 for least, found in zip(expected, times, strict=True)), times


async def test_an_alert_that_is_too_old_dies_without_another_attempt(file: Path) -> None:
    async with receiver() as hook, bench(file, hook) as desk:
        desk.raised()
        desk.now += MAX_AGE + 1
        await desk.alerts.finish()
        assert hook.connections == 0
        assert desk.deliveries()[0].note == "too old; last: not tried"
        assert "never arrived" in desk.alerts.complaints[0]


async def test_410_ends_it_until_somebody_replays(file: Path) -> None:
    status = 410

    async def behave(hook: Receiver, writer: asyncio.StreamWriter) -> None:
        await answers(status)(hook, writer)

    async with receiver(behave) as hook, bench(file, hook) as desk:
        desk.raised(3)
        await desk.passes(100, tick=10)
        desk.raised(2)
        await desk.passes(100, tick=10)
        assert hook.connections == 1
        assert [delivery.state for delivery in desk.deliveries()] == ["dead"] * 5
        assert "410" in desk.alerts.complaints[0]
        status = 200
        box = desk.open()
        assert box.replay(["msg_2"], desk.now) == 1
        box.close()
        await desk.passes(10)
        assert hook.ids == ["msg_1", "msg_2"]
        desk.raised()
        await desk.alerts.finish()
        assert hook.ids == ["msg_1", "msg_2", "msg_6"]


async def test_the_same_alert_is_sent_once(file: Path) -> None:
    async with receiver() as hook, bench(file, hook) as desk:
        alert = desk.alert()
        assert [desk.alerts.raise_(alert) for _ in range(3)] == [True, False, False]
        await desk.alerts.finish()
        assert hook.ids == ["msg_1"]


async def test_what_is_prepared_is_kept_but_not_sent_before_it_counts(file: Path) -> None:
    async with receiver() as hook, bench(file, hook) as desk:
        mine, others = desk.alerts.prepare(desk.alert(BURST)), desk.alerts.prepare(desk.alert(BURST))
        assert mine is not None
        assert others is not None
        await desk.alerts.finish()
        assert hook.connections == 0
        assert [delivery.state for delivery in desk.deliveries()] == ["unsure"] * 2
        mine.confirm()
        others.withdraw()
        await desk.alerts.finish()
        assert hook.ids == ["msg_1"]
        assert len(desk.deliveries()) == 1


async def test_what_nobody_decides_is_sent(file: Path) -> None:
    async with receiver() as hook, bench(file, hook) as desk:
        desk.alerts.prepare(desk.alert(BURST))
        await desk.passes(29)
        assert hook.connections == 0
        await desk.passes(10)
        assert hook.ids == ["msg_1"]


async def test_what_is_withdrawn_takes_nothing_from_the_budget(file: Path) -> None:
    async with receiver() as hook, bench(file, hook, per_hour=4) as desk:
        for _ in range(20):
            kept = desk.alerts.prepare(desk.alert(BURST))
            assert kept is not None
            assert kept.kept
            kept.withdraw()


async def test_too_many_alerts_become_a_digest_and_leave_room_for_attacks(file: Path) -> None:
    async with receiver() as hook, bench(file, hook, per_hour=10) as desk:
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


async def test_a_digest_survives_the_process_that_held_back(file: Path) -> None:
    async with receiver() as hook:
        async with bench(file, hook, per_hour=1) as desk:
            desk.raised(1, AUDIT_DEGRADED)
            desk.alerts.raise_(desk.alert(AUDIT_DEGRADED))
            desk.alerts._digested_at = desk.now
            await desk.alerts.finish()
        async with bench(file, hook) as desk:
            desk.now += 60
            await desk.alerts.finish()
        assert len(hook.received) == 2
        assert verify_webhook(OLD, hook.received[1].headers, hook.received[1].body, now=desk.now)["data"]["count"] == 1


async def test_a_used_token_is_an_alert(file: Path) -> None:
    async with receiver() as hook, bench(file, hook) as desk:
        reused = Event(
            time_us=1, kind=AUTH, action="token.reused", user="ann", ip="203.0.113.7", session="s1", user_agent="\x1b[2J"
        )
        await desk.alerts.watch([Event(time_us=1, kind=HTTP, action="request"), reused])
        await desk.alerts.finish()
        content = verify_webhook(OLD, hook.received[0].headers, hook.received[0].body, now=START)
        assert content["type"] == TOKEN_REUSE
        assert content["data"]["user"] == "ann"
        assert content["data"]["user_agent"] == "\ufffd[2J"


async def test_without_a_place_on_disk_alerts_are_sent_from_memory_and_it_says_so(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> Outbox:
        raise PermissionError(13, "Permission denied")

    async with receiver() as hook, bench(file, hook, opens=fails) as desk:
        desk.raised()
        await desk.alerts.finish()
        assert hook.ids == ["msg_1"]
        assert "memory only" in desk.alerts.complaints[0]
    assert "memory only" in caplog.text


class Tight(Bench):
    """Its disk has room for so many pages."""

    pages = 2**30

    def open(self) -> Outbox:
        box = super().open()
        box._connection.execute(f"PRAGMA max_page_count = {self.pages}")
        return box


async def test_a_full_disk_loses_no_alert(file: Path) -> None:
    async with receiver() as hook:
        desk = Tight(file, hook.url())
        desk.pages = 12
        raised = [alert.id for alert in (desk.alert(text="x" * 500) for _ in range(50)) if desk.alerts.raise_(alert)]
        assert len(raised) == 50
        assert "full" in desk.alerts.complaints[0]
        await desk.alerts.finish()
        assert sorted(hook.ids) == sorted(raised)
        desk.alerts.close()


async def test_what_arrived_is_not_sent_again_when_that_cannot_be_written_down(file: Path) -> None:
    async with receiver() as hook, bench(file, hook) as desk:
        desk.raised(2)
        other = sqlite3.connect(file, isolation_level=None)
        desk.alerts._keeper.boxes[0]._connection.execute("PRAGMA busy_timeout = 0")
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


async def test_the_outbox_is_bounded(file: Path) -> None:
    box = Outbox.in_memory()
    for number in range(MOST_WAITING + 10):
        box.add(f"m{number}", BURST, b"{}", {"e": "e"}, START)
    assert box.counts() == {"waiting": MOST_WAITING}
    for delivery in box.deliveries(["waiting"], MOST_WAITING):
        box.record(delivery, "dead" if int(delivery.alert[1:]) % 2 else "delivered", START + int(delivery.alert[1:]), "")
    box.prune()
    assert box.counts() == {"dead": 1000, "delivered": 500}
    assert box.deliveries(["delivered"], 1)[0].due_at >= START + 4000
    box.close()


async def test_an_orphan_is_adopted_and_what_it_was_unsure_of_is_sent(tmp_path: Path) -> None:
    async with receiver() as hook, bench(tmp_path / "ours", hook) as desk:
        key, name = desk.alerts.endpoints[0].key, desk.alerts.endpoints[0].name
        theirs = Outbox(sqlite3.connect(tmp_path / "theirs", check_same_thread=False))
        for number in range(120):
            theirs.add(f"theirs_{number}", BURST, b"{}", {key: name}, START, "unsure" if number % 2 else "waiting")
        ours = desk.alerts._keeper.boxes[0]
        assert ours.adopt(theirs, START) == 120
        assert ours.adopt(theirs, START) == 0
        theirs.close()
        await desk.alerts.finish(30.0)
        assert sorted(hook.ids) == sorted(f"theirs_{number}" for number in range(120))


async def test_what_waits_for_a_receiver_that_is_gone_from_the_settings_goes_to_the_others(file: Path) -> None:
    async with receiver() as old, receiver() as new:
        async with bench(file, old) as desk:
            desk.raised(2)
        async with bench(file, new) as desk:
            (endpoint,) = desk.alerts.endpoints
            desk.alerts._keeper.boxes[0].readdress({endpoint.key: endpoint.name}, START)
            await desk.alerts.finish()
            assert sorted(new.ids) == ["msg_1", "msg_2"]
            assert sorted(delivery.state for delivery in desk.deliveries()) == ["dead", "dead", "delivered", "delivered"]
        assert old.connections == 0


async def test_alerts_nobody_wants_are_not_kept(file: Path) -> None:
    async with bench(file) as desk:
        assert not desk.alerts.raise_(desk.alert())
        assert desk.alerts.prepare(desk.alert()) is None
        assert desk.deliveries() == []


async def test_many_threads_may_raise_at_once(file: Path) -> None:
    async with receiver() as hook, bench(file, hook, per_hour=1000) as desk:
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
    def fails() -> Outbox:
        raise AssertionError

    Alerts((), fails)
