"""Attacks, on top of `world.ordinary`. Each marks its events, so that what the detector says can be judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from heapq import merge
from random import Random

from lockwatch.client import Clients, trust
from lockwatch.event import Event
from tests.simulation.benign import crowd, reset
from tests.simulation.world import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    Scenario,
    World,
    agent,
    anywhere,
    gamma,
    hourly,
    hours,
    login,
    miss,
    poisson,
    resident,
)

ATTACKS: dict[str, Scenario] = {}
RATES: dict[str, float] = {
    "A5": 10,
    "A5-tool": 10,
    "A4-local": 60,
    "A9-crowd": 120,
    "A9-reset": 120,
    "A10": 15,
    "A11": 60,
    "A12": 60,
}
"""Attempts a day of slow attacks."""


def scenario(name: str) -> Callable[[Scenario], Scenario]:
    """Register under a name."""

    def register(found: Scenario) -> Scenario:
        ATTACKS[name] = found
        return found

    return register


def guess(world: World, rng: Random, at_us: int, ip: str, tool: str, name: str, hit: float = 0.005, exist: float = 0.5) -> Event:
    """One pair of a list: half of the names exist, of those one in two hundred has that password."""
    if rng.random() >= exist:
        return login(at_us, f"other{rng.randrange(10**7)}@example.net", ip, tool, "failure", name)
    outcome = "success" if rng.random() < hit else "failure"
    return login(at_us, rng.choice(world.people).name, ip, tool, outcome, name)


@scenario("A1")
def burst(world: World, rng: Random, start_us: int, end_us: int) -> Iterator[Event]:
    """One address, one account, five guesses a second for ten minutes."""
    victim = rng.choice(world.people).name
    for n in range(3000):
        yield login(start_us + n * SECOND // 5, victim, "66.1.1.1", "curl/8", "failure", "A1")


@scenario("A2")
def one_source(world: World, rng: Random, start_us: int, end_us: int) -> Iterator[Event]:
    """One address, many users, one guess every ten seconds."""
    for n in range(2000):
        yield guess(world, rng, start_us + n * 10 * SECOND, "66.2.2.2", "python-requests/2", "A2")


@scenario("A3")
def thousand(world: World, rng: Random, start_us: int, end_us: int) -> Iterator[Event]:
    """1,000 addresses, three tries each, within an hour."""
    pool = [anywhere(rng) for _ in range(1000)]
    for at_us in sorted([start_us + 10 * HOUR + rng.randrange(HOUR) for _ in range(3000)]):
        yield guess(world, rng, at_us, rng.choice(pool), agent(rng), "A3")


def slow(
    world: World,
    rng: Random,
    start_us: int,
    end_us: int,
    *,
    name: str,
    rate: float,
    growth: float = 0.0,
    tool: str = "",
    hit: float = 0.005,
    phi: float = 1.0,
    source: Callable[[Random], str] = anywhere,
) -> Iterator[Event]:
    """Residential addresses, one try each, `rate` a day, in the hours of people."""
    for hour in hours(start_us, end_us):
        today = rate * (1 + growth) ** ((hour - start_us) / DAY)
        count = poisson(gamma(today / 24 * hourly(hour), phi, rng), rng)
        for at_us in sorted([hour + rng.randrange(HOUR) for _ in range(count)]):
            yield guess(world, rng, at_us, source(rng), tool or agent(rng), name, hit)


for _rate in (10, 20, 30, 60, 120, 250, 1000):
    _name = f"A4-{_rate}" if _rate > 10 else "A5"
    ATTACKS[_name] = partial(slow, name=_name, rate=_rate)
    RATES[_name] = _rate
ATTACKS["A5-tool"] = partial(slow, name="A5-tool", rate=10, tool="stuffer/1.0")
ATTACKS["A4-local"] = partial(slow, name="A4-local", rate=60, source=resident)
ATTACKS["A10"] = partial(slow, name="A10", rate=15, growth=0.02)
ATTACKS["A12"] = partial(slow, name="A12", rate=60, hit=0.6)


@scenario("A6")
def spray(world: World, rng: Random, start_us: int, end_us: int) -> Iterator[Event]:
    """Three passwords over all users (at most 3,000) from 200 addresses, in two days."""
    pool = [anywhere(rng) for _ in range(200)]
    targets = [rng.choice(world.people).name for _ in range(min(world.users, 3000))] * 3
    for n, user in enumerate(targets):
        yield login(start_us + n * 2 * DAY // len(targets), user, rng.choice(pool), agent(rng), "failure", "A6")


@scenario("A7")
def victim(world: World, rng: Random, start_us: int, end_us: int) -> Iterator[Event]:
    """One person's account, from 300 addresses, in three days."""
    target = rng.choice(world.people)
    for n in range(300):
        yield login(start_us + n * 3 * DAY // 300, target.name, anywhere(rng), agent(rng), "failure", "A7")


@scenario("A8")
def inside(world: World, rng: Random, start_us: int, end_us: int) -> Iterator[Event]:
    """From within an office of 300: its colleagues, six a day, with a tool of its own."""
    people = rng.sample(world.people, min(300, world.users // 4))

    def work() -> Iterator[Event]:
        for hour in hours(start_us, end_us):
            if 8 <= hour // HOUR % 24 < 18:
                for at_us in sorted([hour + rng.randrange(HOUR) for _ in range(len(people) // 15 + 1)]):
                    person = rng.choice(people)
                    yield login(at_us, person.name, "50.0.0.9", person.agent, "success" if rng.random() > 0.08 else "failure")

    def attack() -> Iterator[Event]:
        for at_us in range(start_us + DAY, end_us, 4 * HOUR):
            yield login(at_us, rng.choice(people).name, "50.0.0.9", "python-requests/2", "failure", "A8")

    yield from merge(work(), attack(), key=lambda event: event.time_us)


def hidden(world: World, rng: Random, start_us: int, end_us: int, *, cover: Scenario, name: str) -> Iterator[Event]:
    """120 a day that begin in the noise of something ordinary."""
    attack = slow(world, Random(rng.random()), start_us, end_us, name=name, rate=120)
    return merge(cover(world, rng, start_us, end_us), attack, key=lambda event: event.time_us)


ATTACKS["A9-crowd"] = partial(hidden, cover=crowd, name="A9-crowd")
ATTACKS["A9-reset"] = partial(hidden, cover=reset, name="A9-reset")


@scenario("A11")
def rotating(world: World, rng: Random, start_us: int, end_us: int) -> Iterator[Event]:
    """60 a day, software never twice the same."""
    for event in slow(world, rng, start_us, end_us, name="A11", rate=60):
        event.user_agent = f"Mozilla/5.0 (Build {rng.randrange(10**9)})"
        yield event


@scenario("A13")
def enumeration(world: World, rng: Random, start_us: int, end_us: int) -> Iterator[Event]:
    """A reset form is asked for 500 names from one address, one each half minute."""
    for n in range(500):
        event = guess(world, rng, start_us + n * 30 * SECOND, "66.3.3.3", agent(rng), "A13", 0, 0.1)
        event.action = "reset"
        yield event


@scenario("A14")
def scan(world: World, rng: Random, start_us: int, end_us: int) -> Iterator[Event]:
    """50 addresses look for paths, one request a minute each, for three hours."""
    pool = [anywhere(rng) for _ in range(50)]
    for minute in range(180):
        for ip in pool:
            yield miss(start_us + minute * MINUTE, ip, f"/admin{rng.randrange(3000)}.php", "A14")


@scenario("A15")
def stolen(world: World, rng: Random, start_us: int, end_us: int) -> Iterator[Event]:
    """A copied refresh token is used after its owner used it."""
    yield Event(
        time_us=start_us + HOUR,
        kind="auth",
        action="token.reused",
        outcome="failure",
        user=rng.choice(world.people).name,
        ip=anywhere(rng),
        session="family",
        details={"attack": "A15"},
    )


@scenario("A16")
def spoofed(world: World, rng: Random, start_us: int, end_us: int) -> Iterator[Event]:
    """One address writes another client into X-Forwarded-For each time; one proxy is trusted."""
    clients = Clients(trust(1))
    for n in range(1000):
        line = f"{anywhere(rng)}, 66.4.4.4".encode()
        client = clients.resolve("10.0.0.1", [(b"x-forwarded-for", line)])
        yield guess(world, rng, start_us + n * 10 * SECOND, str(client.address), agent(rng), "A16")


@scenario("A17")
def flood(world: World, rng: Random, start_us: int, end_us: int) -> Iterator[Event]:
    """Two hours of names and addresses that never come again, to fill the tables; behind it, A7."""
    target = rng.choice(world.people)
    for n in range(30_000):
        at_us = start_us + n * 2 * HOUR // 30_000
        if n % 150 == 0:
            yield login(at_us, target.name, anywhere(rng), agent(rng), "failure", "A17")
        yield login(at_us, f"x{rng.random()}", f"{70 + n % 50}.{n // 256 % 256}.{n % 256}.7", agent(rng), "failure", "A17")
