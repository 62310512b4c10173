"""Ordinary trouble, on top of `world.ordinary`: none of it is an attack."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from lockwatch.event import Event
from tests.simulation.world import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    Scenario,
    World,
    address,
    agent,
    hours,
    login,
    ordered,
    page,
    poisson,
    session,
)

BENIGN: dict[str, Scenario] = {}


def scenario(name: str) -> Callable[[Scenario], Scenario]:
    """Register under a name."""

    def register(found: Scenario) -> Scenario:
        BENIGN[name] = found
        return found

    return register


def at_work(start_us: int, end_us: int, hour: int) -> Iterator[int]:
    """That hour of each working day."""
    return (at for at in hours(start_us, end_us) if at // HOUR % 24 == hour and at // DAY % 7 not in (2, 3))


@scenario("B2")
def office(world: World, rng: Random, start_us: int, end_us: int) -> Iterator[Event]:
    """300 users behind one address, at nine, with 8 % typos."""
    people = rng.sample(world.people, min(300, world.users // 4))

    def chunks() -> Iterator[list[Event]]:
        for nine in at_work(start_us, end_us, 9):
            for at_us in sorted([nine + rng.randrange(30 * MINUTE) for _ in people]):
                person = rng.choice(people)
                yield session(person, at_us, "50.0.0.1", rng, 1.1)
                if rng.random() < 0.2:
                    yield [page(at_us + SECOND, "50.0.0.1", person.name, rng.randrange(3, 12))]

    return ordered(chunks())


@scenario("B3")
def lab(world: World, rng: Random, start_us: int, end_us: int) -> Iterator[Event]:
    """A school or a carrier: many users, four addresses, all day."""
    people = rng.sample(world.people, min(2000, world.users // 2))

    def chunks() -> Iterator[list[Event]]:
        for hour in hours(start_us, end_us):
            if 8 <= hour // HOUR % 24 < 17:
                for at_us in sorted([hour + rng.randrange(HOUR) for _ in range(len(people) // 18)]):
                    yield session(rng.choice(people), at_us, f"51.0.0.{rng.randrange(1, 5)}", rng, 1.2, agent(rng))

    return ordered(chunks())


@scenario("B4")
def crowd(world: World, rng: Random, start_us: int, end_us: int) -> Iterator[Event]:
    """Twenty times the usual, five minutes after a mail-out; many have forgotten their password. Twice a week."""

    def chunks() -> Iterator[list[Event]]:
        for day in range(start_us + 11 * HOUR, end_us, 3 * DAY):
            count = int(20 * world.logins / 24 / 12 * 1.5) + 5
            for at_us in sorted([day + int(rng.expovariate(1 / 300) * SECOND) for _ in range(count * 2)]):
                person = rng.choice(world.people)
                yield session(person, at_us, address(person, at_us, rng), rng, 2.5)

    return ordered(chunks())


@scenario("B5")
def roaming(world: World, rng: Random, start_us: int, end_us: int) -> Iterator[Event]:
    """People whose phone gets another address, in another network, each hour."""
    people = rng.sample(world.people, max(3, world.users // 100))

    def chunks() -> Iterator[list[Event]]:
        for hour in hours(start_us, end_us):
            if 7 <= hour // HOUR % 24 < 23:
                for person in people:
                    if rng.random() < 0.15:
                        ip = f"31.{person.carrier}.{rng.randrange(256)}.{rng.randrange(1, 255)}"
                        yield session(person, hour + rng.randrange(MINUTE), ip, rng)

    return ordered(chunks())


@scenario("B6")
def reset(world: World, rng: Random, start_us: int, end_us: int) -> Iterator[Event]:
    """All passwords were reset: for a day, four times the failures."""
    begin = start_us + DAY + 8 * HOUR

    def chunks() -> Iterator[list[Event]]:
        for hour in hours(begin, min(begin + DAY, end_us)):
            for at_us in sorted([hour + rng.randrange(HOUR) for _ in range(poisson(world.logins / 16, rng))]):
                person = world.someone(rng)
                yield session(person, at_us, address(person, at_us, rng), rng, 5.0)

    return ordered(chunks())


@scenario("B7")
def broken(world: World, rng: Random, start_us: int, end_us: int) -> Iterator[Event]:
    """Three phones send a stale password each minute for two days, wherever they are."""
    people = [person for person in world.people if person.kind == "mobile"][:3]
    ips = {person.name: person.ip for person in people}
    for person in people:
        yield login(start_us, person.name, person.ip, person.agent, "success")
    for at_us in range(start_us + DAY, min(start_us + 3 * DAY, end_us), MINUTE):
        for person in people:
            if rng.random() < 1 / 60:
                ips[person.name] = f"31.{person.carrier}.{rng.randrange(256)}.{rng.randrange(1, 255)}"
            yield login(at_us, person.name, ips[person.name], person.agent, "failure")


@scenario("B8")
def partner(world: World, rng: Random, start_us: int, end_us: int) -> Iterator[Event]:
    """A monitor and a partner's service, one address each, all the time."""
    for at_us in range(start_us, end_us, 5 * MINUTE):
        yield login(at_us, "monitor", "52.0.0.1", "monitor/1", "success")
        yield page(at_us + SECOND, "52.0.0.2", "partner", rng.randrange(10, 30), "/api")


