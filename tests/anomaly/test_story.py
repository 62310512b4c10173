"""One story per attack: rules that see the same thing tell it together, and are told again only when it becomes worse."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any

import pytest

from lockwatch.anomaly.campaign import Campaign, Change
from lockwatch.anomaly.cases import Cases
from lockwatch.anomaly.exchange import item_of
from lockwatch.anomaly.names import Names
from lockwatch.anomaly.replay import Rerun
from lockwatch.anomaly.rules import DAY, HOUR, Settings, ruled
from lockwatch.anomaly.state import pack, unpack
from lockwatch.errors import ConfigurationError
from lockwatch.event import Event

SECOND = 1_000_000
NOW = 1_767_571_200 * SECOND


def key(kind: str, number: int) -> bytes:
    return f"{kind}{number:07}".encode()[:8]


def sources(*numbers: int) -> list[bytes]:
    return [key("s", number) for number in numbers]


class Desk:
    """Rules give signs, time passes, people are told."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.cases = Cases(self.settings)
        self.now_us = NOW
        self.told: list[Change] = []

    def sign(self, rule: str, who: Iterable[bytes], whom: Iterable[bytes] = (), times: int = 1) -> None:
        whom = [*whom]
        for n, source in enumerate(who):
            target = whom[n % len(whom)] if whom else bytes(8)
            self.cases.sign(rule, self.now_us, source=source, target=target, attempts=times)

    def wait(self, seconds: float = 1) -> list[Change]:
        self.now_us += int(seconds * SECOND)
        found = self.cases.changes(self.now_us)
        self.told += found
        return found

    def again(self) -> Desk:
        """Another process goes on from what this one left."""
        other = Desk(self.settings)
        other.cases.load(unpack(pack(self.cases.dump())))
        other.now_us = self.now_us
        return other

    @property
    def campaigns(self) -> list[Campaign]:
        return self.cases.campaigns(self.now_us)

    @property
    def alerts(self) -> list[str]:
        return [change.kind for change in self.told for action in change.actions if action.kind == "alert"]


def rules_of(campaign: Campaign) -> list[str]:
    return [part.rule for part in campaign.parts]


def test_four_rules_that_see_one_attack_tell_one_story() -> None:
    desk = Desk()
    pool = sources(*range(40))
    desk.sign("stuffing.distributed", pool, sources(*range(100, 140)))
    desk.wait()
    desk.sign("spray", pool[:20])
    desk.wait()
    desk.sign("stuffing.tool", pool[5:9])
    desk.wait()
    desk.sign("stuffing.address", pool[:1], times=30)
    desk.wait()
    (campaign,) = desk.campaigns
    assert rules_of(campaign) == ["stuffing.distributed", "spray", "stuffing.tool", "stuffing.address"]
    assert (campaign.rule, campaign.source_count, campaign.severity) == ("stuffing.distributed", 40, "high")
    assert desk.alerts == ["opened"]
    assert campaign.reason.endswith("; spray, stuffing.tool, stuffing.address see it, too")


def test_an_attempt_that_three_rules_count_is_one_attempt() -> None:
    desk = Desk()
    for rule in ("stuffing.distributed", "spray", "stuffing.tool"):
        desk.sign(rule, sources(*range(10)), times=2)
    desk.wait()
    (campaign,) = desk.campaigns
    assert campaign.attempts == 20


