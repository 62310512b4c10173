"""Rules about the whole site: the slow, distributed campaign that no address and no account shows."""

from __future__ import annotations

from collections import deque
from dataclasses import astuple
from typing import Any, Final

from lockwatch.anomaly.activity import STEP, Activity
from lockwatch.anomaly.attribution import attribute
from lockwatch.anomaly.campaign import Evidence
from lockwatch.anomaly.case import Case
from lockwatch.anomaly.cases import Cases
from lockwatch.anomaly.cells import READY, RISES, Channel, Cusum
from lockwatch.anomaly.opening import Opening
from lockwatch.anomaly.pairs import PATIENCE_US, Failing, Pairs
from lockwatch.anomaly.records import Login
from lockwatch.anomaly.rules import DAY, Settings
from lockwatch.anomaly.signals import SECOND
from lockwatch.anomaly.sources import FANOUT
from lockwatch.anomaly.tools import Tools

CHANNELS: Final = {
    "fresh": "novel pairs that failed",
    "settled": "novel pairs that failed and were not put right",
    "cold": "the same, from networks where nobody ever logged in",
    "fanout": "addresses with several failing users and no success",
    "opening": "novel pairs that failed and were not put right, against logins",
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
_SHARE: Final = 0.2
"""Of people who come from a new network, how many more fail to log in than usual."""
_CUT: Final = 1.5
_DOUBT: Final = 0.6
"""Share of the threshold from which on nothing is learned."""
_LEAST: Final = 8.0
"""Signs since the change, whatever the evidence."""
_KEPT: Final = 4096
_FANS: Final = 1024
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
        most = {name: _CUT * CAUTION[name] * self._rules[rule].threshold for name, rule in RULES_OF.items()}
        self.channels = {name: Channel(most[name], settings.utc_offset) for name in RULES_OF}
        self.opening = Opening(_CUT * CAUTION["fresh"] * self._rules["stuffing.distributed"].threshold)
        self.recent: deque[Failing] = deque(maxlen=_KEPT)
        self._fans: deque[tuple[int, bytes, bytes, str]] = deque(maxlen=_FANS)
        self._logins = [0] * (PATIENCE_US // _STEP_US + 1)
        self._next_us = 0

    @property
    def ready(self) -> bool:
        """Whether three days have been seen."""
        return self.channels["fresh"].cells.hours >= 3 * READY

    @property
    def outage(self) -> bool:
        """Whether everybody fails, also those who are known."""
        return self.activity.outage

    @property
    def young(self) -> bool:
        """Whether no hour of the day is known yet."""
        return self.channels["fresh"].cells.hours < READY

    def succeeded(self, *, novel: bool) -> None:
        """Somebody logged in."""
        self._logins[-1] += 1
        self.activity.add(0)
        if novel:
            self.activity.add(1)

    def failed(self, failing: Failing) -> None:
        """A novel pair failed."""
        self.channels["fresh"].add(failing.weight)
        if self._cases.get("stuffing.distributed"):
            self._cases.sign("stuffing.distributed", failing.at_us, attempts=0)

    def fanned(self, login: Login) -> None:
        """An address became a fan-out."""
        self.channels["fanout"].add(1.0)
        fan = (login.at_us, login.address, login.user, login.example)
        self._fans.append(fan)
        if self._cases.is_open("spray"):
            self._name_fan(*fan)

    def _name_fan(self, at_us: int, address: bytes, user: bytes, example: str) -> None:
        self._cases.sign("spray", at_us, source=address, target=user, attempts=FANOUT, example=example)

    def tick(self, now_us: int) -> None:
        """Judge all intervals that are complete by now."""
        if now_us - self._next_us > _LONGEST_US:
            self._next_us = (now_us // _STEP_US + 1) * _STEP_US
        while self._next_us <= now_us:
            self._step(self._next_us - _STEP_US)
            self._next_us += _STEP_US

    def _step(self, at_us: int) -> None:
        self.activity.step(at_us)
        self._tools.step(at_us)
        settled = [each for each in self._pairs.settle(at_us + _STEP_US - PATIENCE_US) if not self._cases.holder(each.address)]
        for failing in settled:
            self.channels["settled"].add(failing.weight)
            if not failing.place:
                self.channels["cold"].add(failing.weight)
            self._tools.fail(failing, at_us)
        self.recent.extend(settled)
        self._begin(settled, at_us)
        for name, channel in self.channels.items():
            late = name in ("settled", "cold")
            factor = 1.0 if "activity" in self._off else self.activity.lagging if late else self.activity.factor
            self._judge(name, channel, at_us - PATIENCE_US if late else at_us, factor)
        self._go_on(settled)

    def _begin(self, settled: list[Failing], at_us: int) -> None:
        """While no hour is known, the share of failures says whether something has changed."""
        logins, self._logins = self._logins[0], [*self._logins[1:], 0]
        if not self.young:
            return
        rule, opening = self._rules["stuffing.distributed"], self.opening
        case, threshold = self._cases.get(rule.name), CAUTION["fresh"] * rule.threshold
        learn = case is None and opening.evidence < _DOUBT * threshold
        opening.step(sum([each.weight for each in settled]), logins, at_us - PATIENCE_US, learn=learn)
        if case is None and opening.evidence >= threshold and rule.name not in self._off:
            self._open(rule.name, at_us + _STEP_US, opening.cusum, [_evidence("opening", opening.cusum)])

    def _judge(self, name: str, channel: Channel, at_us: int, factor: float) -> None:
        rule = self._rules[RULES_OF[name]]
        case = self._cases.get(rule.name)
        learn = channel.evidence < _DOUBT * rule.threshold if case is None else at_us - case.detected_us > _LONGEST_US
        more = 0.0 if name == "fanout" or "activity" in self._off else _SHARE * self.activity.surge
        channel.step(at_us, STEP, factor, FLOOR, learn=learn, more=more)
        if case is None and channel.evidence >= CAUTION[name] * rule.threshold and not {name, rule.name} & self._off:
            best = channel.cusum.best
            if channel.cusum.observed[best] >= _LEAST and channel.cells.hours >= READY:
                evidence = [_evidence(each, self.channels[each].cusum) for each in RULES_OF if RULES_OF[each] == rule.name]
                self._open(rule.name, at_us + _STEP_US, channel.cusum, evidence)

    def _open(self, rule: str, now_us: int, cusum: Cusum, evidence: list[Evidence]) -> None:
        evidence.sort(key=lambda each: -each.contribution)
        since_us = cusum.since_us[cusum.best]
        case = self._cases.sign(rule, since_us, attempts=0, evidence=evidence)
        if case is None:
            return
        case.detected_us = case.seen_us = now_us
        for each in (*[channel.cusum for channel in self.channels.values()], self.opening.cusum):
            each.restart()
        if rule == "spray":
            for fan in [fan for fan in self._fans if fan[0] >= since_us - _STEP_US]:
                self._name_fan(*fan)
        usual = evidence[0].expected / max(evidence[0].observed, 1.0)
        for failing in attribute([each for each in (*self.recent, *self._pairs.waiting()) if each.at_us >= since_us], usual):
            if rule != "spray" or failing.address in case.sources:
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
        if self.opening.over if self.young else all(self.channels[name].cusum.calm for name in names):
            case.over = True
            self.opening.cusum.clear()
            for name, channel in self.channels.items():
                if RULES_OF[name] == case.rule:
                    channel.cusum.clear()

    def dump(self) -> list[Any]:
        """Its state."""
        channels = [channel.dump() for channel in self.channels.values()]
        recent = [astuple(each) for each in self.recent]
        return [self.activity.dump(), channels, recent, self._next_us, self.opening.dump(), [*self._fans], self._logins]

    def load(self, state: list[Any]) -> None:
        """Take the state that `dump` gave."""
        activity, channels, recent, self._next_us, opening, fans, self._logins = state
        self.opening.load(opening)
        self._fans = deque([tuple(fan) for fan in fans], maxlen=_FANS)
        self.activity.load(activity)
        for channel, each in zip(self.channels.values(), channels, strict=True):
            channel.load(each)
        self.recent = deque([Failing(*each) for each in recent], maxlen=_KEPT)


def _evidence(name: str, cusum: Cusum) -> Evidence:
    best = cusum.best
    signal = f"{CHANNELS[name]} (rise x{RISES[best]:.0f})"
    return Evidence(signal, round(cusum.observed[best], 1), round(cusum.usual[best], 2), round(max(cusum.sums), 1))
