"""Campaigns: the cases that are one attack, told as one story."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from lockwatch.anomaly.campaign import EVERYONE, Action, Campaign, Change
from lockwatch.anomaly.case import Case
from lockwatch.anomaly.dossier import Dossier, dossier_of
from lockwatch.anomaly.linking import linked
from lockwatch.anomaly.rules import Rule
from lockwatch.anomaly.steps import Step

Open = Mapping[str, Case]


class Dossiers:
    """All open campaigns. Each holds the open cases of some rules; a case is in one of them.

    Args:
        rules: by name.
    """

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        self._rules = rules
        self._open: list[Dossier] = []

    def take(self, steps: Sequence[Step], cases: Open, now_us: int) -> list[Change]:
        """What the steps of cases, and the time, make new."""
        changes = [change for step in steps if step.kind == "begun" for change in self._begin(step.case, cases, now_us)]
        for dossier in self._open:
            mine = [step for step in steps if step.case.rule in dossier.rules]
            if change := self._change(dossier, mine, cases, now_us):
                changes.append(change)
        self._open = [dossier for dossier in self._open if dossier.rules]
        return changes

    def _begin(self, case: Case, cases: Open, now_us: int) -> list[Change]:
        """A new case goes where it belongs. Campaigns that it ties together become the oldest of them."""
        rule = self._rules[case.rule]
        homes = [each for each in self._open if each.dry_run == rule.dry_run and self._is_home(each, case, cases)]
        if not homes:
            homes = [Dossier(case.id, case.rule, case.started_us, now_us, rule.dry_run)]
            self._open += homes
        home, *others = homes
        folded = [self._fold(each, home, cases, now_us) for each in others if each.told_us]
        for each in others:
            self._open.remove(each)
            home.absorb(each)
        home.rules.append(case.rule)
        return folded

    def _is_home(self, dossier: Dossier, case: Case, cases: Open) -> bool:
        return any(linked(case, cases[rule]) for rule in dossier.rules)

    def _fold(self, dossier: Dossier, home: Dossier, cases: Open, now_us: int) -> Change:
        campaign = dossier.campaign(self._rules, cases, now_us, resolved=True, into=home.id)
        return Change(campaign, "resolved", self._alert(campaign), (f"it is part of campaign {home.id}",))

    def _change(self, dossier: Dossier, steps: Sequence[Step], cases: Open, now_us: int) -> Change | None:
        ended = [step.case for step in steps if step.kind == "ended"]
        for case in ended:
            dossier.close(case, self._rules[case.rule], now_us)
        kind: Literal["opened", "updated", "resolved"] = (
            "opened" if not dossier.told_us else "resolved" if not dossier.rules else "updated"
        )
        news = dossier.news(self._rules, cases, now_us) if kind == "updated" else ()
        actions = tuple([action for step in steps for action in step.actions])
        if kind == "updated" and not news and not (steps and (actions or not dossier.dry_run)):
            return None
        campaign = dossier.campaign(self._rules, cases, now_us, resolved=kind == "resolved", front=steps)
        alert: tuple[Action, ...] = ()
        if kind != "updated" or news:
            dossier.tell(self._rules, cases, now_us)
            alert = self._alert(campaign)
        joined = not alert and all(step.kind == "joined" for step in steps)
        return Change(campaign, kind, (*alert, *actions), news, tuple([case.rule for case in ended]), joined)

    def _alert(self, campaign: Campaign) -> tuple[Action, ...]:
        return () if campaign.dry_run else (Action("alert", "everyone", EVERYONE, 0, campaign.reason),)

    def campaigns(self, cases: Open, now_us: int) -> list[Campaign]:
        """The open campaigns, as they are known now."""
        return [each.campaign(self._rules, cases, now_us, resolved=False) for each in self._open]

    def dump(self) -> list[object]:
        """Its state."""
        return [dossier.dump() for dossier in self._open]

    def load(self, state: list[Any]) -> None:
        """Take the state that `dump` gave."""
        self._open = [dossier_of(each) for each in state]
