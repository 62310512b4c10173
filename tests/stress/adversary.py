"""What an attacker gets from each algorithm, and what a check costs: the table of docs/rate-limiting.md.

The attacker asks for 100 per minute. Greedy: after an hour of silence it asks a hundred times each tenth of a second. With a
phase: it asks once, keeps silent until a chosen moment of the window, and is greedy from then on. All moments are tried.
"""

from __future__ import annotations

import argparse
from typing import Any, Final, NamedTuple

import redis

from lockwatch.stores.connect import address_of
from lockwatch.stores.memory import MemoryStore
from lockwatch.stores.redis_sync import RedisStore
from tests import servers
from tests.contract.bench import COUNTER, FIXED, FLAGS, GCRA, NAMES, SECOND, SET, START, WINDOW, Ask, admit

LIMIT: Final = 100
MINUTE: Final = 60 * SECOND
STEP: Final = SECOND // 10
BEGIN: Final = START // MINUTE * MINUTE
PHASES: Final = (None, *[second * SECOND - STEP for second in range(1, 61)])
ROUNDS: Final = 25
CHECKS: Final = 400


class Subject(NamedTuple):
    """An algorithm under attack, and the most it promises to admit in any window."""

    name: str
    ask: Ask
    promised: int


class Haul(NamedTuple):
    """The most that was admitted in any minute, and in any second."""

    most: int
    second: int


def subjects() -> list[Subject]:
    """All that limit a rate."""

    def subject(algorithm: int, promised: int, burst: int = 0, name: str = "") -> Subject:
        ask = Ask("bench:adversary", LIMIT, MINUTE, 1, 0, algorithm * FLAGS, burst)
        return Subject(name or NAMES[algorithm], ask, promised)

    return [
        subject(WINDOW, LIMIT),
        subject(SET, LIMIT),
        subject(COUNTER, 2 * LIMIT),
        subject(FIXED, 2 * LIMIT),
        subject(GCRA, 2 * LIMIT, LIMIT, "gcra, burst 100"),
        subject(GCRA, LIMIT + 10, 10, "gcra, burst 10"),
    ]


def attack(subject: Subject, phase: int | None) -> Haul:
    """Three minutes of an attacker that knows the phase, or does not care."""
    store, admitted = MemoryStore(), []
    start = BEGIN if phase is None else BEGIN + phase
    if phase is not None:
        admitted += [BEGIN] * (store.call(admit(BEGIN, subject.ask))[0] == 1)
    for tick in range(3 * MINUTE // STEP):
        now = start + tick * STEP
        for _ in range(LIMIT):
            if store.call(admit(now, subject.ask))[0] != 1:
                break
            admitted.append(now)
    return Haul(_most(admitted, MINUTE), _most(admitted, SECOND))


def _most(admitted: list[int], span: int) -> int:
    most = begin = 0
    for end, now in enumerate(admitted):
        while admitted[begin] <= now - span:
            begin += 1
        most = max(most, end - begin + 1)
    return most


def cost(client: Any, url: str, subject: Subject) -> tuple[int, float, float]:
    """Bytes of a key with 100 admissions, microseconds of the server to admit and to refuse: the best of some rounds."""
    store, admitted, refused, size = RedisStore(address_of(url), 5.0), [], [], 0
    plenty = subject.ask._replace(quota=10**6, burst=subject.ask.burst and 10**6, key="bench:plenty")
    for _ in range(ROUNDS):
        client.flushall()
        for _ in range(LIMIT):
            store.call(admit(0, subject.ask))
        size = max(size, int(client.memory_usage(subject.ask.key)))
        refused.append(_timed(client, store, subject.ask))
        admitted.append(_timed(client, store, plenty))
    store.close()
    return size, min(admitted), min(refused)


def _timed(client: Any, store: RedisStore, ask: Ask) -> float:
    client.config_resetstat()
    for _ in range(CHECKS):
        store.call(admit(0, ask))
    return float(client.info("commandstats")["cmdstat_evalsha"]["usec_per_call"])


def describe(_parser: argparse.ArgumentParser) -> None:
    """No options."""


def run(_options: argparse.Namespace) -> int:
    """Print the table, as it stands in the documentation."""
    server = servers.start_redis()
    url = f"redis://127.0.0.1:{server.port}"
    print(f"{LIMIT} per minute; {server.origin}")
    print("| Algorithm | Greedy, a minute | With a phase, a minute | With a phase, a second | Bytes | Admitted, us | Refused, us |")
    print("|---|---|---|---|---|---|---|")
    with redis.Redis.from_url(url) as client:
        for subject in subjects():
            hauls = [attack(subject, phase) for phase in PHASES[1:]]
            greedy, most, second = attack(subject, None).most, max(h.most for h in hauls), max(h.second for h in hauls)
            size, admitted, refused = cost(client, url, subject)
            print(f"| {subject.name} | {greedy} | {most} | {second} | {size:,} | {admitted:.1f} | {refused:.1f} |", flush=True)
    server.stop()
    return 0
