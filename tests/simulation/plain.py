"""Another family of sites, so that the detector does not fit one simulator only: `python -m tests.simulation.plain [seeds]`.

One address per user, failures that are independent and never put right, novel failures with a dispersion in each hour, no
client software or one that everybody has; 20 novel failures and 2,000 logins a day, 60 attempts a day from the third week on.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from math import pi, sin
from random import Random

from lockwatch.anomaly.names import Names
from lockwatch.anomaly.replay import Rerun
from lockwatch.event import Event
from tests.simulation.world import DAY, HOUR, MONDAY, gamma, login, poisson

USERS, LOGINS, NOVEL = 5000, 2000, 20


def events(rng: Random, days: int, begin: int, rate: float, phi: float, agent: str = "", *, flat: bool = False) -> Iterator[Event]:
    """The days of such a site; `rate` attempts a day from the day `begin` on."""
    homes = [_anywhere(rng) for _ in range(USERS)]
    for hour in range(days * 24):
        busy = (1.0 if flat else 1 + 0.9 * sin((hour % 24 - 9) / 12 * pi)) / 24
        at_us = MONDAY + hour * HOUR
        found = [_attempt(at_us, rng, homes, agent, 0.89) for _ in range(poisson(LOGINS * busy, rng))]
        found += [_attempt(at_us, rng, None, agent, 0.0) for _ in range(poisson(gamma(NOVEL * busy, phi, rng), rng))]
        if hour >= begin * 24:
            found += [_attempt(at_us, rng, None, agent, 0.0, "plain") for _ in range(poisson(rate / 24, rng))]
        yield from sorted(found, key=lambda event: event.time_us)


def _attempt(at_us: int, rng: Random, homes: list[str] | None, agent: str, right: float, attack: str = "") -> Event:
    user = rng.randrange(USERS)
    ip = homes[user] if homes else _anywhere(rng)
    outcome = "success" if rng.random() < right else "failure"
    return login(at_us + rng.randrange(HOUR), f"user{user}", ip, agent, outcome, attack)


def _anywhere(rng: Random) -> str:
    return f"{rng.randrange(11, 200)}.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"


def judge(seed: int, rate: float, phi: float, days: int = 16, begin: int = 14, **more: object) -> list[float]:
    """Hours from the begin of the attack to each campaign of `stuffing.distributed`; before it they are negative."""
    rerun = Rerun(Names(b"plain", 10**6))
    for event in events(Random(seed), days, begin, rate, phi, **more):  # type: ignore[arg-type]
        rerun.take(event)
    told = [each for each in rerun.end().campaigns.values() if each.rule == "stuffing.distributed"]
    return [round((each.detected_us - MONDAY - begin * DAY) / HOUR, 1) for each in told]


if __name__ == "__main__":
    for number in range(100, 100 + int(sys.argv[1]) if len(sys.argv) > 1 else 105):
        for phi in (1.0, 4.0):
            print(f"seed {number} dispersion {phi:g}: {judge(number, 60, phi)}", flush=True)
        print(f"seed {number} one software, no hours: {judge(number, 60, 4.0, agent='Chrome', flat=True)}", flush=True)
        print(f"seed {number} no attack, 35 days: {judge(number, 0, 4.0, days=35, begin=0)}", flush=True)