def test_guessing_at_one_user_from_one_network_and_from_many_is_one_story() -> None:
    desk = Desk()
    desk.sign("failures.account", sources(1), [b"victim.."])
    desk.wait()
    desk.sign("spread.account", sources(2, 3, 4), [b"victim.."])
    desk.wait()
    assert [rules_of(campaign) for campaign in desk.campaigns] == [["failures.account", "spread.account"]]
    assert desk.alerts == ["opened"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("stuffing.address", "spread.account"),
        ("stuffing.distributed", "stuffing.address"),
        ("stuffing.distributed", "spray"),
        ("scan.address", "failures.address"),
        ("spread.account", "failures.address"),
    ],
)
def test_two_attacks_at_once_with_other_sources_and_targets_stay_two(one: str, other: str) -> None:
    desk = Desk()
    desk.sign(one, sources(*range(10)), sources(*range(100, 110)))
    desk.sign(other, sources(*range(20, 30)), sources(*range(120, 130)))
    desk.wait()
    assert [rules_of(campaign) for campaign in desk.campaigns] == [[one], [other]]
    assert desk.alerts == ["opened", "opened"]
    assert len({campaign.id for campaign in desk.campaigns}) == 2


def test_an_address_that_does_far_more_than_a_slow_campaign_is_another_attack() -> None:
    desk = Desk()
    desk.sign("stuffing.distributed", sources(*range(40)))
    desk.sign("stuffing.distributed", sources(7), times=4)  # the first of its attempts, before a rule had it
    desk.wait()
    desk.sign("stuffing.address", sources(7), sources(*range(200, 230)), times=30)
    desk.wait()
    assert [rules_of(campaign) for campaign in desk.campaigns] == [["stuffing.distributed"], ["stuffing.address"]]


def test_requests_and_logins_of_one_address_are_two_stories() -> None:
    desk = Desk()
    desk.sign("scan.address", sources(1))
    desk.sign("burst.address", sources(1))
    desk.sign("failures.address", sources(1))
    desk.wait()
    assert [rules_of(campaign) for campaign in desk.campaigns] == [["scan.address", "burst.address"], ["failures.address"]]


def test_a_rule_that_makes_it_worse_is_told_once_the_cooldown_has_passed() -> None:
    desk = Desk()
    desk.sign("failures.address", sources(1, 2, 3))
    desk.wait()
    desk.sign("spray", sources(1, 2, 3, 4))
    assert [change for change in desk.wait(60) if any(each.kind == "alert" for each in change.actions)] == []
    (change,) = desk.wait(HOUR)
    assert change.kind == "updated"
    assert change.news == ("severity rises from medium to high", "a challenge of everyone is proposed")
    assert desk.alerts == ["opened", "updated"]
    assert [change.news for change in desk.wait(HOUR)] == []


def test_the_cooldown_is_that_of_the_table_of_rules() -> None:
    desk = Desk(Settings(rules=ruled({"failures.address": {"cooldown": 60}})))
    desk.sign("failures.address", sources(1))
    desk.wait()
    desk.sign("failures.address", sources(*range(2, 40)))
    desk.wait(30)
    assert desk.alerts == ["opened"]
    desk.wait(31)
    assert desk.alerts == ["opened", "updated"]


def test_each_tenfold_of_its_sources_is_told_and_nothing_between() -> None:
    desk = Desk()
    for hour in range(100):
        desk.sign("stuffing.distributed", sources(*range(hour * 20, hour * 20 + 20)))
        desk.wait(HOUR)
    told = [change for change in desk.told if any(each.kind == "alert" for each in change.actions)]
    assert [change.kind for change in told] == ["opened", "updated", "updated"]
    assert [change.news for change in told[1:]] == [("200 sources, 20 before",), ("2000 sources, 200 before",)]


def test_users_who_were_logged_in_as_make_it_critical_and_are_told_as_they_double() -> None:
    desk = Desk()
    desk.sign("failures.address", sources(1))
    desk.wait()
    for n in range(20):
        desk.cases.breached(key("s", 1), key("u", n))
        desk.sign("failures.address", sources(1))
        desk.wait(HOUR)
    told = [change for change in desk.told if any(each.kind == "alert" for each in change.actions)]
    assert [len(change.campaign.compromised) for change in told] == [0, 1, 2, 4, 8, 16]
    assert told[1].news == ("severity rises from medium to critical", "1 users were logged in as, 0 before")


