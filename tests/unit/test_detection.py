"""Signals, baselines and rules, through the doors of their modules."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from lockwatch.anomaly.campaign import EVERYONE, Change
from lockwatch.anomaly.cells import HOUR_US, Cells, Channel, Cusum
from lockwatch.anomaly.detector import Detector
from lockwatch.anomaly.names import Names, network_of, range_of, source_of
from lockwatch.anomaly.rules import RULES, Settings, ruled
from lockwatch.anomaly.score import Scorer
from lockwatch.anomaly.signals import Fading, Table
from lockwatch.anomaly.sketch import Known, Registers, pair
from lockwatch.anomaly.state import pack, unpack
from lockwatch.anomaly.tally import Tally
from lockwatch.errors import ConfigurationError
from lockwatch.event import Event

SECOND = 1_000_000
NOW = 1_767_571_200 * SECOND
NAMES = Names(b"k" * 32, remembered=10**6)


def login(
    user: str, ip: str, outcome: str = "failure", *, at: float = 0, agent: str | None = "curl", action: str = "login"
) -> Event:
    return Event(
        time_us=NOW + int(at * SECOND),
        kind="auth",
        action=action,
        outcome=outcome,
        user=user,
        ip=ip,
        user_agent=agent,
        request_id="r",
    )


def request(
    ip: str, *, at: float = 0, count: int = 1, status: int = 200, route: str = "/a", path: str = "/a", **more: str
) -> Event:
    return Event(
        time_us=NOW + int(at * SECOND),
        kind="http",
        action="request",
        ip=ip,
        count=count,
        status=status,
        route=route,
        path=path,
        method="GET",
        **more,  # type: ignore[arg-type]
    )


def told(events: Iterator[Event] | list[Event], detector: Detector | None = None) -> list[Change]:
    """What a detector says, event by event."""
    detector = detector or Detector()
    changes = []
    for event in events:
        tally = Tally()
        tally.add(event, NAMES)
        changes += detector.feed(tally)
    return changes


def opened(changes: list[Change]) -> list[str]:
    return [change.campaign.rule for change in changes if change.kind == "opened"]


def test_a_burst_of_an_address_is_told_and_is_over_a_minute_later() -> None:
    detector = Detector()
    changes = told([request("203.0.113.7", at=n / 10) for n in range(100)], detector)
    assert opened(changes) == ["burst.address"]
    assert changes[0].campaign.sources == (NAMES.address("203.0.113.7"),)
    assert [change.kind for change in detector.tick(NOW + 200 * SECOND)] == ["resolved"]


def test_an_office_may_send_what_its_users_may_send_together() -> None:
    people = [login(f"user{n}", "203.0.113.7", "success") for n in range(20)]
    assert opened(told([*people, *[request("203.0.113.7", at=n / 10) for n in range(100)]])) == []


def test_a_burst_of_a_user_over_many_addresses_is_told() -> None:
    assert opened(told([request(f"203.0.113.{n % 200}", user="alice", at=n / 50) for n in range(200)])) == ["burst.user"]


def test_a_burst_of_a_route_is_told_as_a_trial() -> None:
    changes = told([request(f"198.51.{n % 100}.1", at=n / 100) for n in range(900)])
    (first,) = [change for change in changes if change.campaign.rule == "burst.route"]
    assert (first.campaign.dry_run, first.actions) == (True, ())


def test_unmatched_paths_are_a_scan_and_missing_photos_are_not() -> None:
    scan = [request("203.0.113.7", at=60 * n, status=404, route="<unmatched>", path=f"/{n}.php") for n in range(40)]
    photos = [request("203.0.113.8", at=60 * n, status=404, route="/photos/{id}", path=f"/photos/{n}") for n in range(400)]
    changes = told(sorted([*scan, *photos], key=lambda event: event.time_us))
    assert opened(changes) == ["scan.address"]
    assert changes[0].campaign.sources == (NAMES.address("203.0.113.7"),)


def test_asking_a_reset_form_for_many_names_is_told() -> None:
    changes = told([login(f"name{n}", "203.0.113.7", at=30 * n, action="reset") for n in range(60)])
    assert opened(changes)[0] in ("enumeration.address", "failures.address")


def test_one_user_from_many_networks_is_told_and_only_novel_pairs_are_challenged() -> None:
    changes = told([login("alice", f"198.51.{n}.1", at=600 * n, agent=f"a{n}") for n in range(20)])
    assert opened(changes) == ["spread.account"]
    (challenge,) = [action for action in changes[0].actions if action.kind == "challenge"]
    assert (challenge.about, challenge.subject_hash) == ("user", NAMES.user("alice"))
    assert not [action for change in changes for action in change.actions if action.kind == "ban"]


def test_a_phone_with_a_stale_password_is_no_attack() -> None:
    phone = [login("alice", "203.0.113.7", at=60 * n, agent="phone") for n in range(1, 1000)]
    assert opened(told([login("alice", "203.0.113.7", "success", agent="phone"), *phone])) == []


def test_guessing_at_one_account_from_one_address_is_told() -> None:
    assert opened(told([login("alice", "203.0.113.7", at=n) for n in range(50)])) == ["failures.address"]


def test_an_office_where_many_mistype_is_no_attack() -> None:
    rng = Random(4)
    people = [login(f"user{n}", "203.0.113.7", "failure" if rng.random() < 0.2 else "success", at=n * 5) for n in range(400)]
    assert opened(told(people)) == []


def test_a_session_used_from_many_networks_at_once_is_told() -> None:
    assert opened(told([request(f"198.{n}.0.1", at=n, session="s") for n in range(8)])) == ["key.travel"]
    assert opened(told([request(f"198.{n}.0.1", at=3600 * n, session="s") for n in range(8)])) == []


def test_a_user_who_is_broken_into_is_named_and_does_not_become_known() -> None:
    detector = Detector()
    told([login(f"user{n}", "203.0.113.7", at=10 * n) for n in range(30)], detector)
    changes = told([login("alice", "203.0.113.7", "success", at=400), login("bob", "203.0.113.7", at=4500)], detector)
    assert changes[-1].kind == "updated"
    assert changes[-1].campaign.compromised == (NAMES.user("alice"),)
    tally = Tally()
    tally.add(login("alice", "203.0.113.7"), NAMES)
    assert not detector.knows(next(iter(tally.logins.values())))


def test_what_joins_a_campaign_is_acted_on_at_once_and_told_later() -> None:
    rules = ruled({"failures.address": {"ban": 600}})
    detector = Detector(Settings(rules=rules))
    first = told([login(f"user{n}", "203.0.113.7", at=n) for n in range(30)], detector)
    assert [action.kind for change in first for action in change.actions] == ["alert", "ban"]
    then = told([login(f"user{n}", "203.0.113.8", at=60 + n) for n in range(30)], detector)
    assert [(change.kind, [action.kind for action in change.actions]) for change in then] == [("updated", ["ban"])]
    assert then[0].actions[0].subject_hash == NAMES.address("203.0.113.8")
    assert then[0].campaign.id == first[0].campaign.id
    assert then[0].campaign.sources[0] == NAMES.address("203.0.113.8")


def test_a_million_names_and_addresses_fill_bounded_tables() -> None:
    bounds = Settings(sources=500, accounts=500, known_bytes=4096)
    detector = Detector(bounds)
    names = Names(b"k", remembered=1000)
    for step in range(20):
        tally = Tally()
        for n in range(1000):
            number = step * 1000 + n
            event = login(f"x{number}", f"{11 + number % 50}.{number // 250 % 250}.{number % 250}.1", at=step)
            tally.add(event, names)
            tally.add(request(event.ip or "", at=step, user=event.user or ""), names)
        detector.feed(tally)
    health = detector.health()
    assert health["sources"] == health["accounts"] == health["users"] == 500
    assert health["evicted"] >= 3 * 19_500  # type: ignore[operator]
    assert len(detector.dump()) < 3_000_000


def test_changes_of_rules_are_checked() -> None:
    assert ruled({"scan.address": {"threshold": 30}})["scan.address"].threshold == 30
    with pytest.raises(ConfigurationError, match="no rule"):
        ruled({"scan": {}})
    with pytest.raises(ConfigurationError, match=r"scan\.address"):
        ruled({"scan.address": {"limit": 30}})


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_that_is_off_says_nothing(rule: object) -> None:
    name = rule.name  # type: ignore[attr-defined]
    detector = Detector(Settings(off=frozenset({name})))
    events = [login(f"user{n}", "203.0.113.7", at=n) for n in range(60)]
    assert name not in opened(told(events, detector))


def test_a_state_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="another version"):
        Detector().load(pack([0, 0]))
    with pytest.raises(ValueError, match="no state"):
        Detector().load(b"something else")


@given(st.recursive(st.one_of(st.integers(), st.binary(), st.text(), st.none(), st.booleans()), st.lists, max_leaves=10))
def test_a_state_is_read_as_it_was_written(state: object) -> None:
    assert unpack(pack(state)) == state


@examples(max_examples=30, deadline=None)
@given(st.integers(1, 3000), st.integers(0, 10**6), st.sampled_from([16, 32, 64]))
def test_registers_count_different_keys(count: int, seed: int, size: int) -> None:
    rng = Random(seed)
    keys = [rng.randbytes(8) for _ in range(count)]
    registers = Registers(size)
    for key in [*keys, *keys[: count // 2]]:
        registers.add(key)
    assert abs(len(registers) - count) <= max(3, count * 6 * 1.04 / size**0.5)
    assert len(Registers(raw=registers.dump())) == len(registers)


@examples(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_what_is_known_is_never_forgotten_before_its_time(seed: int) -> None:
    rng = Random(seed)
    known = Known(4096, 100)
    seen: list[int] = []
    for now in range(1, 150):
        key = rng.getrandbits(64)
        known.add(key, now)
        seen = [*seen[-60:], key]
        assert all(each in known for each in seen)
    wrong = sum(rng.getrandbits(64) in known for _ in range(1000))
    assert wrong < 20


def test_what_nobody_used_for_long_is_forgotten() -> None:
    rng = Random(1)
    known, first = Known(4096, 100), rng.getrandbits(64)
    known.add(first, 1)
    for now in range(2, 500):
        known.add(rng.getrandbits(64), now)
    assert first not in known
    assert pair(b"a" * 8, b"b" * 8) != pair(b"b" * 8, b"a" * 8)


def test_a_fading_sum_reads_a_steady_rate_as_its_span() -> None:
    sum_ = Fading()
    for second in range(1000):
        sum_.add(1, second * SECOND, 60)
    assert 58 < sum_.value < 62
    assert sum_.read(1000 * SECOND + 3600 * SECOND, 60) < 1e-9


def test_a_table_drops_the_least_recently_used() -> None:
    table: Table[list[int]] = Table(2, list)
    table.touch(b"a").append(1)
    table.touch(b"b")
    table.touch(b"a")
    table.touch(b"c")
    assert (table.get(b"a"), table.get(b"b"), table.evicted, len(table)) == ([1], None, 1, 2)


def test_cells_learn_the_hours_of_the_week() -> None:
    cells = Cells()
    start = NOW // HOUR_US
    for hour in range(start, start + 24 * 28):
        cells.learn(hour, 20 if hour % 24 == 9 else 1, cells.expected(hour), 1.0)
    assert cells.expected(start + 24 * 28 + 9) > 14
    assert cells.expected(start + 24 * 28 + 3) < 2.5


def test_dispersion_is_measured() -> None:
    rng = Random(1)
    steady, wild = Cells(), Cells()
    start = NOW // HOUR_US
    for hour in range(start, start + 24 * 28):
        steady.learn(hour, 20, steady.expected(hour), 1.0)
        wild.learn(hour, 20 + rng.choice((-15, 15)), wild.expected(hour), 1.0)
        if hour % 24 == 0:
            steady.learn_day(480, 480)
    assert steady.dispersion(start) < 1
    assert wild.dispersion(start) > 5


def test_a_change_point_is_where_the_rate_rose() -> None:
    cusum = Cusum()
    for step in range(200):
        cusum.add(4.0 if step >= 150 else 1.0, 1.0, 1.0, step, 1000.0)
    assert 148 <= cusum.since_us[cusum.best] <= 150
    assert max(cusum.sums) > 100
    cusum.restart()
    for step in range(20):
        cusum.add(1.0, 1.0, 1.0, 200 + step, 1000.0)
    assert cusum.calm


def test_a_channel_does_not_learn_what_happens_during_a_campaign() -> None:
    channel = Channel(24.0)

    def day(rate: float, number: int, *, learn: bool) -> None:
        for step in range(288):
            channel.add(rate)
            channel.step(NOW + (number * 288 + step) * 300 * SECOND, 300, 1.0, 0.0, learn=learn)

    for number in range(7):
        day(1.0, number, learn=True)
    usual = channel.usual(NOW + 7 * 288 * 300 * SECOND, 300)
    day(50.0, 7, learn=False)
    assert channel.evidence == 24.0
    assert channel.usual(NOW + 8 * 288 * 300 * SECOND, 300) == pytest.approx(usual, rel=0.1)


@pytest.mark.parametrize(
    ("ip", "source", "network", "range_"),
    [
        ("203.0.113.7", "203.0.113.7", "203.0.113.0/24", "203.0.0.0/16"),
        ("::ffff:203.0.113.7", "203.0.113.7", "203.0.113.0/24", "203.0.0.0/16"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64", "2001:db8:1::/48", "2001:db8::/32"),
        ("unix", "unix", "unix", "unix"),
    ],
)
def test_addresses_are_counted_by_what_one_has(ip: str, source: str, network: str, range_: str) -> None:
    assert (source_of(ip), network_of(ip), range_of(ip)) == (source, network, range_)


def test_a_second_opinion_names_what_is_rare() -> None:
    scorer = Scorer(most=3)
    for hour in range(48):
        for n in range(20):
            scorer.add(login(f"user{n}", f"198.51.100.{n}", "success", at=3600 * hour + n))
    for n in range(50):
        scorer.add(login(f"name{n}", "203.0.113.7", at=3600 * 48 + n))
    scorer.close()
    best = scorer.best()
    assert best[0].ip == "203.0.113.7"
    assert best[0].value > 2 * best[1].value
    assert best[0].time == "2026-01-07T00:00:00Z"


def test_everyone_is_nobody_in_particular() -> None:
    assert NAMES.user("") == EVERYONE