@scenario("B9")
def travellers(world: World, rng: Random, start_us: int, end_us: int) -> Iterator[Event]:
    """A holiday: 4 % of the users log in from elsewhere, daily, and get it wrong more often."""
    people = rng.sample(world.people, max(4, world.users // 25))

    def chunks() -> Iterator[list[Event]]:
        for day in range(start_us, end_us, DAY):
            for at_us in sorted([day + 7 * HOUR + rng.randrange(14 * HOUR) for _ in range(len(people) // 2)]):
                ip = f"41.{rng.randrange(64)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"
                yield session(rng.choice(people), at_us, ip, rng, 1.5)

    return ordered(chunks())


@scenario("B10")
def launch(world: World, rng: Random, start_us: int, end_us: int) -> Iterator[Event]:
    """New users, a tenth of the site in one day, who have never been seen."""
    begin = start_us + DAY + 9 * HOUR

    def chunks() -> Iterator[list[Event]]:
        times = sorted([begin + rng.randrange(10 * HOUR) for _ in range(max(10, world.users // 10))])
        for number, at_us in enumerate(times):
            person = rng.choice(world.people)
            new = type(person)(f"new{number}@example.com", f"22.{rng.randrange(16)}.{number % 256}.9", agent(rng), "home")
            yield session(new, at_us, new.ip, rng, 2.0)

    return ordered(chunks())


@scenario("B11")
def bug(world: World, rng: Random, start_us: int, end_us: int) -> Iterator[Event]:
    """A release answers 401 to everybody for a quarter of an hour, at ten, and an office tries again and again."""
    begin = start_us + DAY + 10 * HOUR
    people = rng.sample(world.people, min(100, world.users // 5))
    for at_us in range(start_us + 9 * HOUR, start_us + 10 * HOUR, HOUR // 60):
        yield login(at_us, rng.choice(people).name, "53.0.0.1", "Office", "success")

    def chunks() -> Iterator[list[Event]]:
        count = max(6, int(world.logins / 24 / 4 * 2))
        for at_us in sorted([begin + rng.randrange(15 * MINUTE) for _ in range(count)]):
            person = world.someone(rng)
            ip = address(person, at_us, rng)
            yield [login(at_us + n * 20 * SECOND, person.name, ip, person.agent, "failure") for n in range(rng.randrange(1, 5))]
            if rng.random() < 0.3:
                yield [login(at_us, rng.choice(people).name, "53.0.0.1", "Office", "failure")]

    yield from ordered(chunks())


@scenario("B12")
def photos(world: World, rng: Random, start_us: int, end_us: int) -> Iterator[Event]:
    """Applications that walk hundreds of ids, many of which are gone; a crawler that follows some old links."""
    people = rng.sample(world.people, 5)
    for hour in hours(start_us, end_us):
        for n in range(120):
            person = people[n % 5]
            yield page(hour + n * 20 * SECOND, person.ip, person.name, 4, "/photos/{id}", 404 if n % 3 else 200)
