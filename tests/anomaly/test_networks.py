"""Rented ranges, crowded networks, and the first day of a site."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from lockwatch.anomaly.campaign import Change
from lockwatch.anomaly.detector import Detector
from lockwatch.anomaly.names import Names
from lockwatch.anomaly.tally import Tally
from lockwatch.event import Event
from tests.simulation.world import DAY, HOUR, MINUTE, MONDAY, SECOND, login

NAMES = Names(b"k" * 32, remembered=10**6)


def told(events: Iterable[Event], detector: Detector | None = None) -> list[Change]:
    """What a detector says of events in any order, minute by minute."""
    detector, changes, tally, until = detector or Detector(), [], Tally(), 0
    for event in sorted(events, key=lambda event: event.time_us):
        if event.time_us >= until:
            changes += detector.feed(tally) if tally.events else []
            tally, until = Tally(), event.time_us - event.time_us % MINUTE + MINUTE
        tally.add(event, NAMES)
    return [*changes, *detector.feed(tally)]


def opened(changes: list[Change]) -> list[str]:
    return [change.campaign.rule for change in changes if change.kind == "opened"]


def people(days: float, networks: int = 200, users: int = 300, seed: int = 1) -> list[Event]:
    """Logins at all hours, one in ten of which fails first; each user has one address."""
    rng = Random(seed)
    found = []
    for _ in range(int(days * 600)):
        user, at_us = rng.randrange(users), MONDAY + rng.randrange(int(days * DAY))
        who = (f"user{user}", f"20.0.{user % networks}.{1 + user // networks}", f"browser {user % 7}")
        if rng.random() < 0.1:
            found.append(login(at_us, *who, "failure"))
        found.append(login(at_us + 20 * SECOND, *who, "success"))
    return found


def test_a_rented_range_whose_addresses_try_two_users_each_is_told() -> None:
    attack = [login(MONDAY + n * MINUTE, f"user{n}", f"198.51.100.{n // 2 + 1}", f"b{n % 9}", "failure") for n in range(60)]
    first = told([*attack, *people(0.5)])[0].campaign
    assert first.rule == "stuffing.network"
    assert {NAMES.name(key) for key in first.sources} <= {f"198.51.100.{n}" for n in range(1, 32)}
    assert first.detected_us < MONDAY + HOUR / 2
    assert "20 failed" in first.reason


def test_a_carrier_whose_customers_mistype_is_no_attack() -> None:
    rng = Random(3)
    found = []
    for n in range(400):
        who = (f"user{n % 150}", f"198.51.100.{rng.randrange(1, 250)}", "phone")
        failures = [login(MONDAY + n * MINUTE, *who, "failure")] * (rng.random() < 0.3)
        found += [*failures, login(MONDAY + n * MINUTE + 20 * SECOND, *who, "success")]
    assert opened(told(found)) == []


def test_who_shares_the_network_of_a_whole_site_is_a_stranger_with_another_address_and_software() -> None:
    guesses = [login(MONDAY + 2 * DAY + n * 2 * SECOND, "user7", "20.0.0.250", "tool", "failure") for n in range(60)]
    changes = told([*people(2, networks=1, users=200), *guesses])
    assert opened(changes) == ["failures.address"]
    assert changes[0].campaign.sources == (NAMES.address("20.0.0.250"),)


def test_a_phone_in_a_crowded_network_is_known_by_its_software() -> None:
    crowd = people(2, networks=1, users=200)
    own = next(event for event in crowd if event.user == "user7")
    stale = [
        login(MONDAY + 2 * DAY + n * MINUTE, "user7", f"20.0.0.{200 + n % 9}", own.user_agent or "", "failure") for n in range(90)
    ]
    assert opened(told([*crowd, *stale])) == []


def test_many_addresses_in_the_first_hours_of_a_site_are_told() -> None:
    rng = Random(5)
    attack = [
        login(MONDAY + 10 * HOUR + n * 40 * SECOND, f"user{rng.randrange(300)}", f"{60 + n % 90}.{n}.3.4", f"b{n}", "failure")
        for n in range(250)
    ]
    detector = Detector()
    changes = told([*people(1), *attack], detector)
    assert opened(changes) == ["stuffing.distributed"]
    first = changes[0].campaign
    assert MONDAY + 10 * HOUR < first.detected_us < MONDAY + 13 * HOUR
    named = {NAMES.name(key) for key in first.sources}
    assert len(named & {event.ip for event in attack}) > 0.8 * len(named)


def test_what_began_on_the_first_day_ends_when_it_is_over() -> None:
    attack = [
        login(MONDAY + 10 * HOUR + n * 30 * SECOND, f"x{n}", f"{60 + n % 90}.{n}.3.4", f"b{n}", "failure") for n in range(200)
    ]
    begun, going_on = Detector(), Detector()
    early = [event for event in [*people(2), *attack] if event.time_us < MONDAY + 14 * HOUR]
    late = [event for event in people(2) if event.time_us >= MONDAY + 14 * HOUR]
    changes = told(early, begun)
    assert opened(changes) == ["stuffing.distributed"]
    going_on.load(begun.dump())
    assert [change.kind for change in told(late, going_on)][-1] == "resolved"


def test_a_spray_names_its_addresses() -> None:
    rng = Random(6)
    attack = [
        login(MONDAY + 3 * DAY + n * MINUTE, f"user{rng.randrange(300)}", f"60.{n % 25}.3.4", f"b{n % 9}", "failure")
        for n in range(200)
    ]
    changes = told([*people(3.5), *attack])
    assert len(opened(changes)) == 1
    first = next(part for change in changes for part in change.campaign.parts if part.rule == "spray")
    named = {NAMES.name(key) for key in first.sources}
    assert len(named) >= 8
    assert named <= {f"60.{n}.3.4" for n in range(25)}
    assert first.targets