def test_a_campaign_is_over_when_its_last_rule_is_and_keeps_what_the_first_ones_said() -> None:
    desk = Desk()
    desk.sign("stuffing.address", sources(1), sources(100))
    desk.sign("stuffing.tool", sources(1, 2), sources(100, 101))
    desk.wait()
    (silent,) = desk.wait(7 * HOUR)
    assert (silent.kind, silent.actions, silent.ended) == ("updated", (), ("stuffing.address",))
    (campaign,) = desk.campaigns
    assert rules_of(campaign) == ["stuffing.address", "stuffing.tool"]
    assert [part.resolved_us is None for part in campaign.parts] == [False, True]
    (over,) = desk.wait(DAY)
    assert (over.kind, over.campaign.source_count) == ("resolved", 2)
    assert desk.campaigns == []
    assert desk.alerts == ["opened", "resolved"]


def test_a_rule_that_comes_back_goes_on_with_its_part() -> None:
    desk = Desk()
    desk.sign("stuffing.tool", sources(1, 2, 3), times=5)
    desk.sign("stuffing.address", sources(1), times=5)
    desk.wait()
    desk.wait(7 * HOUR)
    desk.sign("stuffing.address", sources(1), times=7)
    desk.wait()
    (campaign,) = desk.campaigns
    part = campaign.parts[1]
    assert (part.rule, part.attempts, part.resolved_us) == ("stuffing.address", 12, None)
    assert part.detected_us == campaign.detected_us


def test_what_ties_two_campaigns_together_makes_them_one() -> None:
    desk = Desk()
    desk.sign("stuffing.address", sources(1, 2, 3))
    desk.wait()
    desk.sign("failures.address", sources(4, 5, 6))
    desk.wait()
    first, second = desk.campaigns
    desk.sign("spray", sources(*range(1, 8)))
    folded, home = desk.wait()
    assert (folded.kind, folded.campaign.id, folded.campaign.merged_into) == ("resolved", second.id, first.id)
    assert home.campaign.id == first.id
    assert [rules_of(campaign) for campaign in desk.campaigns] == [["stuffing.address", "failures.address", "spray"]]
    assert desk.alerts == ["opened", "opened", "resolved"]


def test_each_rule_proposes_what_it_proposed_alone() -> None:
    """A campaign bans and challenges nobody whom its rules would not."""

    def proposed(*rules: str) -> set[tuple[Any, ...]]:
        desk = Desk(Settings(rules=ruled({"stuffing.address": {"ban": 600}})))
        for rule in rules:
            desk.sign(rule, sources(1, 2, 3) if rule == "stuffing.address" else sources(*range(1, 9)), [b"victim.."])
        for step in range(6):
            desk.wait(step * 1800)
        assert len(desk.campaigns) <= 1
        return {
            (each.kind, each.about, each.subject_hash, each.seconds, each.rule, change.campaign.updated_us)
            for change in desk.told
            for each in change.actions
            if each.kind != "alert"
        }

    rules = ("stuffing.address", "spray", "spread.account")
    assert proposed(*rules) == set().union(*[proposed(rule) for rule in rules])
    assert {each[2] for each in proposed(*rules) if each[0] == "ban"} == set(sources(1, 2, 3))


def test_a_rule_on_trial_is_no_part_of_a_story() -> None:
    desk = Desk(Settings(rules=ruled({"spray": {"dry_run": True}})))
    desk.sign("stuffing.distributed", sources(*range(9)))
    desk.sign("spray", sources(*range(9)))
    desk.wait()
    assert [(rules_of(each), each.dry_run) for each in desk.campaigns] == [(["stuffing.distributed"], False), (["spray"], True)]
    assert desk.alerts == ["opened"]


