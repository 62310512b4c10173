"""The simulator at reduced size: what the documentation says of the detector, in a few seeds."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from random import Random

import pytest

from lockwatch.anomaly.campaign import Change
from lockwatch.anomaly.cells import Cells
from lockwatch.anomaly.detector import Detector
from lockwatch.anomaly.rules import RULES
from lockwatch.event import Event
from tests.simulation.__main__ import main
from tests.simulation.attacks import ATTACKS
from tests.simulation.benign import BENIGN
from tests.simulation.measure import Bench, Run
from tests.simulation.plot import plot
from tests.simulation.report import interval, published, rate, rules, share, table
from tests.simulation.world import DAY, HOUR, World, ordinary


@pytest.fixture(scope="module")
def bench() -> Bench:
    """A site of 1,000 users, two weeks old."""
    return Bench(World(seed=3, users=1000), warm=14)


def test_two_ordinary_weeks_are_no_campaign(bench: Bench) -> None:
    assert bench.warmup == []


@pytest.mark.parametrize("name", sorted(BENIGN))
def test_ordinary_trouble_is_no_campaign(bench: Bench, name: str) -> None:
    outcome = bench.play(name, BENIGN[name], 2)
    assert outcome.opened == []
    assert outcome.challenged == 0


@pytest.mark.parametrize(
    ("name", "days", "minutes"),
    [
        ("A1", 0.05, 5),
        ("A2", 0.1, 10),
        ("A3", 0.5, 60),
        ("A4-60", 1.5, 24 * 60),
        ("A5-tool", 2, 36 * 60),
        ("A6", 1, 24 * 60),
        ("A7", 1, 6 * 60),
        ("A13", 0.1, 30),
        ("A14", 0.05, 30),
        ("A15", 0.1, 1),
        ("A16", 0.1, 10),
    ],
)
def test_an_attack_is_found_in_time(bench: Bench, name: str, days: float, minutes: float) -> None:
    outcome = bench.play(name, ATTACKS[name], days)
    assert outcome.detected
    assert outcome.minutes is not None
    assert outcome.minutes <= minutes
    assert outcome.precision is not None
    assert outcome.precision > 0.4


def test_a_campaign_is_told_when_it_opens_and_when_it_ends_not_for_each_attempt(bench: Bench) -> None:
    detector = Detector()
    detector.load(bench.state)
    run = Run(detector, bench.names)
    begin, end = bench.start_us, bench.start_us + 2 * DAY
    events = list(ATTACKS["A2"](bench.world, Random(1), begin, end))
    for _ in run.play(iter(events), end):
        pass
    kinds = [change.kind for change in run.changes if any(action.kind == "alert" for action in change.actions)]
    assert len(events) == 2000
    assert kinds[0] == "opened"
    assert kinds[-1] == "resolved"
    assert kinds[1:-1].count("updated") == len(kinds) - 2 <= 5


def test_a_slow_campaign_ends_when_the_attempts_end(bench: Bench) -> None:
    detector = Detector()
    detector.load(bench.state)
    run = Run(detector, bench.names)
    begin, stop, end = bench.start_us, bench.start_us + 2 * DAY, bench.start_us + 12 * DAY
    attack = list(ATTACKS["A4-250"](bench.world, Random(1), begin, stop))
    people = ordinary(bench.world, Random(2), begin, end)
    for _ in run.play(iter(sorted([*attack, *people], key=lambda event: event.time_us)), end):
        pass
    told = [change for change in run.changes if change.campaign.rule == "stuffing.distributed"]
    assert [told[0].kind, told[-1].kind] == ["opened", "resolved"]
    assert begin - DAY / 2 <= told[0].campaign.started_us <= begin + DAY / 2
    ended = told[-1].campaign.resolved_us
    assert ended is not None
    assert stop < ended < stop + 8 * DAY
    assert {change.campaign.id for change in told} == {told[0].campaign.id}


def test_known_networks_are_never_challenged_by_name(bench: Bench) -> None:
    detector = Detector()
    detector.load(bench.state)
    run = Run(detector, bench.names)
    for _ in run.play(ATTACKS["A7"](bench.world, Random(5), bench.start_us, bench.start_us + DAY), bench.start_us + DAY):
        pass
    actions = [action for change in run.changes for action in change.actions]
    assert {action.kind for action in actions} == {"alert", "challenge"}
    assert {action.about for action in actions if action.kind == "challenge"} == {"user"}


def test_a_detector_goes_on_where_another_stopped(bench: Bench) -> None:
    begin, middle = bench.start_us, bench.start_us + DAY // 2
    events = list(ATTACKS["A4-250"](bench.world, Random(3), begin, begin + DAY))
    events += ATTACKS["A2"](bench.world, Random(3), begin + DAY // 2 - HOUR, begin + DAY)
    events.sort(key=lambda event: event.time_us)

    def told(*parts: list[Event]) -> list[tuple[str, str, int]]:
        state = bench.state
        changes: list[Change] = []
        for part in parts:
            detector = Detector()
            detector.load(state)
            run = Run(detector, bench.names)
            for _ in run.play(part, part[-1].time_us + 1):
                pass
            state = detector.dump()
            changes += run.changes
        return [(change.kind, change.campaign.id, change.campaign.attempts) for change in changes]

    early = [event for event in events if event.time_us < middle]
    late = [event for event in events if event.time_us >= middle]
    assert told(early, late) == told(events)


def test_every_rule_has_a_row_that_says_what_it_does() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule.signal
        assert rule.reason.format(observed=1, expected=1, sources=1, targets=1)
        assert rule.ban == 0


def test_the_documentation_prints_the_table_of_rules() -> None:
    assert rules() in (Path(__file__).parents[2] / "docs" / "detection.md").read_text("utf-8")


def test_figures_come_with_intervals() -> None:
    low, high = interval([0.0, 1.0] * 20)
    assert 0.2 < low < 0.5 < high < 0.8
    assert [round(value, 3) for value in share(30, 30)] == [1.0, 0.886, 1.0]
    assert [round(value, 3) for value in share(0, 0)] == [0.0, 0.0, 1.0]
    assert [round(value, 2) for value in rate(0, 10)] == [0.0, 0.0, 0.37]
    assert [round(value, 2) for value in rate(12, 15)] == [0.8, 0.41, 1.4]


def test_scenarios_of_others_are_run_beside_ours_and_a_stopped_run_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "runs.jsonl"
    words = ["run", "--users", "200", "--seeds", "7", "--warm", "3", "--days", "1", "--compare", "--out", str(out)]
    words += [
        "--scenarios",
        "lunch,A4-1000",
        "--also",
        "tests.simulation.outside",
        "--ablate",
        ";stuffing.distributed,stuffing.tool",
    ]
    main(words)
    first = out.read_text("utf-8")
    records = [json.loads(line) for line in first.splitlines()]
    runs = [(r["ablated"], r["scenario"]) for r in records]
    assert runs == [
        ("", "warm-up"),
        *[(off, name) for off in ("", "stuffing.distributed,stuffing.tool") for name in ("A4-1000", "lunch")],
    ]
    assert [r["detected"] for r in records[1:3]] == [True, True]
    assert "oracle" in records[1]["peers"]
    main(words)
    assert out.read_text("utf-8") == first


def test_an_installation_that_begins_at_noon_knows_the_level_of_a_day_after_a_day() -> None:
    cells = Cells()
    for hour in range(12, 12 + 40):
        cells.learn(hour, 0.0 if hour % 24 < 8 else 6.0, cells.expected(hour), 1.0)
    assert 2.0 < cells.expected(12 + 40) < 12.0


def test_a_run_becomes_a_table_and_plots(bench: Bench, tmp_path: Path) -> None:
    records = [
        {**asdict(bench.play(name, found, 0.2, compare=True)), "phi": 2.0, "ablated": ""}
        for name, found in (("B1", None), ("A2", ATTACKS["A2"]), ("A4-1000", ATTACKS["A4-1000"]))
    ]
    said = table(records)
    assert "| 1,000 | 2 |  | A2 | 1 | 100 %" in said
    assert "fail2ban" in said
    page = published("a\n<!-- figures: x -->\n<!-- end of figures: x -->\nb", "x", said)
    assert page == f"a\n<!-- figures: x -->\n{said}\n<!-- end of figures: x -->\nb"
    with pytest.raises(ValueError, match="no place"):
        published("a", "x", said)
    plot(records, tmp_path)
    assert "</svg>" in (tmp_path / "detection-rate.svg").read_text()
