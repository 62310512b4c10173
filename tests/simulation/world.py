"""A site and its people: who logs in when, from where, and what they get wrong. All of it synthetic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from math import cos, exp, pi
from random import Random

from lockwatch.event import Event

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 3600 * SECOND
DAY = 24 * HOUR
MONDAY = 1_767_571_200 * SECOND
"""Monday, 2026-01-05 00:00 UTC: the first day of every run."""

AGENTS = [f"Mozilla/5.0 (Browser {n % 5}; Build {100 + n})" for n in range(40)]
"""What people use; the first are the most common (Zipf)."""
AGENT_WEIGHTS = list(accumulate([1 / (n + 1) for n in range(40)]))


@dataclass(slots=True)
class Person:
    """A user: name, usual address, software, and how they connect."""

    name: str
    ip: str
    agent: str
    kind: str
    carrier: int = 0


@dataclass
class World:
    """A site.

    Attributes:
        seed: everything random follows from it.
        users: how many people; they log in 0.4 times a day each.
        phi: variance over mean of the noise (bots that try names), over whole days.
        noise: novel pairs that fail for good, as a share of logins.
    """

    seed: int
    users: int
    phi: float = 2.0
    noise: float = 0.01
    people: list[Person] = field(init=False)

    def __post_init__(self) -> None:
        rng = Random(f"world {self.seed} {self.users}")
        self.people = [_person(i, rng) for i in range(self.users)]
        self._weights = list(accumulate([exp(rng.gauss(0, 0.8)) for _ in self.people]))

    @property
    def logins(self) -> float:
        """A day."""
        return 0.4 * self.users

    def someone(self, rng: Random) -> Person:
        """A person, the active ones more often."""
        return rng.choices(self.people, cum_weights=self._weights)[0]


Scenario = Callable[[World, Random, int, int], Iterator[Event]]
"""`scenario(world, rng, start_us, end_us)` yields events in order of time. Attacks mark theirs: ``details={"attack": name}``."""


def _person(number: int, rng: Random) -> Person:
    roll = rng.random()
    kind = "mobile" if roll < 0.25 else "traveller" if roll < 0.30 else "home"
    return Person(f"user{number}@example.com", resident(rng), agent(rng), kind, rng.randrange(8))


def resident(rng: Random) -> str:
    """An address of the providers most people of the site use."""
    return f"{20 + rng.randrange(4)}.{rng.randrange(16)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"


def anywhere(rng: Random) -> str:
    """A residential address of the world; one in three is of the same providers."""
    if rng.random() < 0.33:
        return resident(rng)
    return f"{60 + rng.randrange(60)}.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"


def agent(rng: Random) -> str:
    """A browser, as common as it is among people."""
    return rng.choices(AGENTS, cum_weights=AGENT_WEIGHTS)[0]


def address(person: Person, at_us: int, rng: Random) -> str:
    """Where a person connects from: mobile ones change within their carrier each hour, travellers each day."""
    if person.kind == "mobile" and rng.random() < 0.7:
        return f"30.{person.carrier}.{rng.randrange(4)}.{rng.randrange(1, 255)}"
    if person.kind == "traveller" and rng.random() < 0.5:
        place = Random(f"{person.name} {at_us // (3 * DAY)}").randrange(4000)
        return f"40.{place // 256}.{place % 256}.{rng.randrange(1, 255)}"
    if rng.random() < 0.01:
        return resident(rng)
    return person.ip


def poisson(mean: float, rng: Random) -> int:
    """A Poisson count."""
    if mean > 50:
        return max(0, round(rng.gauss(mean, mean**0.5)))
    limit, product, count = exp(-mean), rng.random(), 0
    while product > limit:
        product *= rng.random()
        count += 1
    return count


def gamma(mean: float, phi: float, rng: Random) -> float:
    """A rate that makes a Poisson count with that mean have variance over mean `phi`."""
    return mean if phi <= 1 or not mean else rng.gammavariate(mean / (phi - 1), phi - 1)


def hourly(at_us: int) -> float:
    """How busy an hour is, against the mean: nights and weekends are quiet."""
    hour = at_us // HOUR % 24
    weekend = at_us // DAY % 7 in (2, 3)  # 1970 began on a Thursday
    shape = 1 - 0.85 * cos(2 * pi * (hour - 3) / 24)
    return shape * (0.6 if weekend else 1.16)


def login(at_us: int, user: str, ip: str, agent: str, outcome: str, attack: str = "") -> Event:
    """One attempt."""
    details = {"attack": attack} if attack else {}
    return Event(
        time_us=at_us,
        kind="auth",
        action="login",
        outcome=outcome,
        user=user,
        ip=ip,
        user_agent=agent,
        details=details,
        request_id="",
    )


def session(person: Person, at_us: int, ip: str, rng: Random, trouble: float = 1.0, agent: str = "") -> list[Event]:
    """A person logs in: mostly at once, sometimes after a typo, sometimes not at all."""
    agent = agent or person.agent
    roll = rng.random() / trouble
    events = []
    if roll < 0.075:
        forgot = roll >= 0.06
        wrong = rng.randrange(2, 7) if forgot else rng.choices((1, 2, 3), (0.7, 0.2, 0.1))[0]
        for _ in range(wrong):
            events.append(login(at_us, person.name, ip, agent, "failure"))
            at_us += rng.randrange(4, 40) * SECOND
        if forgot:
            if rng.random() < 0.25:
                return events
            at_us += rng.randrange(2, 40) * MINUTE
    events.append(login(at_us, person.name, ip, agent, "success"))
    return events


def ordered(chunks: Iterator[list[Event]], slack_us: int = HOUR) -> Iterator[Event]:
    """Events of chunks that begin in order, in order; no chunk lasts longer than `slack_us`."""
    waiting: list[Event] = []
    for chunk in chunks:
        if not chunk:
            continue
        begun = chunk[0].time_us
        waiting += chunk
        if len(waiting) > 2000:
            waiting.sort(key=lambda event: event.time_us)
            cut = next((i for i, event in enumerate(waiting) if event.time_us > begun - slack_us), len(waiting))
            yield from waiting[:cut]
            del waiting[:cut]
    yield from sorted(waiting, key=lambda event: event.time_us)


def hours(start_us: int, end_us: int) -> range:
    """Hours between."""
    return range(start_us, end_us, HOUR)


def ordinary(world: World, rng: Random, start_us: int, end_us: int) -> Iterator[Event]:
    """B1: days and weeks, typos, forgotten passwords, mobile and travelling people, bots that try names."""

    def chunks() -> Iterator[list[Event]]:
        bots = 0.0
        for hour in hours(start_us, end_us):
            if hour == start_us or hour % DAY == 0:
                bots = gamma(world.noise * world.logins, world.phi, rng)
            busy = world.logins / 24 * hourly(hour)
            people = sorted([hour + rng.randrange(HOUR) for _ in range(poisson(gamma(busy, 1.5, rng), rng))])
            noise = [hour + rng.randrange(HOUR) for _ in range(poisson(bots / 24, rng))]
            for at_us in sorted([*people, *[-at_us for at_us in noise]], key=abs):
                yield _visit(world, at_us, rng) if at_us > 0 else [_knock(world, -at_us, rng)]

    return ordered(chunks())


def _visit(world: World, at_us: int, rng: Random) -> list[Event]:
    person = world.someone(rng)
    ip = address(person, at_us, rng)
    events = session(person, at_us, ip, rng)
    if rng.random() < 0.1:
        events.append(page(at_us + 60 * SECOND, ip, person.name, rng.randrange(3, 20)))
        if rng.random() < 0.1:
            events.append(
                miss(at_us + 61 * SECOND, ip, rng.choice(["/favicon.ico", "/apple-touch-icon.png", "/old", "/robots.txt"]))
            )
    return events


def _knock(world: World, at_us: int, rng: Random) -> Event:
    user = rng.choice(world.people).name if rng.random() < 0.3 else f"name{rng.randrange(10**6)}@example.org"
    event = login(at_us, user, anywhere(rng), agent(rng), "failure")
    event.details = {"noise": True}
    return event


def page(at_us: int, ip: str, user: str | None, count: int, route: str = "/app", status: int = 200) -> Event:
    """Requests of a person, in one event."""
    return Event(
        time_us=at_us,
        kind="http",
        action="request",
        ip=ip,
        user=user,
        count=count,
        route=route,
        path=route,
        method="GET",
        status=status,
    )


def miss(at_us: int, ip: str, path: str, attack: str = "") -> Event:
    """A request that matches no route."""
    details = {"attack": attack} if attack else {}
    return Event(
        time_us=at_us,
        kind="http",
        action="request",
        ip=ip,
        route="<unmatched>",
        path=path,
        method="GET",
        status=404,
        details=details,
    )