def test_another_process_goes_on_in_the_middle_of_a_story() -> None:
    whole, first = Desk(), Desk()
    for desk in (whole, first):
        desk.sign("stuffing.address", sources(1, 2, 3), sources(100, 101, 102))
        desk.wait()
        desk.sign("spray", sources(*range(1, 8)))
        desk.wait(7 * HOUR)
    second = first.again()
    assert second.campaigns == first.campaigns
    for desk in (whole, second):
        desk.cases.breached(key("s", 5), key("u", 1))
        desk.sign("stuffing.address", sources(3))
        desk.wait(HOUR)
        desk.wait(8 * DAY)
    assert whole.told[2:] == second.told
    assert [change.kind for change in second.told] == ["updated", "resolved"]


def test_news_of_a_campaign_have_a_name_each() -> None:
    """What is published twice under one name is told once; so two changes never share one."""
    desk = Desk(Settings(rules=ruled({"stuffing.address": {"ban": 600}})))
    desk.sign("stuffing.address", sources(1), [b"victim.."])
    desk.wait()
    for n in range(60):
        desk.sign("stuffing.address", sources(n % 7), [b"victim.."], times=n + 1)
        desk.sign("spray", sources(n % 5))
        desk.wait(HOUR / 2)
    desk.wait(8 * DAY)
    names = [item_of(change, [])[0] for change in desk.told]
    assert len(set(names)) == len(names)


def test_a_story_is_bounded() -> None:
    desk = Desk()
    for n in range(5):
        desk.sign("stuffing.distributed", sources(*range(n * 1000, n * 1000 + 1000)), sources(*range(n * 1000, n * 1000 + 1000)))
        desk.sign("spray", sources(*range(n * 1000, n * 1000 + 900)))
        desk.wait(DAY)
    (campaign,) = desk.campaigns
    assert max(len(campaign.sources), len(campaign.targets)) <= 1000
    assert campaign.source_count == 5000
    assert all(len(part.sources) <= 1000 for part in campaign.parts)


def test_a_severity_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="severity='awful' of rule 'spray' is not one of low, medium, high, critical"):
        ruled({"spray": {"severity": "awful"}})


def test_a_spray_and_the_guessing_at_one_account_at_once_are_two_stories() -> None:
    """Five rules see the first, a sixth the second, of which the first has the victim among its targets, too."""
    rng, events = Random(4), list[Event]()
    for _ in range(6400):
        user, at_us = rng.randrange(400), NOW + rng.randrange(8 * DAY * SECOND)
        who = (f"user{user}", f"20.{user % 7}.{user % 200}.{1 + user // 200}", f"b{user % 7}")
        events += [attempt(at_us, *who, "failure")] if rng.random() < 0.1 else []
        events.append(attempt(at_us + 20 * SECOND, *who, "success"))
    begin = NOW + 7 * DAY * SECOND + 10 * HOUR * SECOND
    for n in range(1200):
        who = (f"user{rng.randrange(400)}", f"{60 + n % 60}.1.{n % 60}.9", f"b{rng.randrange(7)}")
        events.append(attempt(begin + n * 20 * SECOND, *who, "failure"))
    for n in range(200):
        events.append(attempt(begin + n * 60 * SECOND, "boss", f"{130 + n % 90}.{n}.7.9", f"z{n % 9}", "failure"))
    names = Names(b"story", 100_000)
    rerun = Rerun(names)
    for event in sorted(events, key=lambda event: event.time_us):
        rerun.take(event)
    story = rerun.end()
    spray, guessing = sorted(story.campaigns.values(), key=lambda each: -len(each.parts))
    assert {"spray", "stuffing.distributed", "stuffing.address"} <= set(rules_of(spray))
    assert rules_of(guessing) == ["spread.account"]
    assert names.user("boss") in guessing.targets
    assert len(set(spray.sources) & set(guessing.sources)) <= 3
    assert story.alerts <= 8


def attempt(at_us: int, user: str, ip: str, agent: str, outcome: str) -> Event:
    return Event(time_us=at_us, kind="auth", action="login", outcome=outcome, user=user, ip=ip, user_agent=agent)
