"""One run: a warm detector, a scenario, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import merge
from random import Random
from time import process_time

from lockwatch.anomaly.campaign import Change
from lockwatch.anomaly.detector import Detector
from lockwatch.anomaly.names import Names, network_of
from lockwatch.anomaly.rules import Settings
from lockwatch.anomaly.tally import Tally
from lockwatch.event import Event
from tests.simulation.attacks import RATES
from tests.simulation.peers import Peer, peers
from tests.simulation.world import DAY, MINUTE, MONDAY, Scenario, World, ordinary

INTERVAL = MINUTE
"""Virtual time of one tally. In an application it is half a second."""


@dataclass
class Outcome:
    """What one run showed.

    Attributes:
        opened: rules of campaigns that opened while the scenario ran, with the time.
        minutes, attempts, compromised: from the begin of the attack to the first campaign that names one of its sources or targets.
        precision, recall: of the sources named by then end.
        challenged: share of people's logins that would have been asked for a second factor.
        peers: by policy: minutes until it acted on the attack (None never), and how often it acted on people.
        cost_us: microseconds per event, of the detector.
        state, keys: bytes of its dump, compressed; entries of its tables.
    """

    scenario: str
    users: int
    seed: int
    days: float
    opened: list[tuple[str, int]] = field(default_factory=list)
    detected: bool = False
    minutes: float | None = None
    attempts: int = 0
    compromised: int = 0
    precision: float | None = None
    recall: float | None = None
    challenged: float = 0.0
    logins: int = 0
    cost_us: float = 0.0
    state: int = 0
    keys: int = 0
    peers: dict[str, tuple[float | None, int]] = field(default_factory=dict)


class Run:
    """Feeds a detector, minute by minute, and notes what it says. The clock of the processor is read for one minute in ten."""

    def __init__(self, detector: Detector, names: Names) -> None:
        self.detector, self.names = detector, names
        self.changes: list[Change] = []
        self.timed = 0
        self.spent = 0.0
        self._minutes = 0

    def play(self, events: Iterable[Event], end_us: int) -> Iterator[Event]:
        """Pass events on when the detector has taken them."""
        batch: list[Event] = []
        until = 0
        for event in events:
            if event.time_us >= end_us:
                break
            if event.time_us >= until:
                self._feed(batch)
                yield from batch
                batch, until = [], event.time_us - event.time_us % INTERVAL + INTERVAL
            batch.append(event)
        self._feed(batch)
        yield from batch
        self.changes += self.detector.tick(end_us)

    def _feed(self, batch: list[Event]) -> None:
        if not batch:
            return
        self._minutes += 1
        timed = self._minutes % 10 == 0
        begun = process_time() if timed else 0.0
        tally = Tally()
        for event in batch:
            tally.add(event, self.names)
        self.changes += self.detector.feed(tally)
        if timed:
            self.spent += process_time() - begun
            self.timed += len(batch)


class Bench:
    """A site whose detector has seen some ordinary weeks, from which any number of scenarios start.

    Args:
        world: the site.
        warm: days it has seen.
        settings: of the detector.
    """

    def __init__(self, world: World, warm: int = 21, settings: Settings | None = None) -> None:
        self.world, self.settings = world, settings
        self.start_us = MONDAY + warm * DAY
        self.names = Names(b"simulation", remembered=4 * world.users + 200_000)
        run = Run(Detector(settings), self.names)
        stream = ordinary(world, Random(f"warm {world.seed}"), MONDAY, self.start_us)
        self.known: set[tuple[str, str]] = set()
        for event in run.play(stream, self.start_us):
            if event.action == "login" and event.outcome == "success":
                self.known.add(pair_of(event))
        self.warmup = [
            (c.campaign.rule, c.campaign.detected_us) for c in run.changes if c.kind == "opened" and not c.campaign.dry_run
        ]
        self.days = warm
        self._people: dict[int, list[Event]] = {}
        self.state, self.keys = run.detector.dump(), keys_of(run.detector)

    def play(
        self, name: str, scenario: Scenario | None, days: float = 7, *, compare: bool = False, settings: Settings | None = None
    ) -> Outcome:
        """Run one scenario on top of ordinary days, with other settings than those weeks before if need be."""
        end_us = self.start_us + int(days * DAY)
        detector = Detector(settings or self.settings)
        detector.load(self.state)
        run = Run(detector, self.names)
        streams: list[Iterable[Event]] = [self._ordinary(end_us)]
        if scenario is not None:
            streams.append(scenario(self.world, Random(f"{name} {self.world.seed}"), self.start_us, end_us))
        usual, rate = self.world.noise * self.world.logins, RATES.get(name, 0.0)
        truth = Truth(self.names, {*self.known}, peers(usual, rate, self.world.phi) if compare else [])
        for event in run.play(merge(*streams, key=lambda event: event.time_us), end_us):
            truth.see(event, run.changes)
        outcome = Outcome(name, self.world.users, self.world.seed, days)
        outcome.cost_us = 1e6 * run.spent / max(run.timed, 1)
        truth.judge(outcome, run.changes)
        outcome.state, outcome.keys = len(detector.dump()), keys_of(detector)
        return outcome

    def _ordinary(self, end_us: int) -> list[Event]:
        if end_us not in self._people:
            self._people[end_us] = list(ordinary(self.world, Random(f"test {self.world.seed}"), self.start_us, end_us))
        return self._people[end_us]


class Truth:
    """What really happened, beside what the detector was told."""

    def __init__(self, names: Names, known: set[tuple[str, str]], policies: list[Peer]) -> None:
        self._names = names
        self._peers = policies
        self._attack: list[tuple[int, bool]] = []
        self._sources: set[bytes] = set()
        self._targets: set[bytes] = set()
        self._known = known
        self.logins = self.challenged = 0

    def see(self, event: Event, changes: list[Change]) -> None:
        """Note an event."""
        attack = "attack" in event.details
        if attack:
            self._attack.append((event.time_us, event.action == "login" and event.outcome == "success"))
            self._sources.add(self._names.address(event.ip))
            self._targets.add(self._names.user(event.user))
        for peer in self._peers:
            peer.see(event, attack=attack)
        if event.action == "login" and event.outcome == "success" and not attack:
            self.logins += 1
            pair = pair_of(event)
            if pair not in self._known:
                self._known.add(pair)
                self.challenged += _challenges(changes)

    def judge(self, outcome: Outcome, changes: list[Change]) -> None:
        """Write down how it went."""
        told = [change.campaign for change in changes if not change.campaign.dry_run]
        outcome.opened = [
            (c.campaign.rule, c.campaign.detected_us) for c in changes if c.kind == "opened" and not c.campaign.dry_run
        ]
        outcome.logins = self.logins
        outcome.challenged = self.challenged / max(self.logins, 1)
        begun = self._attack[0][0] if self._attack else 0
        for peer in self._peers:
            outcome.peers[peer.name] = (peer.first_us and (peer.first_us - begun) / MINUTE, peer.false)
        if not self._attack:
            return
        mine = [c for c in told if c.updated_us >= begun and (self._sources & {*c.sources} or self._targets & {*c.targets})]
        if mine:
            found_us = mine[0].updated_us
            outcome.detected = True
            outcome.minutes = (found_us - begun) / MINUTE
            outcome.attempts = sum(at_us <= found_us for at_us, _ in self._attack)
            outcome.compromised = sum(hit and at_us <= found_us for at_us, hit in self._attack)
            named = {source for c in mine for source in c.sources}
            outcome.precision = len(named & self._sources) / len(named) if named else None
            outcome.recall = len(named & self._sources) / len(self._sources)
        else:
            outcome.attempts = len(self._attack)
            outcome.compromised = sum(hit for _, hit in self._attack)


def keys_of(detector: Detector) -> int:
    """Entries of all its tables."""
    return sum(size for name, size in detector.health().items() if name != "evicted" and isinstance(size, int))


def pair_of(event: Event) -> tuple[str, str]:
    """User and network."""
    return event.user or "", network_of(event.ip or "")


def _challenges(changes: list[Change]) -> bool:
    open_now: set[tuple[str, str]] = set()
    for change in changes:
        mine = change.campaign.id
        open_now |= {(mine, action.rule) for action in change.actions if action.kind == "challenge" and action.about == "everyone"}
        open_now -= {(mine, rule) for rule in change.ended}
        if change.kind == "resolved":
            into = change.campaign.merged_into
            moved = {(into, rule) for campaign, rule in open_now if campaign == mine and into}
            open_now = {each for each in open_now if each[0] != mine} | moved
    return bool(open_now)
