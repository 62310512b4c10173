"""Rules about the whole site: the slow, distributed campaign that no address and no account shows."""

from __future__ import annotations

from collections import deque
from dataclasses import astuple
from typing import Any, Final

from lockwatch.anomaly.activity import STEP, Activity
from lockwatch.anomaly.attribution import attribute
from lockwatch.anomaly.campaign import Evidence
from lockwatch.anomaly.cases import Case, Cases
from lockwatch.anomaly.cells import READY, RISES, Channel
from lockwatch.anomaly.pairs import PATIENCE_US, Failing, Pairs
from lockwatch.anomaly.rules import DAY, Settings
from lockwatch.anomaly.signals import SECOND
from lockwatch.anomaly.tools import Tools

CHANNELS: Final = {
    "fresh": "novel pairs that failed",
    "settled": "novel pairs that failed and were not put right",
    "cold": "the same, from networks where nobody ever logged in",
    "fanout": "addresses with several failing users and no success",
}
RULES_OF: Final = {
    "fresh": "stuffing.distributed",
    "settled": "stuffing.distributed",
    "cold": "stuffing.distributed",
    "fanout": "spray",
}
CAUTION: Final = {"fresh": 1.75, "settled": 1.0, "cold": 1.0, "fanout": 1.0}
"""Times the threshold: what was not given time to be put right has to say more."""
FLOOR: Final = 1 / 24
"""The least an hour usually brings: one a day."""
_CUT: Final = 1.5
_DOUBT: Final = 0.6
"""Share of the threshold from which on nothing is learned."""
_LEAST: Final = 8.0
"""Signs since the change, whatever the evidence."""
_KEPT: Final = 4096
_STEP_US: Final = STEP * SECOND
_LONGEST_US: Final = 14 * DAY * SECOND
"""A campaign that lasts longer no longer stops the learning; a pause that lasts longer is not lived through."""


class Site:
    """Channels of the site, stepped every five minutes.

    Args:
        settings: rules and bounds.
        cases: where signs go.
        pairs, tools: what settles with time.
    """

    def __init__(self, settings: Settings, cases: Cases, pairs: Pairs, tools: Tools) -> None:
        self._rules, self._off = settings.rules, settings.off
        self._cases, self._pairs, self._tools = cases, pairs, tools
        self.activity = Activity(settings.utc_offset)
        self.channels = {name: Channel(_CUT * self._rules[rule].threshold, settings.utc_offset) for name, rule in RULES_OF.items()}
        self.recent: deque[Failing] = deque(maxlen=_KEPT)
        self._next_us = 0

    @property
    def ready(self) -> bool:
        """Whether three days have been seen."""
        return self.channels["fresh"].cells.hours >= 3 * READY

    @property
    def outage(self) -> bool:
        """Whether everybody fails, also those who are known."""
        return self.activity.outage

    def failed(self, failing: Failing) -> None:
        """A novel pair failed."""
        self.channels["fresh"].add(failing.weight)
        if self._cases.get("stuffing.distributed"):
            self._cases.sign("stuffing.distributed", failing.at_us, attempts=0)

    def fanned(self) -> None:
        """An address became a fan-out."""
        self.channels["fanout"].add(1.0)

    def tick(self, now_us: int) -> None:
        """Judge all intervals that are complete by now."""
        if now_us - self._next_us > _LONGEST_US:
            self._next_us = (now_us // _STEP_US + 1) * _STEP_US
        while self._next_us <= now_us:
            self._step(self._next_us - _STEP_US)
            self._next_us += _STEP_US

    def _step(self, at_us: int) -> None:
        self.activity.step(at_us)
        settled = [each for each in self._pairs.settle(at_us + _STEP_US - PATIENCE_US) if not self._cases.holder(each.address)]
        for failing in settled:
            self.channels["settled"].add(failing.weight)
            if not failing.place:
                self.channels["cold"].add(failing.weight)
            self._tools.fail(failing, at_us)
        self.recent.extend(settled)
        for name, channel in self.channels.items():
            late = name in ("settled", "cold")
            factor = 1.0 if "activity" in self._off else self.activity.lagging if late else self.activity.factor
            self._judge(name, channel, at_us - PATIENCE_US if late else at_us, factor)
        self._go_on(settled)

    def _judge(self, name: str, channel: Channel, at_us: int, factor: float) -> None:
        rule = self._rules[RULES_OF[name]]
        case = self._cases.get(rule.name)
        learn = channel.evidence < _DOUBT * rule.threshold if case is None else at_us - case.detected_us > _LONGEST_US
        channel.step(at_us, STEP, factor, FLOOR, learn=learn)
        if case is None and channel.evidence >= CAUTION[name] * rule.threshold and not {name, rule.name} & self._off:
            best = channel.cusum.best
            if channel.cusum.observed[best] >= _LEAST and channel.cells.hours >= READY:
                self._open(rule.name, at_us + _STEP_US, channel.cusum.since_us[best])

    def _open(self, rule: str, now_us: int, since_us: int) -> None:
        evidence = [_evidence(name, self.channels[name]) for name in CHANNELS if RULES_OF[name] == rule]
        evidence.sort(key=lambda each: -each.contribution)
        case = self._cases.sign(rule, since_us, attempts=0, evidence=evidence)
        if case is None:
            return
        case.detected_us = case.seen_us = now_us
        for channel in self.channels.values():
            channel.cusum.restart()
        usual = evidence[0].expected / max(evidence[0].observed, 1.0)
        for failing in attribute([each for each in (*self.recent, *self._pairs.waiting()) if each.at_us >= since_us], usual):
            case.sign(failing.at_us, failing.address, failing.user, 1, failing.example)

    def _go_on(self, settled: list[Failing]) -> None:
        """Open campaigns grow, or end when their channel says that all is as usual."""
        case = self._cases.get("stuffing.distributed")
        if case:
            for failing in attribute(settled, 0.3):
                case.sign(failing.at_us, failing.address, failing.user, 1, failing.example)
            self._end(case, "fresh", "settled")
        spray = self._cases.get("spray")
        if spray:
            self._end(spray, "fanout")

    def _end(self, case: Case, *names: str) -> None:
        if all(self.channels[name].cusum.calm for name in names):
            case.over = True
            for name, channel in self.channels.items():
                if RULES_OF[name] == case.rule:
                    channel.cusum.clear()

    def dump(self) -> list[Any]:
        """Its state."""
        channels = [channel.dump() for channel in self.channels.values()]
        return [self.activity.dump(), channels, [astuple(each) for each in self.recent], self._next_us]

    def load(self, state: list[Any]) -> None:
        """Take the state that `dump` gave."""
        activity, channels, recent, self._next_us = state
        self.activity.load(activity)
        for channel, each in zip(self.channels.values(), channels, strict=True):
            channel.load(each)
        self.recent = deque([Failing(*each) for each in recent], maxlen=_KEPT)


def _evidence(name: str, channel: Channel) -> Evidence:
    cusum = channel.cusum
    best = cusum.best
    signal = f"{CHANNELS[name]} (rise x{RISES[best]:.0f})"
    return Evidence(signal, round(cusum.observed[best], 1), round(cusum.usual[best], 2), round(channel.evidence, 1))
