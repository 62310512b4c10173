"""Rule about client software: one tool behind many addresses."""

from __future__ import annotations

from math import log
from typing import Any, Final

from lockwatch.anomaly.campaign import Evidence
from lockwatch.anomaly.cases import Cases
from lockwatch.anomaly.packing import NO_KEY
from lockwatch.anomaly.pairs import Failing
from lockwatch.anomaly.rules import Rule, Settings
from lockwatch.anomaly.signals import Fading, Table
from lockwatch.anomaly.sketch import Registers

_ATTACKER: Final = 0.9
"""Share of a tool's logins that are novel pairs which fail for good."""
_LEAST_USUAL: Final = 0.03
_MOST_USUAL: Final = 0.5
_SHARE: Final = 0.12
_STRENGTH: Final = 100.0
"""What is thought beforehand of the usual share, and how many logins that is worth."""
_LEAST: Final = 5
"""Different networks, and users."""
_COMMON: Final = 0.35
"""Share of a site's logins from which on a client software says nothing about who uses it."""
_ENOUGH: Final = 50
"""Logins in a week, before that is judged."""
_WEEK: Final = 7 * 86_400.0
LAG: Final = 7
"""Steps of five minutes after which a failure will not be put right any more."""


class Tool:
    """One user agent: the case against it, since when, whom it tried from where, and how many people use it."""

    __slots__ = ("evidence", "networks", "since_us", "used", "users")

    def __init__(self) -> None:
        self.evidence, self.used = Fading(), Fading()
        self.networks: Registers | None = None
        self.users: Registers | None = None
        self.since_us = 0

    def dump(self) -> list[Any]:
        """Its state."""
        sketches = [each and each.dump() for each in (self.networks, self.users)]
        return [self.evidence.value, self.evidence.at_us, self.used.value, self.used.at_us, *sketches, self.since_us]


def tool_of(state: list[Any]) -> Tool:
    """The tool that `Tool.dump` gave."""
    tool = Tool()
    tool.evidence, tool.used = Fading(*state[:2]), Fading(*state[2:4])
    tool.networks, tool.users = [raw and Registers(raw=raw) for raw in state[4:6]]
    tool.since_us = state[6]
    return tool


class Tools:
    """The table of user agents, and its rule: a sequential test (Wald 1945) of each against what is usual on this site.

    Args:
        settings: rules and bounds.
        cases: where signs go.
    """

    def __init__(self, settings: Settings, cases: Cases) -> None:
        self._rule: Rule = settings.rules["stuffing.tool"]
        self._cases = cases
        self.table: Table[Tool] = Table(4096, Tool)
        self._failed, self._succeeded = Fading(), Fading()
        self._late: list[dict[bytes, int]] = [{} for _ in range(LAG)]

    def succeed(self, agent: bytes, at_us: int) -> None:
        """Somebody logged in with it. It counts against the failures of the same time, which are known half an hour later."""
        if agent != NO_KEY:
            self.table.touch(agent).used.add(1, at_us, _WEEK)
        self._late[-1][agent] = self._late[-1].get(agent, 0) + 1

    def step(self, at_us: int) -> None:
        """Five minutes have passed."""
        settled, self._late = self._late[0], [*self._late[1:], {}]
        good = log((1 - _ATTACKER) / (1 - self._usual(at_us)))
        for agent, count in settled.items():
            self._succeeded.add(count, at_us, _WEEK)
            if agent != NO_KEY:
                evidence = self.table.touch(agent).evidence
                evidence.value = max(0.0, evidence.add(good * count, at_us, self._rule.window))

    def is_common(self, agent: bytes, now_us: int) -> bool:
        """Whether so many people use it that it tells nobody apart."""
        tool, total = self.table.get(agent), self._succeeded.read(now_us, _WEEK)
        return tool is not None and total >= _ENOUGH and tool.used.read(now_us, _WEEK) >= _COMMON * total

    def fail(self, failing: Failing, now_us: int) -> int | None:
        """A novel pair failed with it, for good. When that opens a case: since when there is evidence against the software."""
        usual = self._usual(now_us)
        self._failed.add(1, now_us, _WEEK)
        if failing.agent == NO_KEY:
            return None
        tool = self.table.touch(failing.agent)
        if tool.evidence.value == 0.0:
            tool.since_us = failing.at_us
        evidence = tool.evidence.add(log(_ATTACKER / usual), now_us, self._rule.window)
        tool.networks, tool.users = tool.networks or Registers(32), tool.users or Registers(32)
        tool.networks.add(failing.network)
        tool.users.add(failing.user)
        if evidence < self._rule.threshold or min(len(tool.networks), len(tool.users)) < _LEAST:
            return None
        found = Evidence("novel pairs that failed with one client software", len(tool.networks), usual, evidence)
        opens = not self._cases.is_open(self._rule.name)
        case = self._cases.sign(
            self._rule.name,
            failing.at_us,
            source=failing.address,
            target=failing.user,
            example=failing.example,
            evidence=[found],
        )
        return tool.since_us if case and opens else None

    def _usual(self, now_us: int) -> float:
        failed, succeeded = self._failed.read(now_us, _WEEK), self._succeeded.read(now_us, _WEEK)
        share = (failed + _SHARE * _STRENGTH) / (failed + succeeded + _STRENGTH)
        return min(max(share, _LEAST_USUAL), _MOST_USUAL)

    def dump(self) -> list[Any]:
        """Its state."""
        totals = [self._failed.value, self._failed.at_us, self._succeeded.value, self._succeeded.at_us]
        late = [[*each.items()] for each in self._late]
        return [totals, late, self.table.dump(Tool.dump, lambda tool: tool.used.value > 1 or tool.evidence.value > 0)]

    def load(self, state: list[Any]) -> None:
        """Take the state that `dump` gave."""
        totals, late, table = state
        self._late = [dict(each) for each in late]
        self._failed, self._succeeded = Fading(*totals[:2]), Fading(*totals[2:])
        self.table.load(table, tool_of)
